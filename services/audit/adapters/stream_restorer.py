"""Giving the event stream back what was cut off at its end: the log's rows, proven one by one.

The command service appends them, and believes the proofs alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from libs.common.errors import KtError
from libs.common.messaging.rpc import RpcClient
from libs.common.protocol.command import RESTORE_EVENTS, ProvenEvent, RestoreEvents
from libs.common.subjects import EVENTS
from libs.common.transparency.merkle import inclusion_path
from services.audit.adapters.signed_checkpoints import PostgresTrees
from services.audit.application.checkpointing import Checkpointing
from services.audit.domain.checkpoint import SignedCheckpoint

AT_ONCE: Final = 24
"""Events of 16 KiB with their proofs that fit one message of the bus."""


class StreamRestorer:
    """Of ``KT_EVENTS`` only: the subject of an access record is not part of what was put on record."""

    def __init__(self, client: RpcClient, checkpointing: Checkpointing, trees: PostgresTrees) -> None:
        self._client = client
        self._checkpointing = checkpointing
        self._trees = trees

    async def restore(self, bodies: Mapping[int, bytes]) -> str:
        """Append events by their sequences, which follow each other and the end of the stream.

        Returns why not all of them could be; empty when they are.
        """
        try:
            signed = await self._newest(max(bodies))
            sequences = [n for n in sorted(bodies) if n <= signed.size]
            for start in range(0, len(sequences), AT_ONCE):
                await self._append(sequences[start : start + AT_ONCE], bodies, signed.size, signed.note)
        except KtError as error:
            return error.detail
        return "" if len(sequences) == len(bodies) else "the newest entries are not signed for"

    async def _newest(self, last: int) -> SignedCheckpoint:
        try:
            return await self._checkpointing.covering(EVENTS, last - 1)
        except KtError:  # the key service does not sign while the stream is not whole
            return await self._checkpointing.covering(EVENTS, 0)

    async def _append(self, sequences: list[int], bodies: Mapping[int, bytes], size: int, note: str) -> None:
        items = []
        for sequence in sequences:
            path = await self._trees.hashes(EVENTS, inclusion_path(sequence - 1, size))
            items.append(ProvenEvent(body=bodies[sequence], path=path))
        await self._client.call(RESTORE_EVENTS, RestoreEvents(first=sequences[0], items=items, note=note))
