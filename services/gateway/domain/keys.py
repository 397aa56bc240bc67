"""What the gateway holds for one reference, and how an answer of its source changes it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import assert_never

from libs.common.secret import Secret
from services.gateway.domain.header_value import header_problem
from services.gateway.domain.references import DEFINITE, Reason, Reference, Resolution, Resolved, Unresolved


@dataclass(frozen=True, slots=True)
class HeldKey:
    """``value`` is None when the key was withdrawn. ``since`` is when this value, or its absence, took effect here.

    ``stale`` means that the last attempt to refresh failed for ``reason``, and the key held before stays in use.
    """

    reference: Reference
    value: Secret | None
    version: int
    sequence: int
    since: datetime
    stale: bool = False
    reason: Reason | None = None


def usable(resolution: Resolution) -> Resolution:
    """A value that can't be a header is a failure, whoever stored it."""
    if isinstance(resolution, Resolved) and header_problem(resolution.value):
        return Unresolved(resolution.reference, Reason.UNUSABLE_VALUE, resolution.sequence)
    return resolution


def evolve(held: HeldKey | None, resolution: Resolution, now: datetime) -> HeldKey:
    """What is held after an answer.

    An answer older than what is held changes nothing: two answers may overtake each other, sequences can't. A value
    without a sequence is that of an older plaintext row, older than any that has one.
    A definite refusal withdraws the key. Any other failure keeps the one held, marked stale.
    """
    if held is not None and resolution.sequence < held.sequence and _is_ordered(resolution):
        return held
    match usable(resolution):
        case Resolved(reference, value, version, sequence):
            if held is not None and held.value is not None and held.value == value and held.version == version:
                return replace(held, sequence=sequence, stale=False, reason=None)
            return HeldKey(reference, value, version, sequence, now)
        case Unresolved(reference, reason, sequence):
            return _without(held, reference, reason, sequence, now)
        case other:
            assert_never(other)


def _is_ordered(resolution: Resolution) -> bool:
    """Whether its sequence tells when it was true; a refusal need not have one."""
    return isinstance(resolution, Resolved) or resolution.sequence > 0


def _without(held: HeldKey | None, reference: Reference, reason: Reason, sequence: int, now: datetime) -> HeldKey:
    if held is None:
        return HeldKey(reference, None, 0, sequence, now, reason=reason)
    if reason not in DEFINITE:
        return replace(held, stale=held.value is not None, reason=reason)
    since = now if held.value is not None else held.since
    return replace(held, value=None, sequence=max(sequence, held.sequence), since=since, stale=False, reason=reason)
