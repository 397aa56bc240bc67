"""One feed of changes, several who are told."""

from __future__ import annotations

from services.gateway.application.ports import ChangeListener
from services.gateway.domain.references import Reference


class Listeners:
    """A :class:`ChangeListener` that passes on what it is told."""

    def __init__(self, *listeners: ChangeListener) -> None:
        self._listeners = list(listeners)

    def add(self, listener: ChangeListener) -> None:
        self._listeners.append(listener)

    def changed(self, reference: Reference) -> None:
        for listener in self._listeners:
            listener.changed(reference)

    def missed(self) -> None:
        for listener in self._listeners:
            listener.missed()
