"""The keys in use: one :class:`HeldKey` for each reference of the configuration."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from libs.common.clock import Clock
from libs.common.secret import Secret
from services.gateway.domain.keys import HeldKey, evolve
from services.gateway.domain.references import Reference, Resolution
from services.gateway.domain.versions import History, confirmed, handed_over

MAX_HISTORIES: Final = 10_000


class Keyring:
    """In memory, and nowhere else."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: dict[Reference, HeldKey] = {}
        self._histories: dict[Reference, History] = {}

    def __getitem__(self, reference: Reference) -> HeldKey:
        return self._held[reference]

    def __contains__(self, reference: Reference) -> bool:
        return reference in self._held

    def take(self, resolution: Resolution) -> tuple[HeldKey, bool]:
        """Apply an answer. The flag says whether the value to serve is another one now."""
        reference = resolution.reference
        before = self._held.get(reference)
        after = evolve(before, resolution, self._clock.now())
        self._held[reference] = after
        changed = before is None or before.value is not after.value
        if changed:
            version = after.version if after.value is not None else 0
            self._remember(reference, handed_over(self.history_of(reference), version, self._now()))
        return after, changed

    def confirmed(self, reference: Reference) -> None:
        """The data plane has confirmed the value to serve."""
        self._remember(reference, confirmed(self.history_of(reference), self._now()))

    def history_of(self, reference: Reference) -> History:
        """What the data plane was given; also of a reference that is no longer in use."""
        return self._histories.get(reference, ())

    def keep(self, references: Iterable[Reference]) -> None:
        """Forget every reference but these."""
        wanted = set(references)
        self._held = {reference: held for reference, held in self._held.items() if reference in wanted}

    @property
    def references(self) -> tuple[Reference, ...]:
        return tuple(self._held)

    def value_of(self, reference: Reference) -> Secret | None:
        """The value to serve; None when it was withdrawn."""
        return self._held[reference].value

    def _remember(self, reference: Reference, history: History) -> None:
        self._histories.pop(reference, None)
        self._histories[reference] = history
        if len(self._histories) > MAX_HISTORIES:
            del self._histories[next(iter(self._histories))]

    def _now(self) -> int:
        return int(self._clock.now().timestamp() * 1_000_000)
