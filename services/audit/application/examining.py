"""Finding what was done to the log, the stream or the tree, and restoring the log where that is possible."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from libs.common.protocol import audit as protocol
from services.audit.application.ports import Examiner


class Examining:
    def __init__(self, examiners: Mapping[str, Examiner], halted: Callable[[str], str]) -> None:
        """``examiners`` by stream; ``halted`` says why a stream is not put on record any more, if so."""
        self._examiners = examiners
        self._halted = halted

    async def examine(self, _subject: str, request: protocol.Examine) -> protocol.Examination:
        """
        Raises:
            KtError: ``unavailable``.
        """
        found = await self._examiners[request.stream].examine(request.first, request.count, repair=request.repair)
        seen = found.seen
        return protocol.Examination(
            stream=request.stream,
            first=request.first,
            last=max(seen.last, 0) if seen.last >= request.first else 0,
            size=seen.size,
            minimum=seen.minimum,
            stream_first=seen.stream_first,
            stream_last=seen.stream_last,
            hashes=list(found.hashes),
            findings=[
                protocol.FindingView(
                    kind=finding.kind,
                    side=finding.kind.side,
                    first=finding.first,
                    last=finding.last,
                    of=finding.of,
                    outcome=outcome,
                )
                for finding, outcome in found.findings
            ],
            halted=self._halted(request.stream),
        )
