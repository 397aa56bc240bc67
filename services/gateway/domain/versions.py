"""Which version of a key a request carried.

The proxy is handed a new key and confirms it a few milliseconds later. A request that was written to the provider
before the handing over carried the old one; a request that began after the confirmation carries the new one; in
between it may be either, and both are said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

SETTLED_US: Final = 50_000
"""Envoy's main thread confirms what its workers take over in their next turn. This is many times longer."""

MAX_KEPT: Final = 64
"""Versions of one key that are remembered, for streams that began long ago."""


@dataclass(frozen=True, slots=True)
class HandedOver:
    """``confirmed`` is None until the proxy has confirmed this version. Unix time in microseconds."""

    version: int
    at: int
    confirmed: int | None = None


class Span(NamedTuple):
    """The versions that a request may have carried; equal when it is certain."""

    earliest: int
    version: int


History = tuple[HandedOver, ...]
"""Of one key, in the order it was handed over."""


def handed_over(history: History, version: int, now: int) -> History:
    return (*history, HandedOver(version, now))[-MAX_KEPT:]


def confirmed(history: History, now: int) -> History:
    """The proxy has the version handed over last."""
    if not history or history[-1].confirmed is not None:
        return history
    return (*history[:-1], replace(history[-1], confirmed=now))


def carried(history: History, began: int, sent: int) -> Span:
    """For a request that began and was written to the provider at these times."""
    possible = [given.version for number, given in enumerate(history) if _possible(history, number, began, sent)]
    if not possible:
        return Span(history[0].version, history[0].version) if history else Span(0, 0)
    return Span(possible[0], possible[-1])


def _possible(history: Sequence[HandedOver], number: int, began: int, sent: int) -> bool:
    if history[number].at > sent:
        return False
    after = [given.confirmed for given in history[number + 1 :] if given.confirmed is not None]
    return not after or began <= after[0] + SETTLED_US
