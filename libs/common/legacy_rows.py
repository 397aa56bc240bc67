"""Rows as the earlier system had them: a name, a value in clear, a description, a sensitive flag.

A row is used as it is or not at all: what a config variable could not be, an older row can't be either.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Final

from libs.common.errors import KtError
from libs.common.names import MAX_NAME_LENGTH, checked_variable_name, looks_like_secret
from libs.common.secret import MAX_VALUE_BYTES, Secret, checked_value

MAX_DESCRIPTION: Final = 1024
MAX_READ_NAME: Final = MAX_NAME_LENGTH + 1
"""Characters of a name to read: enough to tell that it is too long."""
_SHOWN_CHARACTERS: Final = 64
_TELLING_BYTES: Final = 8
"""A value shorter than this is part of ordinary text too often to say that a description holds it."""

_FALSE: Final = frozenset({"false", "f", "no", "n", "off", "0"})


@dataclass(frozen=True, slots=True)
class LegacyRow:
    """A row that can be used. ``version`` changes with every change of the row; it is empty where there is none."""

    name: str
    value: Secret
    description: str
    sensitive: bool
    version: str = ""


@dataclass(frozen=True, slots=True)
class UnusableRow:
    """A row that can't be used. ``label`` is its name, as far as that can be shown; ``problem`` never quotes it."""

    label: str
    problem: str


@dataclass(frozen=True, slots=True)
class RawRow:
    """A row as it lies there. Sizes are in bytes; ``value`` is None when it is too large to be read, or NULL.

    ``copies`` is how many rows have this name.
    """

    name: bytes | None
    value: bytes | None
    value_size: int
    description: bytes | None
    sensitive: str | None
    version: str
    copies: int


def read_row(raw: RawRow) -> LegacyRow | UnusableRow:
    """The row, if it can be used."""
    name = (raw.name or b"").decode("utf-8", "replace")
    try:
        if raw.copies > 1:
            raise KtError("conflict", f"{raw.copies} rows have this name, and which one is meant can't be told.")
        return checked_row(name, _value(raw), _text(raw.description), is_sensitive(raw.sensitive), raw.version)
    except KtError as error:
        return UnusableRow(label_of(name), error.detail)


def checked_row(name: str, value: str, description: str, sensitive: bool, version: str = "") -> LegacyRow:
    """
    Raises:
        KtError: ``invalid_name``, ``name_looks_like_secret``, ``invalid_value``, ``redacted_value`` or
            ``invalid_request`` (the description); nothing of the row is repeated.
    """
    checked_variable_name(name)
    secret = checked_value(value)
    _check_description(description, value)
    return LegacyRow(name, secret, description, sensitive, version)


def is_sensitive(written: str | None) -> bool:
    """Everything but a clear no is a yes, as nothing is."""
    return (written or "").strip().lower() not in _FALSE


def label_of(name: str) -> str:
    """A name to point to, or what can be said instead of one that must not be shown."""
    if looks_like_secret(name):
        return "(a name in the shape of a key)"
    shown = "".join(c if c.isprintable() else "\ufffd" for c in name[:_SHOWN_CHARACTERS])
    return (f"{shown}…" if len(name) > _SHOWN_CHARACTERS else shown) or "(no name)"


def _value(raw: RawRow) -> str:
    if raw.value_size > MAX_VALUE_BYTES:
        raise KtError("invalid_value", f"The value has {raw.value_size:,} bytes; the limit is {MAX_VALUE_BYTES:,}.")
    return _decoded(raw.value or b"", "invalid_value", "The value")


def _text(description: bytes | None) -> str:
    return _decoded(description or b"", "invalid_request", "The description")


def _decoded(raw: bytes, code: str, what: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise KtError(code, f"{what} is not text; expected UTF-8.") from None


def _check_description(description: str, value: str) -> None:
    if len(description) > MAX_DESCRIPTION:
        raise KtError("invalid_request", f"The description has more than {MAX_DESCRIPTION:,} characters.")
    if any(unicodedata.category(c) == "Cc" and c not in "\n\t" for c in description):
        raise KtError("invalid_request", "The description contains a control character.")
    if looks_like_secret(description):
        raise KtError("invalid_request", "The description contains something in the shape of a key.")
    if len(value.encode()) >= _TELLING_BYTES and value in description:
        raise KtError("invalid_request", "The description contains the value.")
