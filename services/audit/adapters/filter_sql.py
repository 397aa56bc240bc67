"""A filter as a condition of a query: column names come from here, values travel as parameters."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from psycopg import sql

from services.audit.domain.filter import Field, Filter, Match, TimeBound, TimeOperator

COLUMNS: Final[Mapping[Field, str]] = MappingProxyType(
    {field: str(field) for field in Field} | {Field.RESOURCE: "resource_id"}
)
_MATCH: Final = {
    (False, False): "{column} = %s",
    (False, True): "{column} <> %s",
    (True, False): "{column} ^@ %s",
    (True, True): "NOT {column} ^@ %s",
}
"""By whether it is a prefix, and whether it is negated."""

_TIME: Final = {operator: sql.SQL(f"recorded_at {operator} %s") for operator in TimeOperator}

_LEFT_OUT: Final[Mapping[Field, str]] = MappingProxyType(
    {
        Field.OUTCOME: "success",
        Field.ACTION: "resolve",
        Field.TYPE: "kt.config_variable.resolved.v1",
        Field.RESOURCE_TYPE: "config_variable",
    }
)
"""The frequent value that the partial index on a field leaves out (migrations/0001_entries.sql)."""


class Conditions:
    """Conditions that all hold, with their parameters in order."""

    def __init__(self) -> None:
        self._parts: list[sql.Composable] = []
        self.parameters: list[Any] = []

    def add(self, condition: str, *parameters: object) -> None:
        """``condition`` is SQL with one ``%s`` for each parameter."""
        self._parts.append(sql.SQL(condition))
        self.parameters.extend(parameters)

    def add_filter(self, filter_: Filter) -> None:
        for term in filter_.terms:
            if isinstance(term, TimeBound):
                self._parts.append(_TIME[term.operator])
                self.parameters.append(term.moment)
            else:
                self._match(COLUMNS[term.field], term)
                if not term.negated:
                    self._point_to_index(term)

    @property
    def clause(self) -> sql.Composable:
        return sql.SQL(" AND ").join(self._parts)

    def _match(self, column: str, match: Match) -> None:
        self._parts.append(_matching(column, match))
        self.parameters.append(match.value)

    def _point_to_index(self, match: Match) -> None:
        """Conditions that follow from a match, but not for the planner: they make an index fit."""
        left_out = _LEFT_OUT.get(match.field)
        if left_out is not None and not _matches(match, left_out):
            self._parts.append(sql.SQL("{} <> {}").format(sql.Identifier(COLUMNS[match.field]), left_out))
        if match.field is Field.GATEWAY and match.value:
            # A gateway is in its entries as the actor or as the resource.
            self._parts.append(
                sql.SQL("({} OR {})").format(_matching("actor", match), _matching("resource_id", match))
            )
            self.parameters += [match.value] * 2


def _matching(column: str, match: Match) -> sql.Composed:
    return sql.SQL(_MATCH[match.prefix, match.negated]).format(column=sql.Identifier(column))


def _matches(match: Match, text: str) -> bool:
    return text.startswith(match.value) if match.prefix else text == match.value
