"""Streams and subjects. These are wire names: permanent."""

from __future__ import annotations

from typing import Final

from libs.common.names import name_from_token, subject_token

EVENTS: Final = "KT_EVENTS"
ACCESS: Final = "KT_ACCESS"

ALL_EVENTS: Final = "kt.evt.v1.>"
ALL_ACCESS: Final = "kt.access.v1.>"

_GATEWAYS: Final = "kt.gw.v1."
_EVENT_TOKENS: Final = 6


def event_subject(org: str, aggregate: str, name: str) -> str:
    """The one subject of an aggregate on ``KT_EVENTS``."""
    return f"kt.evt.v1.{org}.{aggregate}.{subject_token(name)}"


def access_subject(org: str, kind: str, name: str) -> str:
    return f"kt.access.v1.{org}.{kind}.{subject_token(name)}"


def feed_subject(org: str, aggregate: str, name: str) -> str:
    """Where the server republishes the headers of an aggregate's events, at the moment they are stored."""
    return f"kt.feed.v1.{org}.{aggregate}.{subject_token(name)}"


def gateway_subject(org: str, gateway: str, verb: str) -> str:
    """The subjects of one gateway; the server lets only that gateway publish there."""
    return f"{_GATEWAYS}{org}.{gateway}.{verb}"


def gateway_of(subject: str) -> tuple[str, str] | None:
    """``(org, name)`` of the gateway that a subject belongs to; None for a subject of no gateway."""
    if not subject.startswith(_GATEWAYS):
        return None
    _, _, _, org, name, _ = subject.split(".")
    return org, name


def aggregate_of(subject: str) -> str:
    """The aggregate of an event subject; empty for a subject that is of none."""
    tokens = subject.split(".")
    return tokens[4] if len(tokens) == _EVENT_TOKENS else ""


def parse_event_subject(subject: str) -> tuple[str, str, str]:
    """``(org, aggregate, name)`` of an event or access subject."""
    _, _, _, org, aggregate, token = subject.split(".")
    return org, aggregate, name_from_token(token)
