"""Follow rotations: a changed variable is resolved again and its key handed to the data plane, at once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from typing import Final

from libs.common.errors import KtError
from services.gateway.application.gateway import Gateway
from services.gateway.application.keyring import Keyring
from services.gateway.application.ports import DataPlane, KeySource
from services.gateway.domain.references import (
    Purpose,
    Reason,
    Reference,
    ReferenceKind,
    Resolved,
    Unresolved,
)

log = logging.getLogger(__name__)

FIRST_RETRY_S: Final = 0.25
LONGEST_RETRY_S: Final = 30.0
ACKNOWLEDGEMENT_TIMEOUT_S: Final = 5.0


class PendingChanges:
    """What a :class:`ChangeFeed` told and nobody has worked off yet. At most one entry for each reference."""

    def __init__(self) -> None:
        self._references: set[Reference] = set()
        self._missed = False
        self._wake = asyncio.Event()

    def changed(self, reference: Reference) -> None:
        self._references.add(reference)
        self._wake.set()

    def missed(self) -> None:
        self._missed = True
        self._wake.set()

    def put_back(self, references: Iterable[Reference]) -> None:
        """Still due; does not wake the one who waits."""
        self._references.update(references)

    async def wait(self) -> None:
        await self._wake.wait()

    def take(self) -> tuple[set[Reference], bool]:
        """The references that changed, and whether any other one may have changed too."""
        taken = self._references, self._missed
        self._references, self._missed = set(), False
        self._wake.clear()
        return taken


class RotationFollower:
    """Works off changes in batches: what changes while a batch is resolved makes the next one.

    ``jitter`` gives numbers between 0 and 1; it spreads the retries of many gateways.
    """

    def __init__(
        self,
        *,
        gateway: Gateway,
        keys: KeySource,
        data_plane: DataPlane,
        keyring: Keyring,
        changes: PendingChanges,
        jitter: Callable[[], float],
    ) -> None:
        self._gateway = gateway
        self._keys = keys
        self._data_plane = data_plane
        self._keyring = keyring
        self._changes = changes
        self._jitter = jitter
        self._confirming: dict[Reference, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Until cancelled."""
        attempt = 0
        try:
            while True:
                await self._until_due(attempt)
                attempt = 0 if await self._work_off() else attempt + 1
        finally:
            for task in self._confirming.values():
                task.cancel()

    async def _until_due(self, attempt: int) -> None:
        if attempt == 0:
            await self._changes.wait()
            return
        pause = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** (attempt - 1)) * (0.5 + self._jitter() / 2)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._changes.wait()

    async def _work_off(self) -> bool:
        """Resolve what is due. False when the system could not be asked: it stays due."""
        changed, missed = self._changes.take()
        if missed:
            changed.update(ref for ref in self._keyring.references if ref.kind is ReferenceKind.STORE)
        due = [reference for reference in changed if reference in self._keyring]
        if not due:
            return True
        purpose = Purpose.RECONNECT if missed else Purpose.ROTATION
        try:
            resolutions = await self._keys.resolve(due, purpose)
        except KtError as error:
            log.warning("gateway.refresh_failed", extra={"code": error.code, "references": len(due)})
            self._changes.put_back(due)
            for reference in due:
                self._keyring.take(Unresolved(reference, Reason.UNREACHABLE))
            return False
        for resolution in resolutions:
            if resolution.reference in self._keyring:
                self._adopt(resolution)
        return True

    def _adopt(self, resolution: Resolved | Unresolved) -> None:
        held, changed = self._keyring.take(resolution)
        if not changed:
            return
        reference = held.reference
        self._data_plane.set_key(reference, held.value)
        extra = {"reference": str(reference), "version": held.version, "reason": held.reason}
        log.info("gateway.key_replaced" if held.value is not None else "gateway.key_withdrawn", extra=extra)
        if (running := self._confirming.get(reference)) is None or running.done():
            self._confirming[reference] = asyncio.create_task(self._confirm(reference))

    async def _confirm(self, reference: Reference) -> None:
        """Report a version once the data plane serves it; while it restarts this takes as long as that takes."""
        while reference in self._keyring:
            held = self._keyring[reference]
            try:
                await self._data_plane.acknowledgement(reference, ACKNOWLEDGEMENT_TIMEOUT_S)
            except KtError as error:
                log.warning("gateway.not_acknowledged", extra={"reference": str(reference), "code": error.code})
                continue
            if reference in self._keyring and self._keyring[reference].value is held.value:
                self._gateway.acknowledged(reference)
                self._gateway.report_adoption()
                return
