"""A filter as a condition of a query: column names come from here, values travel as parameters."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from psycopg import sql

from services.audit.domain.filter import Field, Filter, Match, Term, TimeOperator

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
            part, parameter = _compiled(term)
            self._parts.append(part)
            self.parameters.append(parameter)

    @property
    def clause(self) -> sql.Composable:
        return sql.SQL(" AND ").join(self._parts)


def _compiled(term: Term) -> tuple[sql.Composable, str | datetime]:
    if isinstance(term, Match):
        form = sql.SQL(_MATCH[term.prefix, term.negated])
        return form.format(column=sql.Identifier(COLUMNS[term.field])), term.value
    return _TIME[term.operator], term.moment
