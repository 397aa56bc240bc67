"""Reading the audit log is itself on record."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from libs.common.clock import Clock, rfc3339
from libs.common.events import Metadata, Resource, encode
from libs.common.events.audit import AuditExported, AuditRead, AuditRepaired, ExportedRange, Repair
from libs.common.ids import IdFactory
from libs.common.names import looks_like_secret
from libs.common.protocol.exports import ExportView
from libs.common.subjects import access_subject
from services.api.application.call import Call
from services.api.application.ports import AccessRecorder

SOURCE: Final = "keeptrusts/api"
RESOURCE: Final = "audit_log"
WITHHELD: Final = "(withheld)"

VALID_FOR: Final = timedelta(hours=1)
MAX_REMEMBERED: Final = 4096

_WORDS = re.compile(r'"(?:[^"\\]|\\.)*"?|[^\s"=!<>*]+')
_PLAIN = re.compile(r'"?[A-Za-z0-9_.:+-]*"?')


class AuditReads:
    """A cursor is opaque and not secret: that a page has one does not prove that its query is on record. What is
    remembered here does, and where it is forgotten there is one record more."""

    def __init__(self, access: AccessRecorder, clock: Clock, ids: IdFactory) -> None:
        self._access = access
        self._clock = clock
        self._ids = ids
        self._recorded: OrderedDict[tuple[str, ...], datetime] = OrderedDict()

    async def repaired(self, call: Call, stream: str, findings: Sequence[Repair]) -> None:
        """Raises: KtError ``unavailable`` or ``overloaded``."""
        event = AuditRepaired(stream, tuple(findings))
        await self._record(call, event, "repairs", self._clock.now())

    async def note(self, call: Call, operation: str, filter_: str, *, begins: bool) -> None:
        """Put on record that ``call`` read what the filter finds. To be called before anything is handed out.

        ``begins``: it is the first page.

        Raises:
            KtError: ``unavailable`` or ``overloaded``.
        """
        now = self._clock.now()
        query = (call.org, call.principal.role, call.principal.subject, call.principal.token_id, operation, filter_)
        before = self._recorded.get(query)
        if not begins and before is not None and now - before < VALID_FOR:
            return
        event = AuditRead(operation, shown(filter_), continued=not begins)
        await self._record(call, event, "reads", now)
        self._recorded[query] = now
        self._recorded.move_to_end(query)
        if len(self._recorded) > MAX_REMEMBERED:
            self._recorded.popitem(last=False)

    async def note_export(self, call: Call, export: ExportView, *, continued: bool) -> None:
        """Put on record that ``call`` exports the log. To be called before anything is handed out.

        Raises:
            KtError: ``unavailable`` or ``overloaded``.
        """
        ranges = tuple(ExportedRange(r.stream, r.first, r.last) for r in export.ranges if r.first <= r.last)
        event = AuditExported(
            export=export.id,
            format=export.format,
            filter=shown(export.filter),
            begins=export.begins,
            ends=export.ends,
            ranges=ranges,
            continued=continued,
        )
        await self._record(call, event, "reads", self._clock.now())

    async def _record(
        self, call: Call, event: AuditRead | AuditRepaired | AuditExported, name: str, now: datetime
    ) -> None:
        caller = call.caller()
        metadata = Metadata(self._ids.new(), rfc3339(now), call.org, SOURCE, caller.actor, caller.origin)
        _, body = encode(event, Resource(RESOURCE, call.org), metadata)
        await self._access.record([(access_subject(call.org, RESOURCE, name), body)])


def shown(filter_: str) -> str:
    """The filter without what may be a key: somebody may search the log for one that leaked."""
    return _WORDS.sub(lambda word: word[0] if _harmless(word[0]) else WITHHELD, filter_)


def _harmless(word: str) -> bool:
    return _PLAIN.fullmatch(word) is not None and not looks_like_secret(word)
