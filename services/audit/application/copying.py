"""Signed states of the log go where nobody who runs the system can take them back: copies and witnesses.

A place that is away gets what it missed by getting the newest state: that covers all before it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Final

from libs.common.clock import Clock
from libs.common.errors import KtError
from libs.common.transparency.merkle import consistency_path
from libs.common.transparency.note import Note
from services.audit.application.ports import Checkpoints, Copies, Cosigner, Places, Trees
from services.audit.domain.checkpoint import SignedCheckpoint
from services.audit.domain.copies import file_name

log = logging.getLogger(__name__)

LOOK_S: Final = 5.0
AGAIN_S: Final = 60.0


class Copying:
    def __init__(
        self,
        *,
        copies: Mapping[str, Copies],
        witnesses: Mapping[str, Cosigner],
        places: Places,
        checkpoints: Checkpoints,
        trees: Trees,
        clock: Clock,
    ) -> None:
        """``copies`` and ``witnesses`` by the name of their place."""
        self._copies = copies
        self._witnesses = witnesses
        self._places = places
        self._checkpoints = checkpoints
        self._trees = trees
        self._clock = clock

    async def run(self, streams: Iterable[str]) -> None:
        """Until cancelled."""
        known = list(streams)
        await asyncio.gather(*(self._keep(place, known) for place in (*self._witnesses, *self._copies)))

    async def bring(self, place: str, stream: str) -> bool:
        """Bring the newest state to a place; False when it is there.

        Raises:
            KtError: why it did not get there.
        """
        newest = await self._checkpoints.newest(stream)
        size = await self._places.size(place, stream)
        if newest is None or newest.size <= size:
            return False
        if place in self._copies:
            note = await self._places.cosigned(newest)
            await self._copies[place].put(file_name(stream, newest.size), note.encode())
        else:
            await self._cosign(self._witnesses[place], newest, size)
        await self._places.move(place, stream, newest.size, self._clock.now())
        return True

    async def _keep(self, place: str, streams: Iterable[str]) -> None:
        while True:
            pause = LOOK_S
            for stream in streams:
                try:
                    await self.bring(place, stream)
                except KtError as error:
                    extra = {"place": place, "stream": stream, "code": error.code, "detail": error.detail}
                    log.error("audit.checkpoint_not_copied", extra=extra)  # noqa: TRY400 - told in full
                    pause = AGAIN_S
            await asyncio.sleep(pause)

    async def _cosign(self, witness: Cosigner, newest: SignedCheckpoint, size: int) -> None:
        text = Note.parse(newest.note.encode()).text
        try:
            line = await witness.cosign(size, await self._proof(newest, size), newest.note, text)
        except KtError as error:
            known = error.extra.get("size", -1) if error.code == "conflict" else -1
            if not 0 <= known <= newest.size:
                raise
            # It has seen more, or less, than was noted here, because an answer was lost.
            line = await witness.cosign(known, await self._proof(newest, known), newest.note, text)
        await self._places.add_cosignature(newest, line)

    async def _proof(self, newest: SignedCheckpoint, size: int) -> list[bytes]:
        return list(await self._trees.hashes(newest.stream, consistency_path(size, newest.size)))
