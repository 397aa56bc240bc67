"""How long a token lives."""

from __future__ import annotations

import re
from typing import Final

from libs.common.errors import FieldProblem, KtError

MIN_TTL_S: Final = 60
MAX_TTL_S: Final = 366 * 86_400
DEFAULT_TTL_S: Final = 30 * 86_400

_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_FORM = re.compile(r"([0-9]{1,9})([smhd])")
EXPECTED: Final = "between 60s and 366d, such as 90d, 12h or 30m"


def lifetime(ttl: str | None, ttl_seconds: int | None) -> int:
    """Seconds, from either form; 30 days when neither is given.

    Raises:
        KtError: ``invalid_request`` when both are given, or it is not between a minute and 366 days.
    """
    if ttl is not None and ttl_seconds is not None:
        raise _invalid("ttl", "is given twice, as ttl and as ttl_seconds", "one of them")
    field, seconds = ("ttl", duration("ttl", ttl, EXPECTED)) if ttl is not None else ("ttl_seconds", ttl_seconds)
    if seconds is None:
        return DEFAULT_TTL_S
    if not MIN_TTL_S <= seconds <= MAX_TTL_S:
        raise _invalid(field, "is out of range", EXPECTED)
    return seconds


def duration(field: str, text: str, expected: str) -> int:
    """Seconds of a whole number with its unit (s, m, h, d).

    Raises:
        KtError: ``invalid_request``, naming the field.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise _invalid(field, "is not a duration", expected)
    return int(match.group(1)) * _UNITS[match.group(2)]


def _invalid(field: str, problem: str, expected: str) -> KtError:
    detail = f"The request is not valid: {field} {problem}; expected {expected}."
    return KtError("invalid_request", detail, fields=(FieldProblem(field, problem, expected),))
