"""What follows from an attempt: delivered, tried again later, or given up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

DELAYS: Final = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
"""Pauses before the second and each later attempt; the first is made at once (Standard Webhooks 1.0)."""

MAX_ATTEMPTS: Final = len(DELAYS) + 1
JITTER: Final = 0.2
"""A pause is longer by up to this part of it, so that what failed together does not come back together."""

MAX_RETRY_AFTER: Final = timedelta(hours=1)
GONE: Final = "gone"
REJECTED: Final = "rejected"
_SUCCESS: Final = range(200, 300)
_GONE: Final = 410
_THROTTLED: Final = frozenset({429, 503})
_NO_ANSWER: Final = 0
_LONG_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Response:
    """What came of one attempt. ``status`` is 0 without an answer, and then ``reason`` says why there is none.

    ``retry_after`` is what the header of that name asks for (RFC 9110 section 10.2.3).
    """

    status: int = _NO_ANSWER
    reason: str = ""
    retry_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Delivered:
    pass


@dataclass(frozen=True, slots=True)
class Retried:
    """``hold`` is until when the address asked to be left alone with anything."""

    due: datetime
    reason: str
    hold: datetime | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    reason: str


Step = Delivered | Retried | Failed


def next_step(attempts: int, response: Response, now: datetime, jitter: float) -> Step:
    """``attempts`` counts the one that ``response`` came of; ``jitter`` is random, from 0 to 1."""
    if response.status in _SUCCESS:
        return Delivered()
    if response.status == _GONE:
        return Failed(GONE)
    reason = response.reason or REJECTED
    if attempts >= MAX_ATTEMPTS:
        return Failed(reason)
    pause = DELAYS[attempts - 1] * (1 + JITTER * jitter)
    if response.status not in _THROTTLED or response.retry_after is None:
        return Retried(now + pause, reason)
    asked = min(max(response.retry_after, timedelta()), MAX_RETRY_AFTER)
    return Retried(now + max(pause, asked), reason, now + asked)


def retry_after(header: str | None, now: datetime) -> timedelta | None:
    """What ``Retry-After`` asks for, in seconds or as a date; None for anything else."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(timedelta(seconds=min(int(text[:10]), _LONG_S)), MAX_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max(aware - now, timedelta()), MAX_RETRY_AFTER)
