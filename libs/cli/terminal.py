"""What a terminal needs: text that can't take it over, colour only where wanted, and time as people say it."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from datetime import UTC, datetime
from typing import Final, TextIO

_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e0fff]"
)
"""Control characters (C0, C1), line separators, and formatting that hides or reorders text (Unicode TR 36)."""

_STYLES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}
_UNITS: Final = ((60, 1, "s"), (3600, 60, "min"), (86400, 3600, "h"), (31_536_000, 86400, "d"))
_WIDE: Final = frozenset("WF")


def clean(text: str) -> str:
    """Text from elsewhere, safe to print on one line of a terminal."""
    return _UNSAFE.sub(lambda found: " " if found.group() in "\t\n\r" else "\ufffd", text)


def has_colour(stream: TextIO) -> bool:
    """True for a terminal that can show colours, unless ``NO_COLOR`` is set (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def styled(text: str, style: str, stream: TextIO | None = None) -> str:
    """``text`` in a style (bold, dim, red, green, yellow), where ``stream`` (default stdout) can show it."""
    if not style or not has_colour(stream or sys.stdout):
        return text
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m"


def width(text: str) -> int:
    """Columns that text takes on a terminal (Unicode TR 11)."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 1 + (unicodedata.east_asian_width(character) in _WIDE)
        for character in text
    )


def shortened(text: str, columns: int) -> str:
    """``text`` cut to fit ``columns``, with an ellipsis where something is missing."""
    if width(text) <= columns:
        return text
    while text and width(text) >= columns:
        text = text[:-1]
    return f"{text}…"


def moment(timestamp: object) -> datetime | None:
    """The time an RFC 3339 text or a number of Unix seconds stands for; None when it is neither."""
    try:
        if isinstance(timestamp, (int, float)):
            return datetime.fromtimestamp(timestamp, UTC)
        parsed = datetime.fromisoformat(str(timestamp))
    except (ValueError, OverflowError, OSError):
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def absolute(timestamp: object) -> str:
    """``2026-11-23 07:39:03Z``: UTC to the second."""
    found = moment(timestamp)
    return found.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ") if found else clean(str(timestamp or "-"))


def age(timestamp: object, now: datetime) -> str:
    """How long ago, in one unit: ``12 s``, ``5 min``, ``3 h``, ``40 d``, ``2 y``."""
    found = moment(timestamp)
    if found is None:
        return "-"
    seconds = max(0, int((now - found).total_seconds()))
    for limit, size, unit in _UNITS:
        if seconds < limit:
            return f"{seconds // size} {unit}"
    return f"{seconds // 31_536_000} y"


def ago(timestamp: object, now: datetime) -> str:
    """``2026-11-23 07:39:03Z (5 min ago)``."""
    return f"{absolute(timestamp)} ({age(timestamp, now)} ago)" if moment(timestamp) else "-"


def size(count: int) -> str:
    """A number of bytes."""
    value, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:  # noqa: PLR2004
        value, units = value / 1024, units[1:]
    return f"{value:.0f} {units[0]}" if units[0] == "B" else f"{value:.1f} {units[0]}"
