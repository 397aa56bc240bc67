"""The earlier system's table in PostgreSQL: statements to read it, whatever its column types and encoding.

Identifiers come from settings, so they are quoted; values of rows only ever travel as parameters and results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from psycopg import sql

from libs.common.errors import KtError
from libs.common.legacy_rows import MAX_DESCRIPTION, MAX_READ_NAME, RawRow
from libs.common.secret import MAX_VALUE_BYTES

COLUMNS: Final = ("name", "value", "description", "sensitive")
_LONGEST_IDENTIFIER: Final = 63
_TEXT: Final = "S"
_NOTHING: Final = sql.SQL("")
IN_ORDER: Final = sql.SQL('ORDER BY name::text COLLATE "C"')
"""By byte, whatever the locale of the database."""
_SINGLE_BYTES: Final = frozenset({"UTF8", "SQL_ASCII"})

INSPECT: Final = """
SELECT c.relkind::text, a.attname::text, t.typcategory::text, t.typname::text,
       pg_encoding_to_char(d.encoding)::text
  FROM pg_class AS c
  JOIN pg_database AS d ON d.datname = current_database()
  LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_type AS t ON t.oid = a.atttypid
 WHERE c.oid = to_regclass(%s)
"""
"""Takes the quoted name of the table; :func:`layout_of` reads the rows."""


@dataclass(frozen=True, slots=True)
class TableName:
    """A table, with or without its schema."""

    parts: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> TableName:
        """``table`` or ``schema.table``, each exactly as PostgreSQL knows it.

        Raises:
            KtError: ``misconfigured``.
        """
        parts = tuple(text.split("."))
        usable = len(parts) <= len(("schema", "table")) and all(
            0 < len(part.encode()) <= _LONGEST_IDENTIFIER and part.isprintable() for part in parts
        )
        if not usable:
            raise KtError("misconfigured", "The table of older rows is not named; expected table or schema.table.")
        return cls(parts)

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(*self.parts)

    @property
    def quoted(self) -> str:
        return ".".join('"' + part.replace('"', '""') + '"' for part in self.parts)

    def __str__(self) -> str:
        return ".".join(self.parts)


@dataclass(frozen=True, slots=True)
class Layout:
    """How to read a table's columns as bytes of UTF-8 (of whatever there is, in a database without an encoding)."""

    table: TableName
    value_is_bytes: bool
    recode_to: str

    def select(self, where: sql.Composable, rest: sql.Composable = _NOTHING) -> sql.Composed:
        """A query of rows for :func:`raw_row`. ``where`` limits which rows exist, copies of a name included."""
        value = sql.SQL("value") if self.value_is_bytes else self._bytes(sql.SQL("value"))
        name = self._bytes(sql.SQL("left(name::text, {})").format(MAX_READ_NAME))
        description = self._bytes(sql.SQL("left(description::text, {})").format(MAX_DESCRIPTION + 1))
        return sql.SQL(
            "SELECT {name}, CASE WHEN octet_length({value}) <= {most} THEN {value} END, octet_length({value}),"
            " {description}, sensitive::text, xmin::text, count(*) OVER (PARTITION BY name)"
            " FROM {table} WHERE {where} {rest}"
        ).format(
            name=name,
            value=value,
            most=MAX_VALUE_BYTES,
            description=description,
            table=self.table.identifier,
            where=where,
            rest=rest,
        )

    def _bytes(self, text: sql.Composable) -> sql.Composed:
        return sql.SQL("convert_to({}::text, {})").format(text, self.recode_to)


def layout_of(table: TableName, columns: Sequence[Sequence[Any]]) -> Layout:
    """From the rows of :data:`INSPECT`.

    Raises:
        KtError: ``misconfigured``: no such table, or not one this program can read.
    """
    if not columns:
        raise _unfit("it does not exist, or this role may not see it")
    kind, encoding = columns[0][0], columns[0][4]
    if kind not in ("r", "p"):
        raise _unfit("it is not an ordinary table")
    types: Mapping[str, tuple[str, str]] = {row[1]: (row[2], row[3]) for row in columns}
    missing = [column for column in COLUMNS if column not in types]
    if missing:
        raise _unfit(f"it lacks the column {' and the column '.join(missing)}")
    value_is_bytes = types["value"][1] == "bytea"
    texts = [column for column in ("name", "description") if types[column][0] != _TEXT]
    if texts or not (value_is_bytes or types["value"][0] == _TEXT):
        raise _unfit(f"its column {(*texts, 'value')[0]} is not text")
    return Layout(table, value_is_bytes, "SQL_ASCII" if encoding in _SINGLE_BYTES else "UTF8")


def raw_row(row: Sequence[Any]) -> RawRow:
    name, value, size, description, sensitive, version, copies = row
    return RawRow(name, value, size or 0, description, sensitive, version, copies)


def _unfit(why: str) -> KtError:
    return KtError(
        "misconfigured",
        f"The table of older rows can't be read: {why}.",
        f"Expected a table with the columns {', '.join(COLUMNS)}; check the name of the table.",
    )
