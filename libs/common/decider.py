"""Deciders: ``decide(command, state) -> events`` and ``evolve(state, event) -> state``, pure both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Command = TypeVar("Command")
State = TypeVar("State")
Event = TypeVar("Event")


@dataclass(frozen=True, slots=True)
class Decider(Generic[Command, State, Event]):
    """An aggregate as three pure functions. ``decide`` raises KtError for what is not allowed."""

    initial: State
    decide: Callable[[Command, State], Sequence[Event]]
    evolve: Callable[[State, Event], State]

    def fold(self, events: Iterable[Event]) -> State:
        state = self.initial
        for event in events:
            state = self.evolve(state, event)
        return state
