"""Webhook secrets as Standard Webhooks writes them: ``whsec_`` and base64 of 24 to 64 random bytes."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Final

from libs.common.errors import KtError
from libs.common.secret import Secret

PREFIX: Final = "whsec_"
MIN_BYTES: Final = 24
MAX_BYTES: Final = 64
GENERATED_BYTES: Final = 32
MIN_DISTINCT_BYTES: Final = 12
"""Of 24 random bytes fewer are distinct once in more than a million million million."""

EXPECTED: Final = f"{PREFIX} and base64 of {MIN_BYTES} to {MAX_BYTES} random bytes"


def generated(entropy: Callable[[int], bytes]) -> Secret:
    return Secret(PREFIX.encode() + base64.b64encode(entropy(GENERATED_BYTES)))


def signing_key(secret: Secret) -> Secret:
    """The bytes that sign.

    Standard base64 only, padding optional: some receivers drop characters of the URL-safe alphabet silently, and
    would verify with another key.

    Raises:
        KtError: ``invalid_value``, saying what is wrong, never with the secret.
    """
    raw = secret.reveal()
    if not raw.startswith(PREFIX.encode()):
        raise _invalid(f"does not begin with {PREFIX}")
    encoded = raw.removeprefix(PREFIX.encode())
    try:
        key = base64.b64decode(encoded + b"=" * (-len(encoded) % 4), validate=True)
    except binascii.Error:
        raise _invalid("is not base64 in the standard alphabet") from None
    if not MIN_BYTES <= len(key) <= MAX_BYTES:
        raise _invalid(f"holds {len(key):,} bytes")
    if len(set(key)) < MIN_DISTINCT_BYTES:
        raise _invalid("is too regular to be random")
    return Secret(key)


def _invalid(problem: str) -> KtError:
    return KtError(
        "invalid_value",
        f"The webhook secret {problem}; expected {EXPECTED}.",
        "Leave it out to have one made, or make one with: echo whsec_$(openssl rand -base64 32)",
    )
