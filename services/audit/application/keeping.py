"""What is known of how long the log is kept."""

from __future__ import annotations

from dataclasses import dataclass

from libs.common.protocol.audit import HoldView, KeepingReply, KeepingRequest, MonthView
from services.audit.application.keeping_ports import KeptLog
from services.audit.application.list_events import FRESHNESS_WAIT_S
from services.audit.application.ports import Freshness
from services.audit.domain.retention import Hold


@dataclass(frozen=True, slots=True)
class Keeping:
    log: KeptLog
    freshness: Freshness

    async def __call__(self, _subject: str, request: KeepingRequest) -> KeepingReply:
        """Holds of other orgs keep months as well; they are counted, not told."""
        await self.freshness.caught_up(FRESHNESS_WAIT_S)
        rules, org = await self.log.rules(), request.org
        months = []
        for month in await self.log.months():
            content = await self.log.content(month)
            held = rules.holding(month)
            own = sorted(hold.name for hold in held if hold.org == org)
            months.append(
                MonthView(
                    month=str(month),
                    entries=sum(found.entries for found in content.ranges),
                    goes_at=rules.goes_at(month, content.orgs or {org}),
                    held_by=[*own, *(["another org"] if len(own) < len(held) else [])],
                )
            )
        return KeepingReply(
            days=rules.days_of(org, with_policies=False),
            policy_days=rules.policies.get(org, 0),
            holds=[_view(hold) for hold in rules.holds if hold.org == org],
            months=months,
        )


def _view(hold: Hold) -> HoldView:
    return HoldView(
        name=hold.name,
        begins=hold.span.begins,
        ends=hold.span.ends,
        reason=hold.reason,
        added_at=hold.added_at,
        added_by=hold.added_by,
    )
