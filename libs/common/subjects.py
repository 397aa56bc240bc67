"""Streams and subjects. These are wire names: permanent."""

from __future__ import annotations

from typing import Final, NamedTuple

from libs.common.names import name_from_token, subject_token

EVENTS: Final = "KT_EVENTS"
ACCESS: Final = "KT_ACCESS"

ALL_EVENTS: Final = "kt.evt.v1.>"
ALL_ACCESS: Final = "kt.access.v1.>"

GATEWAY_POLICY: Final = "gateway_policy"
"""The kind of access subject that holds what a gateway's config asks of the audit log."""

_GATEWAYS: Final = "kt.gw.v1."
_EVENT_TOKENS: Final = 6


def event_subject(org: str, aggregate: str, name: str) -> str:
    """The one subject of an aggregate on ``KT_EVENTS``."""
    return f"kt.evt.v1.{org}.{aggregate}.{subject_token(name)}"


class GatewayIdentity(NamedTuple):
    """A gateway on the bus, and the id of the access token that it speaks with."""

    org: str
    name: str
    token_id: str


def access_subject(org: str, kind: str, name: str) -> str:
    return f"kt.access.v1.{org}.{kind}.{subject_token(name)}"


def feed_subject(org: str, aggregate: str, name: str) -> str:
    """Where the server republishes the headers of an aggregate's events, at the moment they are stored."""
    return f"kt.feed.v1.{org}.{aggregate}.{subject_token(name)}"


def gateway_subject(gateway: GatewayIdentity, verb: str) -> str:
    """The subjects of one gateway with one token; the server lets nobody else publish there."""
    return f"{_GATEWAYS}{gateway.org}.{gateway.name}.{gateway.token_id}.{verb}"


def is_gateway_subject(subject: str) -> bool:
    return subject.startswith(_GATEWAYS)


def gateway_of(subject: str) -> GatewayIdentity:
    """Whose subject it is. Raises: ValueError for one that is no gateway's."""
    _, _, _, org, name, token_id, _ = subject.split(".")
    return GatewayIdentity(org, name, token_id)


def aggregate_of(subject: str) -> str:
    """The aggregate of an event subject; empty for a subject that is of none."""
    tokens = subject.split(".")
    return tokens[4] if len(tokens) == _EVENT_TOKENS else ""


def parse_event_subject(subject: str) -> tuple[str, str, str]:
    """``(org, aggregate, name)`` of an event or access subject."""
    _, _, _, org, aggregate, token = subject.split(".")
    return org, aggregate, name_from_token(token)
