"""What anybody can write from docs/reference/backup-format.md and sealed-format.md; nothing of the project is in it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import json
import tarfile
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV


def fields(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def hkdf(key: bytes, info: bytes, length: int) -> bytes:
    return hmac.digest(hmac.digest(bytes(32), key, "sha256"), info + b"\x01", "sha256")[:length]


def decrypt(key: bytes, sealed: str, associated: bytes) -> bytes:
    raw = base64.b64decode(sealed)
    assert raw[0] == 1
    return AESGCMSIV(key).decrypt(raw[1:13], raw[13:], associated)


def members(path: str) -> dict[str, bytes]:
    """Every member, compared with the sums."""
    with tarfile.open(path) as tar:
        found = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    for line in found["SHA256SUMS"].decode().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256(found[name]).hexdigest() == digest
    return found


def rows(path: str | Path, member: str) -> list[dict[str, Any]]:
    found = members(str(path))
    return [json.loads(line) for line in gzip.decompress(found[f"sealed-store/{member}.jsonl.gz"]).splitlines()]


def read_secret(path: str, name: str, master_key: str, version: int = 0, org: str = "default") -> bytes:
    """The value of ``version``, or of the newest."""
    named = [e for e in rows(path, "index") if (e["org"], e["name"]) == (org, name) and version in (0, e["version"])]
    entry = max(named, key=lambda e: int(e["version"]))
    value = next(row for row in rows(path, "values") if row["id"] == entry["sealed_id"])
    bound = fields(b"keeptrusts/v1/value", *place(value))
    digest = hashlib.sha256(fields(b"keeptrusts/v1/digest", bound, base64.b64decode(value["ciphertext"])))
    assert digest.hexdigest() == entry["digest"]
    return decrypt(data_key(path, value, master_key), value["ciphertext"], bound)


def data_key(path: str, value: dict[str, Any], master_key: str) -> bytes:
    """The key of a row of ``values``."""
    master = base64.b64decode(master_key)
    key = next(row for row in rows(path, "keyring") if row["id"] == value["key_id"])
    assert key["master_fingerprint"] == "mk-" + hkdf(master, b"keeptrusts/v1/fingerprint", 8).hex()
    at = [key[column].encode() for column in ("id", "org", "purpose", "algorithm")]
    bound = fields(b"keeptrusts/v1/keyring", *at, base64.b64decode(key["public"]))
    key_encryption_key = decrypt(hkdf(master, b"keeptrusts/v1/wrap", 32), key["wrapped"], bound)
    bound = fields(b"keeptrusts/v1/data-key", *place(value), key["id"].encode())
    return decrypt(key_encryption_key, value["wrapped_data_key"], bound)


def place(value: dict[str, Any]) -> list[bytes]:
    return [value[column].encode() for column in ("org", "kind", "name", "id")]


def is_marked(path: str, master_key: str) -> bool:
    """Whether the archive is as the system of that master key made it."""
    found = members(path)
    mark = json.loads(found["authentication.json"])
    key = hkdf(base64.b64decode(master_key), b"keeptrusts/v1/backup", 32)
    message = fields(b"keeptrusts/v1/backup", hashlib.sha256(found["manifest.json"]).digest())
    return hmac.compare_digest(hmac.digest(key, message, "sha256").hex(), mark["mac"])
