"""Signatures of webhook deliveries: Standard Webhooks 1.0, symmetric scheme ``v1`` (HMAC-SHA-256)."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterable
from typing import Final

from libs.common.secret import Secret
from libs.common.webhook_secret import signing_key

VERSION: Final = "v1"


def signed_content(message_id: str, timestamp: int, payload: bytes) -> bytes:
    """What is signed. Nobody can shift its parts: id and timestamp hold no full stop."""
    if "." in message_id:
        raise ValueError("a message id holds no full stop")
    return f"{message_id}.{timestamp}.".encode() + payload


def signature_header(secrets: Iterable[Secret], content: bytes) -> str:
    """The value of ``webhook-signature``: one signature per secret (``whsec_…``), in that order.

    Raises:
        KtError: ``invalid_value`` when one of them is not a webhook secret.
    """
    return " ".join(f"{VERSION},{_signature(secret, content)}" for secret in secrets)


def _signature(secret: Secret, content: bytes) -> str:
    return base64.b64encode(hmac.digest(signing_key(secret).reveal(), content, "sha256")).decode()
