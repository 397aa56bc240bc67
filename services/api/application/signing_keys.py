"""The keys of access tokens in a running process: read anew when that is asked for, each change on record."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from libs.common.auth.token_keys import TokenKeys
from libs.common.clock import Clock, rfc3339
from libs.common.errors import KtError
from libs.common.ids import IdFactory
from libs.common.protocol.command import SIGNING_KEYS, RecordSigningKeys
from libs.common.protocol.parties import Caller
from services.api.application.ports import Bus

log = logging.getLogger(__name__)

INSTALLATION_ORG: Final = "default"
"""Whose log tells of what concerns the installation as a whole."""

MAX_WAITING: Final = 64
FIRST_RETRY_S: Final = 0.5
LONGEST_RETRY_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Keys that were to come into force and could not be used; ``detail`` says where they come from and why."""

    detail: str
    at: str


@dataclass(frozen=True, slots=True)
class Status:
    """Key ids alone. ``read_at`` is when the set in force was read; ``refused`` tells of a later one."""

    kids: tuple[str, ...]
    current: str
    read_at: str
    refused: Refusal | None


class SigningKeys:
    """``read`` gives the keys as they are now. Either a whole new set comes into force, or nothing changes."""

    def __init__(self, first: TokenKeys, read: Callable[[], TokenKeys], clock: Clock) -> None:
        self._read = read
        self._clock = clock
        self._keys = first
        self._read_at = rfc3339(clock.now())
        self._refused: Refusal | None = None
        self._asked = asyncio.Event()
        self.changed: Callable[[tuple[str, ...]], None] = lambda _: None
        """Called with the key ids before, once others are in force."""

    @property
    def keys(self) -> TokenKeys:
        return self._keys

    @property
    def status(self) -> Status:
        return Status(self._keys.kids, self._keys.current, self._read_at, self._refused)

    def ask(self) -> None:
        """Have the keys read anew, soon. For a signal handler."""
        self._asked.set()

    async def follow(self) -> None:
        """Read the keys whenever that was asked for, until cancelled."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            await self._renew()

    async def _renew(self) -> None:
        try:
            # In a thread: the file may lie on a network.
            keys = await asyncio.to_thread(self._read)
            if keys.redefined(self._keys):
                raise KtError(
                    "misconfigured",
                    "A key id stands for another secret than the one in force; nothing was changed.",
                    "Give the new secret a key id of its own.",
                )
        except KtError as error:
            self._refused = Refusal(str(error), rfc3339(self._clock.now()))
            log.error(  # noqa: TRY400
                "signing_keys.refused",
                extra={"detail": error.detail, "hint": error.hint, "in_force": self._keys.kids},
            )
            return
        before, self._keys = self._keys.kids, keys
        self._read_at, self._refused = rfc3339(self._clock.now()), None
        log.info("signing_keys.read", extra={"kids": keys.kids, "signs": keys.current, "before": before})
        if before != keys.kids:
            self.changed(before)


_Change = tuple[tuple[str, ...], tuple[str, ...]]


class KeyChanges:
    """Puts each set that came into force on record. The command service sees to it that a change counts once."""

    def __init__(self, bus: Bus, ids: IdFactory, first: tuple[str, ...]) -> None:
        self._bus = bus
        self._ids = ids
        self._waiting: deque[_Change] = deque([((), first)], MAX_WAITING)
        self._wake = asyncio.Event()
        self._wake.set()

    def add(self, before: tuple[str, ...], kids: tuple[str, ...]) -> None:
        self._waiting.append((before, kids))
        self._wake.set()

    async def send(self) -> None:
        """Until cancelled."""
        pause = FIRST_RETRY_S
        while True:
            await self._wake.wait()
            try:
                while self._waiting:
                    change = self._waiting[0]
                    await self._record(*change)
                    if self._waiting[0] is change:
                        self._waiting.popleft()
            except KtError as error:
                log.info("signing_keys.not_recorded_yet", extra={"code": error.code})
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_RETRY_S)
            else:
                pause = FIRST_RETRY_S
                self._wake.clear()

    async def _record(self, before: tuple[str, ...], kids: tuple[str, ...]) -> None:
        command_id = self._ids.new()
        caller = Caller(org=INSTALLATION_ORG, actor_type="service", actor_id="api", request_id=command_id)
        request = RecordSigningKeys(command_id=command_id, caller=caller, before=before, kids=kids)
        await self._bus.call(SIGNING_KEYS, request)
