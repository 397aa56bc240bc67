"""A table in PostgreSQL as a source of an import. Its rows are read, and stay."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from getpass import getpass
from typing import Final

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from libs.cli.importing.found import Found, broken
from libs.cli.importing.source import Address
from libs.common.errors import KtError
from libs.common.legacy_rows import UnusableRow, read_row
from libs.common.legacy_table import IN_ORDER, INSPECT, TableName, layout_of, raw_row

CONNECT_S: Final = 10
_FETCH: Final = 200
_PORTS: Final = re.compile(r"[0-9,]*")
_PASSWORDS: Final = (
    "A password comes from PGPASSWORD, from ~/.pgpass, with --ask-password,"
    " or from a file that holds the whole address (--format postgresql FILE)."
)
_ALL: Final = sql.SQL("true")


def table_rows(address: Address, table: str, *, sensitive: bool, ask_password: bool) -> Sequence[Found]:
    """The rows of a table, in byte order of their names; ``sensitive`` is for those that do not say.

    Raises:
        KtError: ``usage`` when the address can't be used, or shows a password; ``misconfigured`` for a table of
            another form; ``unreachable``.
    """
    _check(address)
    name = TableName.parse(table)
    password = getpass("Password of the database (hidden): ") if ask_password else None
    try:
        with psycopg.connect(address.text, password=password, connect_timeout=CONNECT_S) as connection:
            layout = layout_of(name, connection.execute(INSPECT, (name.quoted,)).fetchall())
            with connection.cursor("legacy_import", binary=True) as cursor:
                cursor.itersize = _FETCH
                cursor.execute(layout.select(_ALL, IN_ORDER))
                return [_found(number, values, sensitive) for number, values in enumerate(cursor, 1)]
    except psycopg.Error as error:
        said = str(error).strip().splitlines()[0] if isinstance(error, psycopg.OperationalError) else ""
        raise KtError(
            "unreachable",
            f"The database can't be read: {said or error.sqlstate or type(error).__name__}.",
            f"Check the address. {_PASSWORDS}",
        ) from None


def _found(number: int, values: Sequence[object], sensitive: bool) -> Found:
    raw = raw_row(values)
    if raw.sensitive is None:
        raw = replace(raw, sensitive=str(sensitive))
    row = read_row(raw)
    place = f"row {number}"
    if isinstance(row, UnusableRow):
        name = (raw.name or b"").decode("utf-8", "replace")
        return broken(place, name, KtError("invalid_request", row.problem))
    return Found(place, row.name, row)


def _check(address: Address) -> None:
    """What the driver would repeat of an address in its errors must not be a password with a stray / or @ in it."""
    try:
        parts = conninfo_to_dict(address.text) if address.text.isprintable() else {}
    except psycopg.Error:
        parts = {}
    places = [str(parts.get(part) or "") for part in ("host", "port", "dbname")]
    if not parts or any("@" in place for place in places) or not _PORTS.fullmatch(places[1]):
        raise KtError(
            "usage",
            "The address can't be used; expected postgresql://user@host:port/database.",
            "Characters such as / @ : in a name or password are written in percent-encoding (RFC 3986).",
        )
    if address.shown and parts.get("password"):
        raise KtError(
            "usage",
            "The address holds a password, which the shell's history and the process list show; expected it without."
            " Nothing was read.",
            f"{_PASSWORDS} If it is a real password, change it.",
        )
