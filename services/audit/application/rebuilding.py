"""Rebuilding: asked for once, worked on by whichever instance has the turn, begun again after a crash.

The live log serves until the fresh one has reproduced what was signed of it. If it can't, nothing has happened.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import Any, Final

from libs.common.clock import Clock
from libs.common.errors import KtError
from libs.common.protocol import audit as protocol
from services.audit.application.ports import Checkpoints
from services.audit.application.rebuilding_ports import FreshLog, FreshTables, RebuildRecorder, Rebuilds
from services.audit.domain.rebuild import Phase, Rebuild, RebuiltTree
from services.audit.domain.streams import STREAM_NUMBERS

log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
"""How often it looks whether a rebuild was asked for, and tells how far it is."""

SWAPS: Final = 60
"""How often it tries to swap, a second apart, before it gives up because the live tables are in use."""


@dataclass(frozen=True, slots=True)
class Rebuilding:
    rebuilds: Rebuilds
    fresh: FreshLog
    checkpoints: Checkpoints
    recorder: RebuildRecorder
    clock: Clock

    async def request(self, _subject: str, request: protocol.StartRebuild) -> protocol.RebuildView:
        """Begin one. While one is under way, that is the answer."""
        who = f"{request.caller.actor_type}/{request.caller.actor_id}"
        return view(await self.rebuilds.add(Rebuild(request.command_id, request.caller.org, who, self.clock.now())))

    async def look(self, _subject: str, _request: protocol.GetRebuild) -> protocol.RebuildView:
        """
        Raises:
            KtError: ``not_found``.
        """
        newest = await self.rebuilds.newest()
        if newest is None:
            raise KtError("not_found", "The log was never rebuilt.", "`kt events rebuild` does it.")
        return view(newest)

    async def run(self) -> None:
        """Do what was asked for, until cancelled."""
        while True:
            try:
                async with self.rebuilds.turn() as rebuild:
                    if rebuild is not None:
                        await self._carry_out(rebuild)
            except KtError as error:
                log.warning("rebuild.waiting", extra={"code": error.code, "why": error.detail})
            await asyncio.sleep(LOOK_S)

    async def _carry_out(self, rebuild: Rebuild) -> None:
        try:
            if rebuild.phase is not Phase.SWAPPED:
                async with self.fresh.made() as tables:
                    rebuild = await self._replace(rebuild, tables)
        except KtError as error:
            if error.code == "unavailable":
                raise
            log.error("rebuild.failed", extra={"why": error.detail})  # noqa: TRY400 - expected, and told in full
            await self._put(rebuild, phase=Phase.FAILED, detail=error.detail, ended_at=self.clock.now())
            return
        await self.recorder.record(rebuild, rebuild.trees)
        await self._put(rebuild, phase=Phase.COMPLETED, ended_at=self.clock.now())
        log.warning("rebuild.completed", extra={"rebuild": rebuild.id, "entries": rebuild.replayed})

    async def _replace(self, rebuild: Rebuild, tables: FreshTables) -> Rebuild:
        rebuild = await self._put(rebuild, phase=Phase.REPLAYING, replayed=0, total=0)
        await tables.carry_over()
        async with tables.replaying():
            while not await tables.caught_up(LOOK_S):
                rebuild = await self._at(rebuild, tables)
            rebuild = await self._put(await self._at(rebuild, tables), phase=Phase.INDEXING)
        await tables.index()
        rebuild = await self._put(rebuild, phase=Phase.COMPARING)
        for _ in range(SWAPS):
            async with tables.replaying():
                while not await tables.caught_up(LOOK_S):
                    rebuild = await self._at(rebuild, tables)
            trees = [await self._reproduced(tables, stream) for stream in STREAM_NUMBERS]
            await tables.remove_retired()
            signed = tuple(tree for tree in trees if tree is not None)
            swapped = replace(await self._at(rebuild, tables), phase=Phase.SWAPPED, trees=signed)
            if await tables.swap(swapped):
                return swapped
            await asyncio.sleep(LOOK_S)
        raise KtError("conflict", "The log is in use by long queries, so the rebuilt one could not take its place.")

    async def _reproduced(self, tables: FreshTables, stream: str) -> RebuiltTree | None:
        """
        Raises:
            KtError: ``log_damaged`` when the fresh tree is not the one that was signed.
        """
        signed = await self.checkpoints.newest(stream)
        if signed is None:
            return None
        if await tables.root(stream, signed.size) != signed.root:
            raise KtError(
                "log_damaged",
                f"{stream} does not give the root that was signed for its first {signed.size:,} entries, so the log"
                " was left as it is.",
                "`kt events verify` names what was changed, and on which side.",
            )
        return RebuiltTree(stream, signed.size, signed.root)

    async def _at(self, rebuild: Rebuild, tables: FreshTables) -> Rebuild:
        replayed, total = await tables.progress()
        return await self._put(rebuild, replayed=replayed, total=total)

    async def _put(self, rebuild: Rebuild, **changes: Any) -> Rebuild:
        rebuild = replace(rebuild, **changes)
        await self.rebuilds.put(rebuild)
        return rebuild


def view(rebuild: Rebuild) -> protocol.RebuildView:
    return protocol.RebuildView(
        id=rebuild.id,
        phase=rebuild.phase.value,
        requested_by=rebuild.requested_by,
        requested_at=rebuild.requested_at,
        replayed=rebuild.replayed,
        total=rebuild.total,
        trees=[protocol.RebuiltTree(stream=t.stream, size=t.size, root=t.root.hex()) for t in rebuild.trees],
        detail=rebuild.detail,
        ended_at=rebuild.ended_at,
    )
