"""How long to wait before a dead process is started again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FIRST_SECONDS: Final = 0.1
LONGEST_SECONDS: Final = 10.0
HEALTHY_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """Doubles from 0.1 s to 10 s with each death; a process that lived 30 s starts from the beginning."""

    deaths_in_a_row: int = 0

    def after_death(self, lived_seconds: float) -> Backoff:
        return Backoff(1 if lived_seconds >= HEALTHY_SECONDS else self.deaths_in_a_row + 1)

    @property
    def seconds(self) -> float:
        if self.deaths_in_a_row == 0:
            return 0.0
        doublings = min(self.deaths_in_a_row - 1, 16)
        return min(FIRST_SECONDS * 2.0**doublings, LONGEST_SECONDS)
