"""Identifiers: time-ordered for events, derived from their cause where a retry must find the same one."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from typing import Protocol

from libs.common.clock import Clock, SystemClock

_RANDOM_BITS = 0xFFF << 64 | (1 << 62) - 1
_VERSION_AND_VARIANT = 0x7 << 76 | 0x2 << 62
_NAMESPACE = uuid.UUID("6f0f3c0e-6d0b-5d33-9a5c-2f1b7f1c8a10")


class IdFactory(Protocol):
    def new(self) -> str:
        """A fresh identifier."""


class Uuid7Factory:
    """UUIDv7 (RFC 9562 section 5.7): 48 bits of Unix milliseconds, then randomness."""

    def __init__(self, clock: Clock | None = None, entropy: Callable[[int], bytes] = os.urandom) -> None:
        self._clock = clock or SystemClock()
        self._entropy = entropy

    def new(self) -> str:
        millis = int(self._clock.now().timestamp() * 1000)
        random = int.from_bytes(self._entropy(10), "big") & _RANDOM_BITS
        # Written out here: going through uuid.UUID takes three times as long.
        text = f"{millis << 80 | _VERSION_AND_VARIANT | random:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def derived_id(*parts: str) -> str:
    """The same parts always give the same identifier (UUIDv5, RFC 9562 section 5.5)."""
    return str(uuid.uuid5(_NAMESPACE, "\x1f".join(parts)))
