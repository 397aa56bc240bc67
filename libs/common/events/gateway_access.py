"""What goes through a gateway: requests, refusals, and what the gateway could not put on record.

A gateway numbers its records from 1 in every epoch; an epoch is one run of the gateway, named by a UUID. So a record
that is missing leaves a gap that everybody can see.
"""

from __future__ import annotations

from dataclasses import dataclass

from libs.common.events.registry import REGISTRY

CATEGORY = "gateway_access"


@REGISTRY.event("kt.gateway.request_served.v1", action="request", category=CATEGORY, access=True)
@dataclass(frozen=True, slots=True)
class GatewayRequestServed:
    """A request that the provider answered. Times in microseconds, sizes of the bodies in bytes.

    ``version`` is that of the key it carried, 0 for an environment reference. While a rotation is on its way to the
    data plane it is that version or an earlier one, not before ``earliest_version``; otherwise the two are equal.
    ``client_token`` is the id of the client's token, empty where clients have none.
    """

    epoch: str
    sequence: int
    target: str
    store: str
    reference: str
    version: int
    earliest_version: int
    status: int
    latency_us: int
    request_bytes: int
    response_bytes: int
    client_token: str


@REGISTRY.event("kt.gateway.request_failed.v1", action="request", category=CATEGORY, failure=True, access=True)
@dataclass(frozen=True, slots=True)
class GatewayRequestFailed:
    """A request of a known client that got no use out of the key. ``status`` is 0 when no answer was sent.

    ``reason``: provider_unauthorized, provider_forbidden, rate_limited, provider_error, provider_unreachable,
    provider_timeout, stream_broken, credential_unavailable, client_disconnected, or what the gateway itself refused
    it for: unknown_target, method_not_allowed, credential_in_url, body_too_large, other.
    """

    epoch: str
    sequence: int
    reason: str
    target: str
    store: str
    reference: str
    version: int
    earliest_version: int
    status: int
    latency_us: int
    request_bytes: int
    response_bytes: int
    client_token: str


@dataclass(frozen=True, slots=True)
class RefusedFrom:
    address: str
    count: int


@REGISTRY.event("kt.gateway.requests_refused.v1", action="request", category=CATEGORY, failure=True, access=True)
@dataclass(frozen=True, slots=True)
class GatewayRequestsRefused:
    """Requests of nobody known, counted: a flood of them makes no flood of records.

    ``reason``: unauthenticated, forbidden, malformed or control_refused. ``addresses`` are those with the most
    requests; ``elsewhere`` came from others. Times are RFC 3339.
    """

    epoch: str
    sequence: int
    reason: str
    count: int
    first_at: str
    last_at: str
    addresses: tuple[RefusedFrom, ...]
    elsewhere: int


@REGISTRY.event("kt.gateway.access_log_started.v1", action="start_log", category="audit", access=True)
@dataclass(frozen=True, slots=True)
class GatewayAccessLogStarted:
    """An epoch begins. ``recording``: all or failures.

    ``previous_epoch`` is the one before on the same home, empty for the first. If that one was not ``ended``, the
    gateway was killed: what it had not sent by then is not on record.
    """

    epoch: str
    sequence: int
    recording: str
    previous_epoch: str
    previous_ended: bool


@REGISTRY.event("kt.gateway.access_log_ended.v1", action="end_log", category="audit", access=True)
@dataclass(frozen=True, slots=True)
class GatewayAccessLogEnded:
    """The last record of an epoch, with what the epoch came to: requests by what became of them."""

    epoch: str
    sequence: int
    served: int
    failed: int
    refused: int
    unrecorded: int


@REGISTRY.event("kt.gateway.requests_unrecorded.v1", action="log", category="audit", failure=True, access=True)
@dataclass(frozen=True, slots=True)
class GatewayRequestsUnrecorded:
    """Requests that were served and are not on record one by one.

    ``reason``: queue_full (the system took no records for too long), proxy_queue_full (the gateway's agent was too
    slow), proxy_lost (the proxy ended unexpectedly), transit_lost. ``count`` is exact, or, where the proxy ended, the
    least it can be. Times are RFC 3339.
    """

    epoch: str
    sequence: int
    reason: str
    count: int
    exact: bool
    first_at: str
    last_at: str


GatewayAccessEvent = (
    GatewayRequestServed
    | GatewayRequestFailed
    | GatewayRequestsRefused
    | GatewayAccessLogStarted
    | GatewayAccessLogEnded
    | GatewayRequestsUnrecorded
)
