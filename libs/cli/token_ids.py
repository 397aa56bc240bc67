"""The id of a token that somebody holds in hand: read here, so that the token itself goes nowhere."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Final

from libs.common.errors import KtError

_MAX_BYTES: Final = 64 * 1024
_EXPECTED: Final = "expected a JWT (three parts with dots between) alone in it"


def read_token_id(path: Path) -> str:
    """The ``jti`` of the JWT in a file; ``-`` is standard input. Nothing is verified.

    Raises:
        KtError: ``usage`` when it can't be read or holds no such token; what it holds is not repeated.
    """
    try:
        raw = sys.stdin.buffer.read(_MAX_BYTES) if str(path) == "-" else path.read_bytes()[:_MAX_BYTES]
    except OSError as error:
        raise KtError("usage", f"{path} can't be read: {error.strerror}.") from None
    try:
        _, payload, _ = raw.decode("ascii").strip().split(".")
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        token_id = claims["jti"]
    except (ValueError, KeyError, TypeError):
        raise KtError("usage", f"The file does not hold a token with an id; {_EXPECTED}.") from None
    if not isinstance(token_id, str) or not token_id:
        raise KtError("usage", f"The token in the file has no id (jti); {_EXPECTED}.")
    return token_id
