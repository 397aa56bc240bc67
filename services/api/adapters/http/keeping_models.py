"""Bodies of the routes about how long the audit log is kept."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from libs.common.protocol.audit import HoldView, KeepingReply, MonthView
from services.api.adapters.http.fields import Body, IdentityName


def _in_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


Moment = Annotated[
    datetime,
    Field(strict=False, description="RFC 3339 with Z or an offset", examples=["2026-01-01T00:00:00Z"]),
    AfterValidator(_in_utc),
]
Reason = Annotated[str, Field(max_length=1024, description="Why; it is on record. No personal data, no secrets")]


class SetRetention(Body):
    """How many days every entry is kept, at least. Fewer than 365 take ``i_understand``."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"days": 730}]})

    days: Annotated[int, Field(ge=1, le=36_500)]
    i_understand: bool = False


class AddHold(Body):
    """Keep what was recorded from ``begins`` up to ``ends`` (left out: without end), however old it gets."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "case-17",
                    "begins": "2026-01-01T00:00:00Z",
                    "ends": "2026-04-01T00:00:00Z",
                    "reason": "Inquiry 17",
                }
            ]
        }
    )

    name: IdentityName
    begins: Moment
    ends: Moment | None = None
    reason: Reason


class RemoveHoldQuery(Body):
    reason: Reason = ""


class Holds(BaseModel):
    items: list[HoldView]


class Retention(BaseModel):
    """``days`` is what was set, ``policy_days`` the most that gateways' policies ask for (0: none does); the larger
    one counts. ``months`` are those of the log, with when each may be removed and which holds keep it."""

    days: int
    policy_days: int
    months: list[MonthView]

    @classmethod
    def of(cls, found: KeepingReply) -> Retention:
        return cls(days=found.days, policy_days=found.policy_days, months=found.months)
