"""What became of many things that one command did: a count of each ending, and every failure by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import click

from libs.cli.documents import print_json
from libs.cli.session import Session
from libs.cli.tables import Column, Table
from libs.cli.terminal import styled
from libs.common.errors import KtError

FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """``place`` says where it came from, such as a line of a file; ``problem`` is empty unless it failed."""

    name: str
    ending: str
    place: str = ""
    problem: str = ""
    code: str = ""

    @classmethod
    def of_failure(cls, name: str, error: KtError, place: str = "") -> Outcome:
        return cls(name, FAILED, place, error.detail, error.code)


@dataclass(slots=True)
class Outcomes:
    """``endings`` are the good ones, in the order they are told; those that never came are left out."""

    endings: Sequence[str]
    found: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        self.found.append(outcome)

    @property
    def failed(self) -> list[Outcome]:
        return [outcome for outcome in self.found if outcome.ending == FAILED]

    def counts(self) -> dict[str, int]:
        counted = Counter(outcome.ending for outcome in self.found)
        return {ending: counted[ending] for ending in (*self.endings, FAILED) if counted[ending]}


def report_outcomes(session: Session, outcomes: Outcomes, *, nothing: str) -> None:
    if session.json:
        print_json({"items": [asdict(outcome) for outcome in outcomes.found], "counts": outcomes.counts()})
        return
    if not outcomes.found:
        click.echo(nothing, err=True)
        return
    Table(Column("OUTCOME", style=_style), Column("ROWS", right=True)).print(list(outcomes.counts().items()))
    if outcomes.failed:
        print()
        print(styled("Failed:", "bold"))
        placed = any(outcome.place for outcome in outcomes.failed)
        columns = [Column("PLACE")] if placed else []
        rows = [[o.place, o.name, o.problem] if placed else [o.name, o.problem] for o in outcomes.failed]
        Table(*columns, Column("NAME"), Column("PROBLEM")).print(rows)


def _style(ending: str) -> str:
    return "red" if ending == FAILED else "green"
