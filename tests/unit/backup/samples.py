"""An archive from fixed inputs, as the system would write it; what is in the streams does not matter here."""

from __future__ import annotations

import base64
import io
from datetime import UTC, datetime

import orjson

from libs.backup.archive import ArchiveWriter
from libs.backup.manifest import (
    AUTHENTICATION,
    HEADER,
    INDEX,
    KEYRING,
    MANIFEST,
    VALUES,
    Authentication,
    Header,
    Manifest,
    Part,
    SealedStorePart,
    Segment,
    StreamPart,
    snapshot_member,
)
from libs.common.clock import rfc3339
from libs.common.secret import Secret
from services.keys.domain.backup_mark import ALGORITHM, mark
from services.keys.domain.keyring import Purpose, UnwrappedKey, new_key
from services.keys.domain.master import MasterKey, parse_master_key
from services.keys.domain.sealed import Binding, Fresh, KeyEncryptionKey, SealedValue, seal

MASTER_KEY = "jB9OC3qT0mVb6AQ/msF9LmC1+BI8Tal+FYb+ArnH00A="
OTHER_KEY = "q1s8d5H0m2Zk9vY3b7X4cQ6wE1rT5yU8iO2pL0jN3gM="
NAME = "OPENAI_API_KEY"
VALUES_BY_VERSION = {1: b"sk-proj-first-example", 2: b"sk-proj-second-example\n\x00\xff", 3: b""}
DESTROYED = 3
"""This version is in the index, and its value is not there."""

_NOW = datetime(2026, 11, 23, 7, 39, 3, 192164, tzinfo=UTC)
_KEY_ID = "0193a5c2-7b1e-7c4d-9f3a-2b6d8e0f1a3c"


def master(text: str = MASTER_KEY) -> MasterKey:
    return parse_master_key(Secret.from_text(text))


def sealed_id(version: int) -> str:
    return f"5b0f6f0e-3c1d-5e2a-8b4f-9a7c6d5e4f{version:02x}"


def key(owner: MasterKey) -> UnwrappedKey:
    return new_key(
        Purpose.KEY_ENCRYPTION,
        key_id=_KEY_ID,
        org="default",
        material=Secret(bytes(range(100, 132))),
        nonce=bytes(range(12)),
        master=owner,
        now=_NOW,
    )


def sealed(version: int) -> SealedValue:
    binding = Binding("default", "config_variable", NAME, sealed_id(version))
    fresh = Fresh(
        Secret(bytes([version]) * 32), bytes(range(version, version + 12)), bytes(range(50 + version, 62 + version))
    )
    wrapping = KeyEncryptionKey(_KEY_ID, Secret(bytes(range(100, 132))))
    return seal(Secret(VALUES_BY_VERSION[version]), binding, wrapping, fresh)


def archive(text: str = MASTER_KEY) -> bytes:
    owner, file = master(text), io.BytesIO()
    writer = ArchiveWriter(file)
    writer.small(HEADER, orjson.dumps(Header().model_dump(), option=orjson.OPT_APPEND_NEWLINE))
    for stream in ("KT_ACCESS", "KT_EVENTS"):
        writer.small(snapshot_member(stream), f"snapshot of {stream}, as the server wrote it".encode())
    with writer.lines(INDEX) as lines:
        for version in VALUES_BY_VERSION:
            lines.write(_index_line(version))
    entry = key(owner).entry
    with writer.lines(KEYRING) as lines:
        row = {name: getattr(entry, name) for name in ("id", "org", "purpose", "algorithm", "master_fingerprint")}
        packed = {"wrapped": _b64(entry.wrapped), "public": _b64(entry.public)}
        lines.write({**row, **packed, "created_at": rfc3339(_NOW), "retired_at": None})
    with writer.lines(VALUES) as lines:
        for version in VALUES_BY_VERSION.keys() - {DESTROYED}:
            lines.write(_value_row(sealed(version)))
    parts = tuple(Part(member=n, bytes=writer.sizes[n], sha256=s) for n, s in writer.sums.items())
    manifest = Manifest(
        created_at=rfc3339(_NOW),
        software_version="0.1.0",
        streams=(_stream("KT_ACCESS", 0), _stream("KT_EVENTS", 3)),
        sealed_store=SealedStorePart(
            as_of_sequence=3,
            keys=1,
            values=2,
            indexed=3,
            unreadable_events=0,
            master_fingerprints=(owner.fingerprint,),
        ),
        parts=parts,
    )
    writer.small(MANIFEST, manifest.to_json())
    made = mark(writer.sums[MANIFEST], owner)
    shown = Authentication(algorithm=ALGORITHM, master_fingerprint=owner.fingerprint, mac=made)
    writer.small(AUTHENTICATION, orjson.dumps(shown.model_dump(), option=orjson.OPT_APPEND_NEWLINE))
    writer.finish()
    return file.getvalue()


def _stream(name: str, last: int) -> StreamPart:
    segments = (Segment(first=1, through=last, sha256="ab" * 32),) if last else ()
    return StreamPart(
        name=name,
        member=snapshot_member(name),
        first_sequence=1,
        last_sequence=last,
        messages=last,
        state={"messages": last, "first_seq": 1, "last_seq": last},
        segments=segments,
    )


def _index_line(version: int) -> dict[str, object]:
    place = {"org": "default", "kind": "config_variable", "name": NAME, "version": version}
    value = sealed(version)
    return {
        **place,
        "sealed_id": sealed_id(version),
        "digest": value.digest,
        "sequence": version,
        "time": rfc3339(_NOW),
    }


def _value_row(value: SealedValue) -> dict[str, object]:
    binding = value.binding
    return {
        "id": binding.sealed_id,
        "org": binding.org,
        "kind": binding.kind,
        "name": binding.name,
        "key_id": value.key_id,
        "wrapped_data_key": _b64(value.wrapped_data_key),
        "ciphertext": _b64(value.ciphertext),
        "sealed_at": rfc3339(_NOW),
    }


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
