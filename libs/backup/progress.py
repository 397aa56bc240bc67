"""Telling how far a backup or restore is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    def step(self, what: str, total: int) -> None:
        """Something new begins, of ``total`` units; 0 when that is not known."""

    def moved(self, units: int) -> None:
        """So many more units of it are done."""


class Silent:
    def step(self, what: str, total: int) -> None:
        pass

    def moved(self, units: int) -> None:
        pass
