"""One request as the proxy tells of it when it is over, and what is to be said of it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

PROVIDER_ANSWERED: Final = "via_upstream"
GATEWAY_ANSWERED: Final = "direct_response"

_CLIENT_ERROR: Final = 400
_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_TOO_MANY: Final = 429
_SERVER_ERROR: Final = 500


class Exchange(NamedTuple):
    """Times in microseconds, ``started`` since 1970; ``sent`` is how long it took until the provider was written to.

    ``status`` is 0 when no answer was begun. ``destination`` is empty when no target was chosen. ``details`` is
    Envoy's response code details: a word, behind it often more in braces.
    """

    started: int
    latency: int
    sent: int
    status: int
    request_bytes: int
    response_bytes: int
    destination: str
    client: str
    client_token: str
    address: str
    details: str


class Failure(StrEnum):
    """Why a request of a known client got no use out of the key. Wire names: they stand in events."""

    PROVIDER_UNAUTHORIZED = "provider_unauthorized"
    PROVIDER_FORBIDDEN = "provider_forbidden"
    RATE_LIMITED = "rate_limited"
    PROVIDER_ERROR = "provider_error"
    PROVIDER_UNREACHABLE = "provider_unreachable"
    PROVIDER_TIMEOUT = "provider_timeout"
    STREAM_BROKEN = "stream_broken"
    CREDENTIAL_UNAVAILABLE = "credential_unavailable"
    CLIENT_DISCONNECTED = "client_disconnected"
    UNKNOWN_TARGET = "unknown_target"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    CREDENTIAL_IN_URL = "credential_in_url"
    BODY_TOO_LARGE = "body_too_large"
    OTHER = "other"


class Refusal(StrEnum):
    """Why a request of nobody known was refused. Wire names, too."""

    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    MALFORMED = "malformed"
    CONTROL_REFUSED = "control_refused"


class Judgement(NamedTuple):
    """At most one of the two; neither for a request that was served."""

    failure: Failure | None = None
    refusal: Refusal | None = None


SERVED: Final = Judgement()

_BY_PROVIDER: Final[Mapping[int, Failure]] = {
    _UNAUTHORIZED: Failure.PROVIDER_UNAUTHORIZED,
    _FORBIDDEN: Failure.PROVIDER_FORBIDDEN,
    _TOO_MANY: Failure.RATE_LIMITED,
}
_BY_GATEWAY: Final[Mapping[int, Failure]] = {
    400: Failure.CREDENTIAL_IN_URL,
    404: Failure.UNKNOWN_TARGET,
    405: Failure.METHOD_NOT_ALLOWED,
}
_BY_DETAILS: Final[tuple[tuple[str, Failure], ...]] = (
    ("failed_to_inject_credential", Failure.CREDENTIAL_UNAVAILABLE),
    ("upstream_reset_after_response_started", Failure.STREAM_BROKEN),
    ("upstream_reset_before_response_started", Failure.PROVIDER_UNREACHABLE),
    ("no_healthy_upstream", Failure.PROVIDER_UNREACHABLE),
    ("response_timeout", Failure.PROVIDER_TIMEOUT),
    ("upstream_response_timeout", Failure.PROVIDER_TIMEOUT),
    ("stream_idle_timeout", Failure.PROVIDER_TIMEOUT),
    ("request_payload_too_large", Failure.BODY_TOO_LARGE),
)
_BY_CLIENT_AUTH: Final = ("jwt_authn_access_denied", "rbac_access_denied", "missing_api_key", "unknown_api_key")


def judge(exchange: Exchange) -> Judgement:
    """What became of a request to a target. A provider's answers about the request itself (400, 404, 422) count as
    served: the key was put on, and the provider took it."""
    details, status = exchange.details, exchange.status
    if details == PROVIDER_ANSWERED:
        return _by_provider(status)
    if details == GATEWAY_ANSWERED:
        return Judgement(_BY_GATEWAY.get(status, Failure.OTHER))
    if details.startswith(_BY_CLIENT_AUTH):
        return Judgement(refusal=Refusal.FORBIDDEN if status == _FORBIDDEN else Refusal.UNAUTHENTICATED)
    known = next((failure for beginning, failure in _BY_DETAILS if details.startswith(beginning)), None)
    return Judgement(known) if known is not None else _otherwise(exchange)


def _by_provider(status: int) -> Judgement:
    if status in _BY_PROVIDER:
        return Judgement(_BY_PROVIDER[status])
    return Judgement(Failure.PROVIDER_ERROR) if status >= _SERVER_ERROR else SERVED


def _otherwise(exchange: Exchange) -> Judgement:
    if not exchange.destination:
        return Judgement(refusal=Refusal.MALFORMED)
    if not exchange.status:
        return Judgement(Failure.CLIENT_DISCONNECTED)
    # A client that leaves while the answer is on its way has had the use of the key.
    return SERVED if exchange.status < _CLIENT_ERROR else Judgement(Failure.OTHER)


def judge_control(exchange: Exchange) -> Judgement:
    """The agent's own endpoints: only who was refused there is of interest."""
    refused = exchange.status in (_UNAUTHORIZED, _FORBIDDEN)
    return Judgement(refusal=Refusal.CONTROL_REFUSED) if refused else SERVED
