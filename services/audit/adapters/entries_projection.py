"""Writing the log: each message of a stream becomes one row, by binary COPY."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from psycopg import errors
from psycopg.types.string import BytesBinaryDumper

from libs.common.calendar import Month
from libs.common.direct_get import StoredMessage
from libs.common.events import REGISTRY
from libs.common.postgres import Connection
from libs.common.transparency.merkle import leaf_hash
from libs.common.transparency.tiles import TileKey
from services.audit.adapters.keeping_rules import KeepingRules
from services.audit.adapters.partitions import Partitions
from services.audit.adapters.tree import StreamTree
from services.audit.domain.entry import Columns, columns_of
from services.audit.domain.streams import STREAM_NUMBERS

log = logging.getLogger(__name__)

TABLE: Final = "entries"
COLUMNS: Final = ("stream", "sequence", "recorded_at", *Columns._fields, "body")
TYPES: Final = ("int2", "int8", "int8", *["text"] * len(Columns._fields), "bytea")
"""``recorded_at`` goes as what a timestamptz is on the wire: microseconds since 2000-01-01 UTC."""

_COPY: Final = f"COPY {TABLE} ({', '.join(COLUMNS)}) FROM STDIN (FORMAT BINARY)"
_UNIX_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_POSTGRES_EPOCH_US: Final = (datetime(2000, 1, 1, tzinfo=UTC) - _UNIX_EPOCH) // timedelta(microseconds=1)
_DAY_NS: Final = 86_400 * 10**9
_KNOWN_TYPES: Final = frozenset((*REGISTRY.types(), *REGISTRY.historic()))


class EntriesProjection:
    """Puts one stream on record. No message stops it and none is left out, whatever its bytes."""

    def __init__(self, stream: str, subject: str, tree: StreamTree, name: str = "") -> None:
        self.name = name or projection_name(stream)
        self.stream = stream
        self.subject = subject
        self._number = STREAM_NUMBERS[stream]
        self._tree = tree
        self._partitions = Partitions(TABLE)
        self._keeping = KeepingRules()

    async def apply(self, connection: Connection, messages: Sequence[StoredMessage]) -> None:
        months = _months(messages)
        await self._partitions.ensure(connection, months | {max(months).following})
        await self._tree.prepare(connection, messages[0].sequence)
        try:
            unknown, tiles = await self._copy(connection, messages)
        except errors.CheckViolation:  # no partition for a row: it was dropped since it was looked up
            self._partitions.forget()
            raise
        await self._tree.store(connection, tiles)
        await self._keeping.apply(connection, messages)
        if unknown:
            extra = {"stream": self.stream, "sequences": unknown[:10], "events": len(unknown)}
            log.error("audit.unknown_events", extra=extra)

    async def _copy(
        self, connection: Connection, messages: Sequence[StoredMessage]
    ) -> tuple[list[int], dict[TileKey, bytes]]:
        """Returns the sequences of what is no event known here, and the tree's new tiles. Reads and hashes while
        PostgreSQL works on earlier rows."""
        unknown: list[int] = []
        leaves: list[bytes] = []
        number, known = self._number, _KNOWN_TYPES
        # For bytea the newest registration counts, and psycopg's own is one in Python.
        connection.adapters.register_dumper(bytes, BytesBinaryDumper)
        async with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            copy.set_types(TYPES)
            format_row = copy.formatter.write_row  # into a buffer that it hands out when it is full
            for message in messages:
                body, sequence = message.body, message.sequence
                columns = columns_of(message.subject, body)
                if columns.type not in known:
                    unknown.append(sequence)
                recorded_at = message.time_ns // 1000 - _POSTGRES_EPOCH_US
                leaves.append(leaf_hash(body))
                if block := format_row((number, sequence, recorded_at, *columns, body)):
                    await copy.write(block)
            tiles = self._tree.grow(leaves)
        return unknown, tiles


def projection_name(stream: str) -> str:
    """The name of a stream's checkpoint."""
    return f"audit/{stream}"


def _months(messages: Sequence[StoredMessage]) -> set[Month]:
    days = {message.time_ns // _DAY_NS for message in messages}
    return {Month.of(_UNIX_EPOCH + timedelta(days=day)) for day in days}
