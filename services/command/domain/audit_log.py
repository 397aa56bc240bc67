"""The audit log as something that is kept: for how long, what is held back, which months went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, assert_never

from libs.common.calendar import Month, Span
from libs.common.clock import rfc3339
from libs.common.decider import Decider
from libs.common.errors import KtError
from libs.common.events.audit_log import (
    AuditLogEvent,
    HoldAdded,
    HoldRemoved,
    LogRebuilt,
    ReproducedTree,
    RetentionApplied,
    RetentionSet,
    RetiredRange,
)

DEFAULT_DAYS: Final = 366
"""A year, also when it is a leap year."""

LEAST_DAYS: Final = 365
MOST_DAYS: Final = 36_500
MAX_HOLDS: Final = 1000
MAX_REASON: Final = 1024


@dataclass(frozen=True, slots=True)
class SetRetention:
    """``understood``: that fewer than 365 days break most rules an audit log is kept for."""

    days: int
    understood: bool


@dataclass(frozen=True, slots=True)
class AddHold:
    """Moments in UTC; ``ends`` is None for a hold without end."""

    hold: str
    begins: datetime
    ends: datetime | None
    reason: str


@dataclass(frozen=True, slots=True)
class RemoveHold:
    hold: str
    reason: str


@dataclass(frozen=True, slots=True)
class ApplyRetention:
    """A month that the audit service is about to remove."""

    period: str
    days: int
    ranges: tuple[RetiredRange, ...]
    manifest_digest: str


@dataclass(frozen=True, slots=True)
class RecordRebuild:
    requested_by: str
    entries: int
    trees: tuple[ReproducedTree, ...]


AuditLogCommand = SetRetention | AddHold | RemoveHold | ApplyRetention | RecordRebuild


@dataclass(frozen=True, slots=True)
class AuditLog:
    days: int = DEFAULT_DAYS
    holds: Mapping[str, Span] = field(default_factory=dict)
    applied: frozenset[str] = frozenset()


def decide(command: AuditLogCommand, state: AuditLog) -> Sequence[AuditLogEvent]:
    """
    Raises:
        KtError: ``invalid_request``, ``already_exists``, ``not_found``, or ``conflict`` for a month that is held.
    """
    match command:
        case SetRetention():
            _check_days(command)
            return [] if command.days == state.days else [RetentionSet(command.days)]
        case AddHold():
            _check_hold(command, state)
            return [HoldAdded(command.hold, rfc3339(command.begins), _end(command), command.reason)]
        case RemoveHold():
            if command.hold not in state.holds:
                raise KtError("not_found", "There is no hold of this name.", "`kt events hold list` shows them.")
            return [HoldRemoved(command.hold, command.reason)]
        case ApplyRetention():
            return _apply(command, state)
        case RecordRebuild():
            return [LogRebuilt(command.requested_by, command.entries, command.trees)]
        case _:
            assert_never(command)


def evolve(state: AuditLog, event: AuditLogEvent) -> AuditLog:
    match event:
        case RetentionSet():
            return replace(state, days=event.days)
        case HoldAdded():
            return replace(state, holds={**state.holds, event.hold: span(event.begins, event.ends)})
        case HoldRemoved():
            return replace(state, holds={hold: held for hold, held in state.holds.items() if hold != event.hold})
        case RetentionApplied():
            return replace(state, applied=state.applied | {event.period})
        case LogRebuilt():
            return state
        case _:
            assert_never(event)


def span(begins: str, ends: str) -> Span:
    return Span(datetime.fromisoformat(begins), datetime.fromisoformat(ends) if ends else None)


def _end(command: AddHold) -> str:
    return "" if command.ends is None else rfc3339(command.ends)


def _apply(command: ApplyRetention, state: AuditLog) -> Sequence[RetentionApplied]:
    """A hold that was added at the last moment counts: it is on the same aggregate, so one of the two is first."""
    if command.period in state.applied:
        return []
    held = sorted(hold for hold, held in state.holds.items() if held.overlaps(Month.parse(command.period).span))
    if held:
        raise KtError("conflict", f"{command.period} is held by {', '.join(held)}; nothing was removed.")
    if command.days < state.days:
        raise KtError("conflict", f"Entries are to be kept for {state.days} days; nothing was removed.")
    return [RetentionApplied(command.period, command.days, command.ranges, command.manifest_digest)]


def _check_days(command: SetRetention) -> None:
    if not 1 <= command.days <= MOST_DAYS:
        raise KtError("invalid_request", f"The retention is out of range; expected 1 to {MOST_DAYS:,} days.")
    if command.days < LEAST_DAYS and not command.understood:
        raise KtError(
            "invalid_request",
            f"Fewer than {LEAST_DAYS} days are not kept by accident: most rules ask for a year.",
            "Say --i-understand (`i_understand` in the API) if it is meant.",
        )


def _check_hold(command: AddHold, state: AuditLog) -> None:
    if command.hold in state.holds:
        raise KtError("already_exists", "There is a hold of this name.", "Remove it first, or choose another name.")
    if len(state.holds) >= MAX_HOLDS:
        raise KtError("invalid_request", f"There are {MAX_HOLDS:,} holds, which is the most there can be.")
    if command.ends is not None and command.ends <= command.begins:
        raise KtError("invalid_request", "The hold ends before it begins; expected a later end, or none.")
    if len(command.reason) > MAX_REASON:
        raise KtError("invalid_request", f"The reason has more than {MAX_REASON:,} characters.")


AUDIT_LOG: Decider[AuditLogCommand, AuditLog, AuditLogEvent] = Decider(AuditLog(), decide, evolve)
