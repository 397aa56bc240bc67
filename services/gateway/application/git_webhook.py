"""Who may say that a repository has something new: a Git host that knows the secret agreed with it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Final

from libs.common.errors import KtError
from libs.common.secret import Secret

SECRET_VARIABLE: Final = "KEEPTRUSTS_GATEWAY_GIT_WEBHOOK_SECRET"  # noqa: S105 - the name of a variable
MIN_SECRET_BYTES: Final = 16
SIGNATURES: Final = ("x-hub-signature-256", "x-hub-signature")
"""``sha256=`` and the hex HMAC-SHA-256 of the body, as GitHub, Gitea and Bitbucket send it."""

TOKEN: Final = "x-gitlab-token"  # noqa: S105 - the name of a header
"""The secret itself, as GitLab sends it."""


class GitWebhook:
    """A webhook says only that it is time to look; nothing of its body is used."""

    def __init__(self, secret: Secret | None, look: Callable[[], None]) -> None:
        """Raises: KtError ``misconfigured`` for a secret that could be guessed."""
        if secret is not None and len(secret) < MIN_SECRET_BYTES:
            raise KtError(
                "misconfigured",
                f"{SECRET_VARIABLE} is shorter than {MIN_SECRET_BYTES} bytes.",
                "Make one with `openssl rand -hex 32`, and give the Git host the same.",
            )
        self._secret = secret
        self.look = look

    def check(self, headers: Mapping[str, str], body: bytes) -> None:
        """Raises: KtError ``unauthenticated``. ``headers`` are found by lower-case names."""
        if self._secret is not None:
            expected = b"sha256=" + hmac.new(self._secret.reveal(), body, hashlib.sha256).hexdigest().encode()
            given = [headers[name].encode() for name in SIGNATURES if name in headers]
            if any(hmac.compare_digest(expected, signature) for signature in given):
                return
            if TOKEN in headers and Secret.from_text(headers[TOKEN]) == self._secret:
                return
        raise KtError(
            "unauthenticated",
            "The request carries neither the signature of the Git host nor the gateway's control token.",
            f"Give the host the secret of {SECRET_VARIABLE}.",
        )
