"""The keys in use: one :class:`HeldKey` for each reference of the configuration."""

from __future__ import annotations

from collections.abc import Iterable

from libs.common.clock import Clock
from libs.common.secret import Secret
from services.gateway.domain.keys import HeldKey, evolve
from services.gateway.domain.references import Reference, Resolution


class Keyring:
    """In memory, and nowhere else."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: dict[Reference, HeldKey] = {}

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
        return after, before is None or before.value is not after.value

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
