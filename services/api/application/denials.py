"""Requests that a valid token does not allow, counted: who knocks a thousand times makes one record a second."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from libs.common.clock import Clock, rfc3339
from libs.common.errors import KtError
from libs.common.events import Metadata, Resource, encode
from libs.common.events.audit import OperationDenied
from libs.common.ids import IdFactory
from libs.common.names import plain_token_id
from libs.common.subjects import access_subject
from services.api.application.audit_reads import SOURCE
from services.api.application.call import Call
from services.api.application.ports import AccessRecorder

log = logging.getLogger(__name__)

RESOURCE: Final = "operation"
EVERY_S: Final = 1.0
MAX_KINDS: Final = 10_000
"""Of callers and operations told apart in that time; a second is not enough to authenticate as many."""


@dataclass(slots=True)
class _Denied:
    """The first request of them, and how many there were."""

    call: Call
    operation: str
    scope: str
    first: datetime
    last: datetime
    count: int = 1


class Denials:
    """Nothing is handed out to who is refused, so the answer need not wait for the record."""

    def __init__(self, access: AccessRecorder, clock: Clock, ids: IdFactory) -> None:
        self._access = access
        self._clock = clock
        self._ids = ids
        self._counted: dict[tuple[str, ...], _Denied] = {}

    def count(self, call: Call, operation: str, scope: str) -> None:
        """``scope`` is the one that the token lacks, empty when it is not a matter of scopes."""
        now, who = self._clock.now(), call.principal
        kind = (who.org, who.role, who.subject, who.token_id, operation, scope)
        if (known := self._counted.get(kind)) is not None:
            known.count += 1
            known.last = now
        elif len(self._counted) < MAX_KINDS:
            self._counted[kind] = _Denied(call, operation, scope, now, now)
        else:
            log.error("denials.not_counted", extra={"operation": operation})

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.flush()

    async def flush(self) -> None:
        """Put on record what was counted; what can't be is counted on."""
        taken, self._counted = self._counted, {}
        if not taken:
            return
        try:
            await self._access.record([self._message(denied) for denied in taken.values()])
        except KtError as error:
            log.warning("denials.not_recorded", extra={"code": error.code, "kinds": len(taken)})
            for kind, denied in taken.items():
                self._count_on(kind, denied)

    def _count_on(self, kind: tuple[str, ...], earlier: _Denied) -> None:
        later = self._counted.get(kind)
        if later is not None:
            earlier.count += later.count
            earlier.last = later.last
        self._counted[kind] = earlier

    def _message(self, denied: _Denied) -> tuple[str, bytes]:
        call = denied.call
        caller = call.caller()
        event = OperationDenied(
            reason="insufficient_scope" if denied.scope else "forbidden",
            scope=denied.scope,
            token=plain_token_id(call.principal.token_id),
            count=denied.count,
            first_at=rfc3339(denied.first),
            last_at=rfc3339(denied.last),
        )
        time = rfc3339(denied.last)
        metadata = Metadata(self._ids.new(), time, call.org, SOURCE, caller.actor, caller.origin)
        _, body = encode(event, Resource(RESOURCE, denied.operation), metadata)
        return access_subject(call.org, RESOURCE, denied.operation), body
