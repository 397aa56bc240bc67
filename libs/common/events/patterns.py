"""Patterns of event types, as a webhook subscribes to them.

A pattern is a whole wire name, or the beginning of one up to a dot and a ``*``: ``kt.config_variable.rotated.v1``,
``kt.config_variable.*``, ``*``. One with ``*`` means changes, the events of ``KT_EVENTS``; what happens with every
access is recorded in ``KT_ACCESS`` and has to be named in full.
"""

from __future__ import annotations

import re
from typing import Final

from libs.common.errors import KtError
from libs.common.events.registry import REGISTRY, EventType

_FORM: Final = re.compile(r"(?:kt\.(?:[a-z_]+\.){0,2})?\*|kt\.[a-z_]+\.[a-z_]+\.v[1-9][0-9]{0,3}")
_OWN_AGGREGATE: Final = "kt.webhook."


def deliverable(kind: EventType) -> bool:
    """False for the records of deliveries themselves: telling of them would never end."""
    return not (kind.access and kind.wire_name.startswith(_OWN_AGGREGATE))


def matches(pattern: str, wire_name: str) -> bool:
    """Whether a pattern means an event of ``KT_EVENTS``."""
    return wire_name.startswith(pattern[:-1]) if pattern.endswith("*") else pattern == wire_name


def checked_pattern(pattern: str) -> str:
    """
    Raises:
        KtError: ``invalid_request`` when it has another form, or means no event there is: a misspelt one would never
            be missed.
    """
    if not _FORM.fullmatch(pattern):
        raise KtError(
            "invalid_request",
            "An event type is not valid; expected one such as kt.config_variable.rotated.v1,"
            " kt.config_variable.* or *.",
        )
    if not any(_means(pattern, kind) for kind in REGISTRY.types().values()):
        raise KtError(
            "invalid_request",
            "An event type means no event that is delivered.",
            "docs/reference/events.md lists them; those of KT_ACCESS have to be named in full.",
        )
    return pattern


def access_types() -> frozenset[str]:
    """The wire names in ``KT_ACCESS`` that can be subscribed to."""
    return frozenset(name for name, kind in REGISTRY.types().items() if kind.access and deliverable(kind))


def _means(pattern: str, kind: EventType) -> bool:
    named = pattern == kind.wire_name if kind.access else matches(pattern, kind.wire_name)
    return named and deliverable(kind)
