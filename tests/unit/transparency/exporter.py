"""Makes exports as the system does, plainly, and signs them; for those who verify and those who attack."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import zstandard

from libs.common.transparency.export_rows import line_of, proof_line
from libs.common.transparency.manifest import (
    MANIFEST,
    SIGNATURE,
    VERSION,
    ExportedFile,
    ExportedLog,
    Manifest,
    ProofsFile,
    Requester,
    digest_text,
    file_name,
    proofs_name,
)
from libs.common.transparency.merkle import Range, inclusion_path, leaf_hash, root_of, subtrees
from libs.common.transparency.note import Note, VerifierKey
from libs.common.transparency.origin import LogOrigin, export_origin
from tests.unit.transparency.signing import Signer

INSTALLATION = "019aaf9c-6b1e-7c3a-9a53-0d7d3a2f4b11"
STREAM = "KT_EVENTS"
ORIGIN = str(LogOrigin(INSTALLATION, "*", STREAM))


def bodies(count: int) -> list[bytes]:
    return [b'{"id":"%d","org":"acme"}' % number for number in range(1, count + 1)]


@dataclass
class Exporter:
    """``log`` are the stored bytes of the whole stream; ``sequences`` those that are exported."""

    log: list[bytes]
    sequences: Sequence[int]
    per_file: int = 4
    seed: int = 1
    checkpoint_seed: int = 1
    filter: str = ""
    changes: dict[str, Any] = field(default_factory=dict)
    shown: dict[int, bytes] = field(default_factory=dict)
    """Other bytes than the stored ones, by sequence: what a liar puts into the files."""

    @property
    def key(self) -> VerifierKey:
        return Signer(ORIGIN, self.seed).key

    def write(self, directory: Path) -> Path:
        directory.mkdir(exist_ok=True)
        starts = range(0, len(self.sequences), self.per_file)
        files = [self._file(directory, self.sequences[start : start + self.per_file]) for start in starts]
        self.sign(directory, self.manifest(files))
        return directory

    def sign(self, directory: Path, manifest: Manifest) -> None:
        raw = manifest.encoded()
        text = digest_text(INSTALLATION, sha256(raw).hexdigest())
        note = Note(text, (Signer(export_origin(INSTALLATION), self.seed).sign(text),))
        (directory / MANIFEST).write_bytes(raw)
        (directory / SIGNATURE).write_text(str(note))

    def manifest(self, files: list[ExportedFile]) -> Manifest:
        leaves = [leaf_hash(body) for body in self.log]
        checkpoint = Signer(ORIGIN, self.checkpoint_seed).checkpoint(len(leaves), root_of(leaves))
        first, last = (1, len(self.log)) if self.filter else (self.sequences[0], self.sequences[-1])
        log = ExportedLog(
            stream=STREAM,
            first=first,
            last=last,
            rows=len(self.sequences),
            minimum=0,
            checkpoint=str(checkpoint),
        )
        known: dict[str, Any] = {
            "version": VERSION,
            "id": "e1",
            "installation": INSTALLATION,
            "org": "acme",
            "format": "ndjson",
            "schema_version": "CloudEvents 1.0",
            "filter": self.filter,
            "begins": "",
            "ends": "",
            "requested_at": "2026-11-23T07:39:03.192164Z",
            "requester": Requester(type="auditor", id="eve"),
            "complete": not self.filter and len(self.sequences) == last - first + 1,
            "logs": [log],
            "files": files,
        }
        return Manifest(**known).model_copy(update=self.changes)

    def _file(self, directory: Path, sequences: Sequence[int]) -> ExportedFile:
        first, last = sequences[0], sequences[-1]
        stored = [self.shown.get(n, self.log[n - 1]) for n in sequences]
        content = packed([line_of(body, is_event=body.startswith(b"{")) for body in stored])
        contiguous = len(sequences) == last - first + 1
        name, proofs = file_name(STREAM, first, last, "ndjson.zst"), None
        (directory / name).write_bytes(content)
        if not contiguous:
            paths = packed([proof_line(n, self._hashes(inclusion_path(n - 1, len(self.log)))) for n in sequences])
            (directory / proofs_name(name)).write_bytes(paths)
            proofs = ProofsFile(name=proofs_name(name), bytes=len(paths), sha256=sha256(paths).hexdigest())
        return ExportedFile(
            name=name,
            stream=STREAM,
            first=first,
            last=last,
            rows=len(sequences),
            bytes=len(content),
            sha256=sha256(content).hexdigest(),
            contiguous=contiguous,
            left=self._around(0, first - 1) if contiguous else [],
            right=self._around(last, len(self.log)) if contiguous else [],
            proofs=proofs,
        )

    def _around(self, begin: int, end: int) -> list[str]:
        ranges = [Range(n.number << n.level, (n.number + 1) << n.level) for n in subtrees(begin, end)]
        return [base64.b64encode(hash_).decode() for hash_ in self._hashes(ranges)]

    def _hashes(self, ranges: Sequence[Range]) -> list[bytes]:
        leaves = [leaf_hash(body) for body in self.log]
        return [root_of(leaves[begin:end]) for begin, end in ranges]


def packed(lines: Sequence[bytes]) -> bytes:
    return zstandard.compress(b"".join(line + b"\n" for line in lines))
