"""Signing what the log says of itself: by time, by count, and when somebody asks for a proof of something newer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

from libs.common.clock import Clock
from libs.common.errors import KtError
from libs.common.transparency.merkle import Range, consistency_path
from services.audit.application.ports import Checkpoints, Signer, Trees
from services.audit.domain.checkpoint import Schedule, SignedCheckpoint

log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
"""How often it looks whether a checkpoint is due."""

REFUSED_S: Final = 30.0
"""How long it waits after the key service refused to sign: only somebody's work will change that."""


class Checkpointing:
    def __init__(
        self, trees: Trees, checkpoints: Checkpoints, signer: Signer, clock: Clock, schedule: Schedule
    ) -> None:
        self._trees = trees
        self._checkpoints = checkpoints
        self._signer = signer
        self._clock = clock
        self._schedule = schedule
        self.refusals: dict[str, str] = {}
        """By stream: why the key service refuses to sign its log, if it does."""

    async def run(self, streams: Iterable[str]) -> None:
        """Until cancelled."""
        await asyncio.gather(*(self._keep_signed(stream) for stream in streams))

    async def covering(self, stream: str, size: int) -> SignedCheckpoint:
        """The newest checkpoint; one is signed now if it has ``size`` entries or fewer and the log has more.

        Raises:
            KtError: ``not_found`` while the log is empty; ``unavailable`` when the key service does not answer and
                there is no checkpoint at all.
        """
        newest = await self._checkpoints.newest(stream)
        if newest is None or newest.size <= size < await self._trees.size(stream):
            newest = await self._sign(stream, at_least=size + 1)
        if newest is None:
            raise KtError(
                "not_found",
                f"The log of {stream} has no entries yet, so there is nothing to sign.",
                "It has one after something happened; reading the log is an entry of KT_ACCESS.",
            )
        return newest

    async def _keep_signed(self, stream: str) -> None:
        while True:
            pause = LOOK_S
            try:
                last, size = await self._checkpoints.newest(stream), await self._trees.size(stream)
                if self._schedule.due(last, size, self._clock.now()):
                    await self._sign(stream, at_least=size)
                    self.refusals.pop(stream, None)
            except KtError as error:
                extra = {"stream": stream, "code": error.code, "detail": error.detail}
                if error.code == "unavailable":
                    log.info("audit.checkpoint_waiting", extra=extra)
                else:
                    log.error("audit.checkpoint_refused", extra=extra)  # noqa: TRY400 - expected, and told in full
                    self.refusals[stream] = error.detail
                    pause = REFUSED_S
            await asyncio.sleep(pause)

    async def _sign(self, stream: str, *, at_least: int) -> SignedCheckpoint | None:
        async with self._checkpoints.turn(stream):
            newest = await self._checkpoints.newest(stream)
            size = await self._trees.size(stream)
            if size == 0 or (newest is not None and newest.size >= min(size, at_least)):
                return newest
            (root,) = await self._trees.hashes(stream, [Range(0, size)])
            try:
                old_size = newest.size if newest else 0
                proof = await self._trees.hashes(stream, consistency_path(old_size, size))
                signed = await self._signer.sign(stream, size, root, old_size, proof)
            except KtError as error:
                old_size = error.extra.get("size", 0) if error.code == "conflict" else 0
                if not 0 < old_size <= size:
                    raise
                # It signed a state that never got here, because its answer was lost.
                proof = await self._trees.hashes(stream, consistency_path(old_size, size))
                signed = await self._signer.sign(stream, size, root, old_size, proof)
            checkpoint = SignedCheckpoint(stream, size, root, signed.key_id, signed.note, self._clock.now())
            await self._checkpoints.add(checkpoint)
            return checkpoint
