"""Why a token is refused: told to the caller as ``reason``, and put on record."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from libs.common.errors import KtError

if TYPE_CHECKING:
    from libs.common.auth.tokens import Principal

_LOGIN_HINT: Final = "Get a token with `kt token issue`, and send it as `Authorization: Bearer …`."


class Reason(StrEnum):
    """Wire names: they stand in events."""

    MALFORMED = "malformed"
    UNSUPPORTED_ALGORITHM = "unsupported_algorithm"
    UNKNOWN_KEY = "unknown_key"
    INVALID_SIGNATURE = "invalid_signature"
    INVALID_CLAIMS = "invalid_claims"
    EXPIRED = "expired"
    REVOKED = "revoked"


class RefusedToken(KtError):
    """A token was shown and not accepted. ``principal`` is whom it speaks for, where its signature was good."""

    reason: Reason
    principal: Principal | None


def unauthenticated(detail: str) -> KtError:
    """There is no token to judge."""
    return KtError("unauthenticated", detail, _LOGIN_HINT)


def refused(reason: Reason, detail: str, principal: Principal | None = None) -> RefusedToken:
    error = RefusedToken("unauthenticated", detail, _LOGIN_HINT, extra={"reason": str(reason)})
    error.reason, error.principal = reason, principal
    return error
