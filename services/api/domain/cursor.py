"""Cursors of lists of secrets and tokens: opaque to the caller, good for one org, one kind and one prefix."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Final

from libs.common.errors import KtError
from libs.common.names import MAX_NAME_LENGTH

_VERSION: Final = b"\x01"
_DIGEST: Final = 8


def encode_cursor(org: str, kind: str, prefix: str, after: str) -> str:
    """A cursor to what follows the name ``after``."""
    return base64.urlsafe_b64encode(_VERSION + _scope(org, kind, prefix) + after.encode()).rstrip(b"=").decode()


def decode_cursor(org: str, kind: str, prefix: str, cursor: str) -> str:
    """The name that a cursor points behind; empty for an empty cursor.

    Raises:
        KtError: ``invalid_cursor`` when it was made for another list, or by somebody else.
    """
    if not cursor:
        return ""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        version, scope, after = raw[:1], raw[1 : 1 + _DIGEST], raw[1 + _DIGEST :].decode("ascii")
    except (binascii.Error, ValueError):
        raise invalid_cursor() from None
    if version != _VERSION or scope != _scope(org, kind, prefix) or not 0 < len(after) <= MAX_NAME_LENGTH:
        raise invalid_cursor()
    return after


def _scope(org: str, kind: str, prefix: str) -> bytes:
    return hashlib.sha256(f"{org}\0{kind}\0{prefix}".encode()).digest()[:_DIGEST]


def invalid_cursor() -> KtError:
    return KtError(
        "invalid_cursor",
        "The cursor does not belong to this list.",
        "Use the `next_cursor` of the page before, with the same conditions; leave it out to begin anew.",
    )
