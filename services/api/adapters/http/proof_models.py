"""Bodies of what proves the audit log."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from libs.common.protocol import audit

Stream = Literal["KT_EVENTS", "KT_ACCESS"]
Size = Annotated[int, Field(ge=0, le=2**53 - 1)]

_ROOT: Final = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
_ORIGIN: Final = "keeptrusts/019aaf9c-6b1e-7c3a-9a53-0d7d3a2f4b11/*/KT_EVENTS"
_CHECKPOINT: Final[JsonDict] = {
    "stream": "KT_EVENTS",
    "size": 52,
    "root": _ROOT,
    "note": f"{_ORIGIN}\n52\n{_ROOT}\n\n— {_ORIGIN} Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeO...\n",
    "signed_at": "2026-11-23T07:39:03.192164Z",
    "minimum": 0,
}
_PLACE: Final[JsonDict] = {"stream": "KT_EVENTS", "sequence": 17}


class CheckpointQuery(BaseModel):
    """``covering``: a checkpoint of more entries than this is wanted, and one is signed now if there is none."""

    model_config = ConfigDict(extra="forbid")

    stream: Stream
    covering: Size = 0


class Checkpoint(BaseModel):
    """A signed state of a stream's log. ``note`` is the signed note (C2SP tlog-checkpoint).

    ``size`` and ``root`` (base64) repeat what the note says. Entries with an index below ``minimum`` are not kept any
    more; an entry's index is its sequence - 1.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_CHECKPOINT]})

    stream: str
    size: int
    root: str
    note: str
    signed_at: str
    minimum: int

    @classmethod
    def of(cls, view: audit.CheckpointView) -> Checkpoint:
        return cls(
            stream=view.stream,
            size=view.size,
            root=_base64(view.root),
            note=view.note,
            signed_at=view.signed_at,
            minimum=view.minimum,
        )


class CheckpointKeys(BaseModel):
    """The keys that sign checkpoints, oldest first, as verifier keys (C2SP signed-note), one for each stream's log.

    A key counts for the sizes from ``first_size`` up to ``last_size``, by stream; one that has not retired also for
    what is larger.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "items": [
                        {
                            "id": "019aaf9c-6b1e-7c3a-9a53-0d7d3a2f4b11",
                            "keys": {"KT_EVENTS": f"{_ORIGIN}+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"},
                            "created_at": "2026-11-23T07:39:03.192164Z",
                            "retired_at": "",
                            "first_size": {"KT_EVENTS": 1},
                            "last_size": {"KT_EVENTS": 52},
                        }
                    ]
                }
            ]
        }
    )

    items: list[audit.CheckpointKeyView]


class EventProof(BaseModel):
    """``body`` (base64) are the bytes at ``sequence`` of the stream. ``path`` are the hashes (base64) that lead from
    the hash of the body to the checkpoint's root (RFC 6962 section 2.1.1)."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{**_PLACE, "body": "e30=", "path": [_ROOT], "checkpoint": _CHECKPOINT}]}
    )

    stream: str
    sequence: int
    body: str
    path: list[str]
    checkpoint: Checkpoint

    @classmethod
    def of(cls, proof: audit.Proof) -> EventProof:
        return cls(
            stream=proof.stream,
            sequence=proof.sequence,
            body=_base64(proof.body),
            path=_all_base64(proof.path),
            checkpoint=Checkpoint.of(proof.checkpoint),
        )


class ConsistencyQuery(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    stream: Stream
    old: Annotated[int, Field(alias="from", ge=0, le=2**53 - 1)]
    new: Annotated[int, Field(alias="to", ge=0, le=2**53 - 1)]


class ConsistencyProof(BaseModel):
    """``proof`` (RFC 6962 section 2.1.2, hashes in base64) shows that the log of size ``to`` is the one of size
    ``from`` with entries appended, if the roots are those that were signed."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "stream": "KT_EVENTS",
                    "from": 17,
                    "to": 52,
                    "from_root": _ROOT,
                    "to_root": _ROOT,
                    "proof": [_ROOT],
                }
            ]
        },
        populate_by_name=True,
        serialize_by_alias=True,
    )

    stream: str
    old: Annotated[int, Field(alias="from")]
    new: Annotated[int, Field(alias="to")]
    old_root: Annotated[str, Field(alias="from_root")]
    new_root: Annotated[str, Field(alias="to_root")]
    proof: list[str]

    @classmethod
    def of(cls, found: audit.Consistency) -> ConsistencyProof:
        return cls(
            stream=found.stream,
            old=found.old,
            new=found.new,
            old_root=_base64(found.old_root),
            new_root=_base64(found.new_root),
            proof=_all_base64(found.proof),
        )


class ExaminationQuery(BaseModel):
    """``count`` sequences of the stream from ``first`` on."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"stream": "KT_EVENTS", "first": 1, "count": 4096}]}
    )

    stream: Stream
    first: Annotated[int, Field(ge=1, le=2**53 - 1)] = 1
    count: Annotated[int, Field(ge=1, le=4096)] = 4096


class Finding(BaseModel):
    """``kind`` of damage from ``first`` to ``last`` on one ``side``: log, stream or tree.

    ``of`` is the sequence whose entry stands there instead, 0 if none. ``outcome``, after a repair: ``repaired``, or
    why not.
    """

    kind: str
    side: str
    first: int
    last: int
    of: int
    outcome: str


class Examination(BaseModel):
    """What was compared, up to ``last``, in a log of ``size`` entries; ``last`` is 0 behind its end.

    ``hashes`` (base64) are the perfect subtrees (RFC 6962) over the entries from ``first`` to ``last``. The stream
    holds ``stream_first`` to ``stream_last``. ``halted`` says why nothing is put on record any more, if so.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "stream": "KT_EVENTS",
                    "first": 1,
                    "last": 52,
                    "size": 52,
                    "minimum": 0,
                    "stream_first": 1,
                    "stream_last": 52,
                    "hashes": [_ROOT],
                    "findings": [
                        {"kind": "row_changed", "side": "log", "first": 17, "last": 17, "of": 0, "outcome": ""}
                    ],
                    "halted": "",
                }
            ]
        }
    )

    stream: str
    first: int
    last: int
    size: int
    minimum: int
    stream_first: int
    stream_last: int
    hashes: list[str]
    findings: list[Finding]
    halted: str

    @classmethod
    def of(cls, found: audit.Examination) -> Examination:
        return cls(
            stream=found.stream,
            first=found.first,
            last=found.last,
            size=found.size,
            minimum=found.minimum,
            stream_first=found.stream_first,
            stream_last=found.stream_last,
            hashes=_all_base64(found.hashes),
            findings=[Finding(**finding.model_dump()) for finding in found.findings],
            halted=found.halted,
        )


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _all_base64(hashes: Sequence[bytes]) -> list[str]:
    return [_base64(hash_) for hash_ in hashes]
