"""The keys of access tokens as the log knows them: which were in force, one set after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from libs.common.decider import Decider
from libs.common.events.token import SigningKeysChanged

Kids = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RecordKeys:
    """``before`` is what the process that tells had until now; empty when it has just started."""

    before: Kids
    kids: Kids


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """``changes`` are all that were ever made, from which set to which."""

    kids: Kids = ()
    changes: frozenset[tuple[Kids, Kids]] = frozenset()


def decide(command: RecordKeys, state: SigningKeys) -> Sequence[SigningKeysChanged]:
    """A change counts once, however many processes make it, and also when one makes it after others went on."""
    before, kids = command.before, command.kids
    is_late = bool(before) and before != state.kids and (before, kids) in state.changes
    if kids == state.kids or is_late:
        return []
    added = tuple(kid for kid in kids if kid not in state.kids)
    removed = tuple(kid for kid in state.kids if kid not in kids)
    return [SigningKeysChanged(kids, kids[-1], added, removed)]


def evolve(state: SigningKeys, event: SigningKeysChanged) -> SigningKeys:
    return SigningKeys(event.kids, state.changes | {(state.kids, event.kids)})


SIGNING_KEYS: Decider[RecordKeys, SigningKeys, SigningKeysChanged] = Decider(SigningKeys(), decide, evolve)
