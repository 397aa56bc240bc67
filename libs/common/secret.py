"""A value that can't be shown, compared in variable time or copied out by accident."""

from __future__ import annotations

import hmac
from typing import Any, NoReturn

from libs.common.errors import KtError

REDACTED = "********"
"""What stands for a secret value in every response, table and log."""

MAX_VALUE_BYTES = 64 * 1024


class Secret:
    """Secret bytes. :meth:`reveal` is the only way to them, so a search for it lists every use.

    Printing, formatting, logging, pickling, copying, hashing and iterating yield the redaction or fail.
    Comparison takes time independent of where two values differ.
    """

    __slots__ = ("__value",)

    def __init__(self, value: bytes) -> None:
        self.__value = bytes(value)

    @classmethod
    def from_text(cls, value: str) -> Secret:
        return cls(value.encode())

    def reveal(self) -> bytes:
        return self.__value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.__value, other.__value)

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        return len(self.__value)

    def __bool__(self) -> bool:
        return bool(self.__value)

    def __repr__(self) -> str:
        return f"Secret({REDACTED})"

    def __str__(self) -> str:
        return REDACTED

    def __format__(self, _: str) -> str:
        return REDACTED

    def __reduce_ex__(self, _: Any) -> NoReturn:
        raise TypeError("a Secret can't be pickled or copied")


def checked_value(value: str) -> Secret:
    """A value as a caller may store it: 1 byte to 64 KiB of UTF-8, no NUL, and not a redaction placeholder.

    Raises:
        KtError: ``invalid_value`` or ``redacted_value``; never with the value in it.
    """
    try:
        raw = value.encode()
    except UnicodeEncodeError:
        raise KtError("invalid_value", "The value is not valid Unicode text; expected UTF-8.") from None
    if not raw:
        raise KtError("invalid_value", "The value is empty; expected 1 to 65,536 bytes.")
    if len(raw) > MAX_VALUE_BYTES:
        raise KtError(
            "invalid_value",
            f"The value has {len(raw):,} bytes; the limit is {MAX_VALUE_BYTES:,}.",
            "Store a larger document elsewhere and keep only its key here.",
        )
    if b"\0" in raw:
        raise KtError("invalid_value", "The value contains a NUL byte; expected text.")
    if not value.strip("*•") or value == "[REDACTED]":
        raise KtError(
            "redacted_value",
            "The value is the placeholder that stands for a hidden value; nothing was stored.",
            "Send the real value, or leave the field out to keep the one that is stored.",
        )
    return Secret(raw)
