"""Identifiers: time-ordered for events, derived from their cause where a retry must find the same one."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from typing import Protocol

from libs.common.clock import Clock, SystemClock

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
        value = (millis << 80) | int.from_bytes(self._entropy(10), "big")
        value = (value & ~(0xF << 76)) | (0x7 << 76)
        value = (value & ~(0x3 << 62)) | (0x2 << 62)
        return str(uuid.UUID(int=value))


def derived_id(*parts: str) -> str:
    """The same parts always give the same identifier (UUIDv5, RFC 9562 section 5.5)."""
    return str(uuid.uuid5(_NAMESPACE, "\x1f".join(parts)))
