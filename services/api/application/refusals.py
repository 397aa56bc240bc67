"""Refused tokens on record, in sums: who sends many leaves a trace, and can't fill the log with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from libs.common.auth.refusal import RefusedToken
from libs.common.clock import Clock, rfc3339
from libs.common.errors import KtError
from libs.common.events import Actor, Metadata, Origin, Resource, encode
from libs.common.events.token import TokenRefused
from libs.common.ids import IdFactory
from libs.common.subjects import access_subject
from services.api.application.ports import AccessRecorder
from services.api.application.signing_keys import INSTALLATION_ORG

log = logging.getLogger(__name__)

SOURCE: Final = "keeptrusts/api"
KIND: Final = "token"
UNKNOWN: Final = "unknown"
"""Stands for the id of a token that was not signed here: what stands in it may be anything."""

API: Final = "api"
EVERY_S: Final = 0.5
REPEAT_S: Final = 60.0
"""After one event about a sort of refusal, what follows of it is counted for so long."""

MAX_SORTS: Final = 256
"""Sorts told apart, of tokens with a good signature and of others. What is beyond counts under its reason alone."""

BURST: Final = 30
PER_MINUTE: Final = 6.0
"""Events that may be written at once, and in the long run."""


@dataclass(frozen=True, slots=True)
class Sort:
    """Refusals that are counted together. Without ``token_id`` nothing is known of the token."""

    org: str
    reason: str
    actor: Actor
    token_id: str
    source_ip: str
    shown_to: str


_NOBODY: Final = Origin("")


@dataclass(slots=True)
class _Sum:
    """``origin`` is that of the last one. ``quiet_until`` in seconds of the monotonic clock."""

    count: int = 0
    first_at: str = ""
    last_at: str = ""
    origin: Origin = _NOBODY
    quiet_until: float = 0.0


class Refusals:
    """``elapsed`` is a monotonic clock in seconds. :meth:`follow` has to run for anything to be written."""

    def __init__(self, access: AccessRecorder, clock: Clock, ids: IdFactory, elapsed: Callable[[], float]) -> None:
        self._access = access
        self._clock = clock
        self._ids = ids
        self._elapsed = elapsed
        self._sums: tuple[dict[Sort, _Sum], dict[Sort, _Sum]] = ({}, {})
        self._allowance = float(BURST)
        self._counted_at = elapsed()
        self._failing = False

    def note(self, refused: RefusedToken, origin: Origin, org: str = INSTALLATION_ORG, shown_to: str = API) -> None:
        """``org`` is whose log tells of a token that names none to be believed; ``shown_to`` who was shown it."""
        who = refused.principal
        if who is None:
            sort = Sort(org, str(refused.reason), Actor("anonymous", ""), "", origin.source_ip, shown_to)
        else:
            actor = Actor(who.role, who.subject)
            sort = Sort(who.org, str(refused.reason), actor, who.token_id, origin.source_ip, shown_to)
        sums = self._sums[0 if who else 1]
        if sort not in sums and len(sums) >= MAX_SORTS:
            sort, origin = _any_of(sort.reason), Origin(origin.id)
        total, now = sums.setdefault(sort, _Sum()), rfc3339(self._clock.now())
        total.first_at = total.first_at if total.count else now
        total.last_at, total.origin = now, origin
        total.count += 1

    async def follow(self) -> None:
        """Until cancelled; then what was not written yet is."""
        try:
            while True:
                await asyncio.sleep(EVERY_S)
                await self.write_due()
        finally:
            await self._write([sort for sums in self._sums for sort, total in sums.items() if total.count])

    async def write_due(self) -> None:
        """Put on record what may be by now, those of known tokens first."""
        now = self._elapsed()
        self._allowance = min(BURST, self._allowance + (now - self._counted_at) * PER_MINUTE / 60)
        self._counted_at = now
        due = [
            sort for sums in self._sums for sort, total in sums.items() if total.count and total.quiet_until <= now
        ]
        written = await self._write(due[: int(self._allowance)])
        self._allowance -= written
        for sums in self._sums:
            for sort in [sort for sort, total in sums.items() if not total.count and total.quiet_until <= now]:
                del sums[sort]

    async def _write(self, sorts: Sequence[Sort]) -> int:
        """How many events that were."""
        if not sorts:
            return 0
        taken = {sort: self._take(sort) for sort in sorts}
        try:
            await self._access.record([self._event(sort, total) for sort, total in taken.items()])
        except KtError as error:
            for sort, total in taken.items():
                self._put_back(sort, total)
            if not self._failing:
                log.warning("refusals.not_recorded_yet", extra={"code": error.code})
            self._failing = True
            return 0
        self._failing = False
        return len(taken)

    def _take(self, sort: Sort) -> _Sum:
        sums = self._of(sort)
        taken, sums[sort] = sums[sort], _Sum(quiet_until=self._elapsed() + REPEAT_S)
        return taken

    def _put_back(self, sort: Sort, total: _Sum) -> None:
        since = self._of(sort)[sort]
        if since.count:
            total.last_at, total.origin = since.last_at, since.origin
        total.count += since.count
        self._of(sort)[sort] = total

    def _of(self, sort: Sort) -> dict[Sort, _Sum]:
        return next(sums for sums in self._sums if sort in sums)

    def _event(self, sort: Sort, total: _Sum) -> tuple[str, bytes]:
        token_id = sort.token_id or UNKNOWN
        event = TokenRefused(sort.reason, total.count, total.first_at, total.last_at, sort.shown_to)
        metadata = Metadata(self._ids.new(), rfc3339(self._clock.now()), sort.org, SOURCE, sort.actor, total.origin)
        _, body = encode(event, Resource("token", token_id), metadata)
        return access_subject(sort.org, KIND, token_id), body


def _any_of(reason: str) -> Sort:
    return Sort(INSTALLATION_ORG, reason, Actor("anonymous", ""), "", "", "")
