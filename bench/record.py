"""What a figure reports: a value, the reference it was measured beside, and whether the bound holds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

Round = tuple[float, float]
"""Value and reference, measured one right after the other."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What has to hold: of the value itself, or of its ratio to the reference."""

    limit: float
    of: Literal["value", "ratio"]
    side: Literal["at least", "at most"]

    def holds(self, value: float, ratio: float) -> bool:
        measured = value if self.of == "value" else ratio
        return measured >= self.limit if self.side == "at least" else measured <= self.limit

    def __str__(self) -> str:
        sign = "≥" if self.side == "at least" else "≤"
        return f"{self.of} {sign} {self.limit:,g}"


@dataclass(frozen=True, slots=True)
class Record:
    """One figure.

    ``spread`` is the lowest and the highest ratio of the rounds. ``flaw`` says why the figure does not count although
    its bound may hold, such as a request that failed; ``remark`` is for the reader.
    """

    name: str
    value: float
    unit: str
    reference: float
    ratio: float
    bound: Bound
    spread: Round
    remark: str = ""
    flaw: str = ""

    @property
    def holds(self) -> bool:
        return not self.flaw and self.bound.holds(self.value, self.ratio)

    @classmethod
    def of_rounds(
        cls, name: str, unit: str, bound: Bound, rounds: Sequence[Round], *, remark: str = "", flaw: str = ""
    ) -> Self:
        """Medians over the rounds. The ratio is the median of their ratios, so that a slow moment of the machine
        meets both sides."""
        values, references = zip(*rounds, strict=True)
        ratios = [value / reference for value, reference in rounds]
        return cls(
            name=name,
            value=statistics.median(values),
            unit=unit,
            reference=statistics.median(references),
            ratio=statistics.median(ratios),
            bound=bound,
            spread=(min(ratios), max(ratios)),
            remark=remark,
            flaw=flaw,
        )

    @classmethod
    def of_document(cls, name: str, document: Mapping[str, Any], bound: Bound) -> Self:
        ratio = float(document["ratio"])
        return cls(
            name=name,
            value=float(document["value"]),
            unit=document["unit"],
            reference=float(document["reference"]),
            ratio=ratio,
            bound=bound,
            spread=(ratio, ratio),
        )

    def as_document(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "value": rounded(self.value),
            "unit": self.unit,
            "reference": rounded(self.reference),
            "ratio": rounded(self.ratio),
            "bound": self.bound.limit,
            "holds": self.holds,
        }


def alternating(rounds: int, value: Callable[[], float], reference: Callable[[], float]) -> list[Round]:
    """Measure both in turns; which comes first changes with every round."""
    measured = []
    for number in range(rounds):
        if number % 2:
            measured.append((value(), reference()))
        else:
            compared = reference()
            measured.append((value(), compared))
    return measured


def rounded(number: float) -> float:
    """Four significant digits, no fraction from a thousand on: more would claim what was not measured."""
    return float(round(number)) if abs(number) >= 1000 else float(f"{number:.4g}")


def percentile(values: Sequence[float], percent: float) -> float:
    """Nearest rank: the smallest value that at least ``percent`` per cent of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
