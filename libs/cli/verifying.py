"""Checking a running log: signatures, the way from an older checkpoint, and every entry."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from libs.cli.client import HttpClient
from libs.cli.trusted_keys import KeptCheckpoint, not_proven
from libs.common.errors import KtError
from libs.common.transparency.merkle import (
    CompactRange,
    NotProven,
    subtrees,
    verify_consistency,
)
from libs.common.transparency.note import Checkpoint, VerifierKey, verified_checkpoint

STREAMS: Final = ("KT_EVENTS", "KT_ACCESS")
CHUNK: Final = 4096
_MAX_SHOWN: Final = 200

MEANINGS: Final = {
    "row_changed": "the log's row is not the entry that was put on record",
    "row_missing": "the log's row was deleted",
    "row_moved": "the log's row is the entry {of}: rows were re-ordered or copied",
    "row_duplicated": "the log has several rows for one sequence",
    "row_added": "the log has a row that was never put on record",
    "columns_changed": "what the row is searched by is not what the entry says",
    "message_changed": "the stream's message is not the event that was put on record",
    "message_missing": "the stream's message was deleted or can't be read",
    "message_moved": "the stream's message is the event {of}: the stream was re-ordered",
    "sequence_reused": "the stream's sequence was used again, for another event",
    "stream_shortened": "the stream ends before this: events were cut off at its end",
    "tree_changed": "the tree's hashes are not those of the log that was signed",
    "undecided": "row and message differ, and the tree does not tell which is right",
    "log_shortened": "the log is shorter than a checkpoint of it",
    "history_rewritten": "the log does not continue the older checkpoint: what it held was changed or removed",
    "root_differs": "the entries do not give the root that was signed",
    "not_signed": "the key service refuses to sign the log: {detail}",
}


@dataclass(frozen=True, slots=True)
class Found:
    kind: str
    first: int
    last: int
    of: int = 0
    outcome: str = ""
    detail: str = ""

    def meaning(self) -> str:
        return MEANINGS.get(self.kind, self.kind).format(of=self.of, detail=self.detail)


@dataclass(slots=True)
class StreamResult:
    """What was found of one stream's log. ``checkpoint`` is None while nothing is signed."""

    stream: str
    size: int = 0
    minimum: int = 0
    behind: int = 0
    checkpoint: Checkpoint | None = None
    continues: list[KeptCheckpoint] = field(default_factory=list)
    findings: list[Found] = field(default_factory=list)
    halted: str = ""

    def add(self, found: Found) -> None:
        """What goes on behind a page's end is one finding."""
        before = next((f for f in reversed(self.findings) if f.kind == found.kind), None)
        joins = before is not None and not (before.of or found.of) and before.outcome == found.outcome
        if before is not None and joins and before.last + 1 == found.first:
            self.findings[self.findings.index(before)] = replace(before, last=found.last)
        else:
            self.findings.append(found)

    def document(self) -> dict[str, Any]:
        signed = self.checkpoint
        return {
            "stream": self.stream,
            "size": self.size,
            "minimum": self.minimum,
            "signed_size": signed.size if signed else 0,
            "root": base64.b64encode(signed.root).decode() if signed else None,
            "origin": signed.origin if signed else None,
            "continues": [{"file": kept.source, "size": kept.checkpoint.size} for kept in self.continues],
            "findings": [
                {"kind": f.kind, "first": f.first, "last": f.last, "of": f.of, "outcome": f.outcome}
                for f in self.findings[:_MAX_SHOWN]
            ],
            "findings_total": len(self.findings),
            "halted": self.halted,
        }


class LogCheck:
    """Checks, and with ``repair`` restores, the log of one stream."""

    def __init__(self, client: HttpClient, keys: Sequence[VerifierKey], progress: Callable[[str], None]) -> None:
        self._client = client
        self._keys = keys
        self._progress = progress

    def run(self, stream: str, kept: Iterable[KeptCheckpoint], *, repair: bool = False) -> StreamResult:
        """
        Raises:
            KtError: ``not_proven`` when the log's own checkpoint is not signed by one of the keys; what the API
                refuses.
        """
        result = StreamResult(stream)
        older = [one for one in kept if one.stream == stream]
        result.checkpoint = self._checkpoint(result, max((one.checkpoint.size for one in older), default=0))
        for one in older:
            self._continues(result, one)
        self._entries(result, repair=repair)
        return result

    def _checkpoint(self, result: StreamResult, at_least: int) -> Checkpoint | None:
        query = {"stream": result.stream, "covering": str(max(at_least - 1, 0))}
        try:
            note = self._client.get("/v1/events/checkpoint", query).document["note"]
        except KtError as error:
            if error.code == "not_found":
                return None
            if error.code != "log_damaged":
                raise
            result.findings.append(Found("not_signed", 1, 0, detail=error.detail))
            return None
        try:
            return verified_checkpoint(note.encode(), self._keys)
        except NotProven as reason:
            raise not_proven(f"The checkpoint that the system shows for {result.stream}", reason) from None

    def _continues(self, result: StreamResult, kept: KeptCheckpoint) -> None:
        now, old = result.checkpoint, kept.checkpoint
        if now is None or now.size < old.size:
            result.findings.append(Found("log_shortened", (now.size if now else 0) + 1, old.size))
            return
        if now.origin != old.origin:
            raise KtError("not_proven", f"{kept.source} is a checkpoint of another log: {old.origin}.")
        query = {"stream": result.stream, "from": str(old.size), "to": str(now.size)}
        try:
            found = self._client.get("/v1/events/consistency", query).document
            verify_consistency(old.size, old.root, now.size, now.root, list(map(_bytes, found["proof"])))
        except NotProven:
            result.findings.append(Found("history_rewritten", 1, old.size))
        except KtError as error:
            if error.code != "log_damaged":
                raise
            result.findings.append(Found("history_rewritten", 1, old.size))
        else:
            result.continues.append(kept)

    def _entries(self, result: StreamResult, *, repair: bool) -> None:
        signed = result.checkpoint
        edge: CompactRange | None = CompactRange() if signed else None
        first = 1
        for page in self._pages(result, signed.size if signed else 0, repair=repair):
            last, hashes = min(page["last"], page["size"]), list(map(_bytes, page["hashes"]))
            if edge is not None and signed is not None and first <= signed.size:
                nodes = list(subtrees(first - 1, last))
                if len(nodes) != len(hashes):
                    edge = None
                else:
                    for node, hash_ in zip(nodes, hashes, strict=True):
                        edge.append(node, hash_)
            first = page["last"] + 1
        whole = edge is not None and signed is not None and edge.end == signed.size and edge.hash() == signed.root
        if signed is not None and not whole and not result.findings:
            result.findings.append(Found("root_differs", 1, signed.size))

    def _pages(self, result: StreamResult, signed: int, *, repair: bool) -> Iterator[dict[str, Any]]:
        first = 1
        while True:
            count = min(CHUNK, signed - first + 1) if first <= signed else CHUNK
            page = self._examined(result.stream, first, count, repair=repair)
            result.size, result.minimum, result.halted = page["size"], page["minimum"], page["halted"]
            result.behind = max(page["stream_last"] - page["size"], 0)
            if not page["last"]:
                return
            for f in page["findings"]:
                result.add(Found(f["kind"], f["first"], f["last"], f["of"], f["outcome"]))
            yield page
            self._progress(f"{result.stream}: {page['last']:,} of {page['size']:,}")
            first = page["last"] + 1

    def _examined(self, stream: str, first: int, count: int, *, repair: bool) -> dict[str, Any]:
        if repair:
            body = {"stream": stream, "first": first, "count": count}
            answer = self._client.request("POST", "/v1/events/repairs", body=body)
        else:
            query = {"stream": stream, "first": str(first), "count": str(count)}
            answer = self._client.get("/v1/events/verification", query)
        document: dict[str, Any] = answer.document
        return document


def published_keys(client: HttpClient) -> list[str]:
    """The verifier keys that the system publishes, as text, oldest first."""
    items = client.get("/v1/events/checkpoint-keys").document["items"]
    return [key for item in items for key in item["keys"].values()]


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)
