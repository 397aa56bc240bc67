"""The one projection runner: an ordered consumer whose checkpoint commits with the rows.

The checkpoint row lives in the projection's own schema and is locked and compared in the transaction that writes the
rows, so each event takes effect exactly once whatever is killed when. The runner refuses to go on when the stream is
shorter than its checkpoint, or holds other bytes at it: then one of the two was damaged or rolled back.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import psycopg
from nats.aio.client import Client
from nats.errors import Error as NatsError
from psycopg_pool import PoolTimeout

from libs.common.direct_get import DirectReader, StoredMessage
from libs.common.errors import KtError
from libs.common.events import MalformedEvent, UnknownEventType
from libs.common.postgres import Connection, Pool, answering
from libs.common.stream_reader import API_TIMEOUT_S, OrderedReader, StreamGap, read_stream, stream_range

log = logging.getLogger(__name__)

BATCH: Final = 1000
IDLE_S: Final = 1.0
ARRIVAL_S: Final = 0.2
"""How long a message that is stored may take to arrive before the consumer counts as lost."""

POLL_S: Final = 0.05
"""How often who waits looks whether another instance has got there."""

PACE_S: Final = 0.1
"""Shortest time between transactions while nobody waits: what comes close together is written together."""

RETRY_S: Final = 1.0
RESTART_S: Final = 0.1
STUCK_S: Final = 10.0
_LOOKS: Final = 10
_DAMAGED: Final = frozenset({"stream_damaged", "log_damaged"})

_LOAD = "SELECT sequence, digest FROM checkpoints WHERE projection = %s"
_LOCK = "SELECT sequence FROM checkpoints WHERE projection = %s FOR UPDATE"
_CREATE = "INSERT INTO checkpoints (projection, sequence, digest) VALUES (%s, 0, '') ON CONFLICT DO NOTHING"
_MOVE = "UPDATE checkpoints SET sequence = %s, digest = %s WHERE projection = %s"
_SKIP = "UPDATE checkpoints SET sequence = %s, digest = '' WHERE projection = %s AND sequence = %s"
_LEAD = "SELECT pg_try_advisory_lock(hashtext(%s))"


class Projection(Protocol):
    """What to write for a batch of messages. ``apply`` runs inside the transaction that moves the checkpoint.

    A projection that raises MalformedEvent or UnknownEventType stays where it is, and is tried again.
    """

    name: str
    stream: str
    subject: str

    async def apply(self, connection: Connection, messages: Sequence[StoredMessage]) -> None: ...


class Account(Protocol):
    """What a projection keeps that accounts for every sequence of its stream, beside what ``apply`` writes."""

    async def open(self, connection: Connection, position: int) -> None:
        """Called with the checkpoint's sequence whenever the runner begins, outside a transaction.

        Raises:
            KtError: ``log_damaged`` when what is kept does not fit the checkpoint.
        """

    async def pass_over(self, connection: Connection, first: int, last: int) -> None:
        """These messages expired before they were seen. Runs inside the transaction that moves the checkpoint."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    sequence: int
    digest: bytes


class CheckpointMoved(Exception):
    """Another runner moved the checkpoint; read it again."""


class ProjectionRunner:
    """Runs one projection. Of several instances one leads (an advisory lock); the others wait to take over."""

    def __init__(
        self, nc: Client, pool: Pool, projection: Projection, *, batch: int = BATCH, account: Account | None = None
    ) -> None:
        """``batch`` is how many messages one transaction takes at most."""
        self._nc = nc
        self._batch = batch
        self._pool = pool
        self._projection = projection
        self._account = account
        self._reader = DirectReader(nc, projection.stream)
        self._moved = asyncio.Condition()
        self._waiting = 0
        self._wanted = asyncio.Event()
        self.position = 0
        """The last sequence this instance knows to be projected."""

    async def run(self) -> None:
        """Project until cancelled.

        Raises:
            KtError: ``stream_damaged`` or ``log_damaged``; everything else is retried.
        """
        while True:
            try:
                async with self._pool.connection() as leader:
                    await self._follow_as_leader(leader)
            except (StreamGap, CheckpointMoved) as reason:
                log.warning("projection.restarted", extra={"projection": self._projection.name, "why": repr(reason)})
                await asyncio.sleep(RESTART_S)
            except KtError as error:
                if error.code in _DAMAGED:
                    raise
                log.warning("projection.waiting", extra={"projection": self._projection.name, "why": error.detail})
                await asyncio.sleep(RETRY_S)
            except (MalformedEvent, UnknownEventType) as error:
                # Skipping it could lose what it means; going down would stop what does not depend on it.
                log.error("projection.stuck", extra={"projection": self._projection.name, "why": repr(error)})  # noqa: TRY400
                await asyncio.sleep(STUCK_S)
            except (NatsError, psycopg.Error, PoolTimeout, TimeoutError) as error:
                log.warning("projection.retry", extra={"projection": self._projection.name, "why": repr(error)})
                await asyncio.sleep(RETRY_S)

    async def wait_for(self, sequence: int, timeout_s: float) -> bool:
        """True once everything up to ``sequence`` is projected, by this instance or another.

        Raises:
            KtError: ``unavailable`` when PostgreSQL does not answer.
        """
        self._waiting += 1
        self._wanted.set()
        try:
            return await self._wait_for(sequence, asyncio.get_running_loop().time() + timeout_s)
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._wanted.clear()

    async def passed(self, position: int) -> int:
        """Wait until this instance knows of something projected behind ``position``, and return how far it is then.

        Unlike :meth:`wait_for` this hurries nobody: what comes close together is still written together.
        """
        async with self._moved:
            await self._moved.wait_for(lambda: self.position > position)
        return self.position

    async def _wait_for(self, sequence: int, deadline: float) -> bool:
        while self.position < sequence:
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return False
            try:
                async with asyncio.timeout(min(left, POLL_S)), self._moved:
                    await self._moved.wait()
            except TimeoutError:
                if left > 2 * POLL_S:  # with less than that, no answer would not mean that there is none
                    await self._look(left - POLL_S)
        return True

    async def _look(self, timeout_s: float) -> None:
        """See how far another instance has come."""
        with answering("The projection's database"):
            async with self._pool.connection(timeout_s) as connection:
                await self._advance((await self._load(connection)).sequence)

    async def _follow_as_leader(self, leader: Connection) -> None:
        cursor = await leader.execute(_LEAD, (f"projection/{self._projection.name}",))
        row = await cursor.fetchone()
        if row is None or not row[0]:
            await self._advance((await self._load(leader)).sequence)
            await asyncio.sleep(RETRY_S)
            return
        try:
            # A commit that is lost in a crash takes its checkpoint with it, so its events come again.
            await leader.execute("SET synchronous_commit = off")
            checkpoint = await self._load(leader)
            await self._compare(checkpoint)
            if self._account is not None:
                await self._account.open(leader, checkpoint.sequence)
            position = await self._pass_expired(leader, checkpoint.sequence)
            await self._advance(position)
            await self._ensure_held(position + 1)
            stream, subject = self._projection.stream, self._projection.subject
            async with read_stream(self._nc, stream, subject, position + 1) as reader:
                await self._consume(leader, reader, position)
        finally:
            if not leader.closed:
                await leader.execute("SELECT pg_advisory_unlock_all()")
                await leader.execute("RESET synchronous_commit")

    async def _consume(self, connection: Connection, reader: OrderedReader, position: int) -> None:
        last = position
        while True:
            messages = await reader.batch(self._batch, ARRIVAL_S if last > position else IDLE_S)
            if messages:
                await self._write(connection, messages, position)
                position = messages[-1].sequence
                await self._advance(position)
                if len(messages) < self._batch:
                    await self._pause()
                continue
            if last > position:  # stored before this wait, and not delivered in it
                raise StreamGap
            _, last = await stream_range(self._nc, self._projection.stream)
            if last < position:  # shorter than it was: look at it from the start
                raise StreamGap

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PACE_S):
                await self._wanted.wait()

    async def _write(self, connection: Connection, messages: Sequence[StoredMessage], position: int) -> None:
        name, last = self._projection.name, messages[-1]
        async with connection.transaction():
            row = await (await connection.execute(_LOCK, (name,))).fetchone()
            if row is None or row[0] != position:
                raise CheckpointMoved
            await self._projection.apply(connection, messages)
            await connection.execute(_MOVE, (last.sequence, hashlib.sha256(last.body).digest(), name))

    async def _load(self, connection: Connection) -> Checkpoint:
        row = await (await connection.execute(_LOAD, (self._projection.name,))).fetchone()
        if row is None:
            await connection.execute(_CREATE, (self._projection.name,))
            return Checkpoint(0, b"")
        return Checkpoint(row[0], bytes(row[1]))

    async def _compare(self, checkpoint: Checkpoint) -> None:
        stream, name = self._projection.stream, self._projection.name
        _, last = await stream_range(self._nc, stream)
        if last < checkpoint.sequence:
            raise KtError(
                "stream_damaged",
                f"{stream} ends at {last}, but the projection {name} has already seen {checkpoint.sequence}:"
                " events are missing at the end of the stream.",
                "Do not write on. Restore the stream from a backup, or from the audit log's copy.",
            )
        if not checkpoint.sequence:
            return
        message = await self._reader.at(checkpoint.sequence)
        if message is not None and hashlib.sha256(message.body).digest() != checkpoint.digest:
            raise KtError(
                "stream_damaged",
                f"{stream} holds other bytes at {checkpoint.sequence} than the projection {name} has seen:"
                " the stream was changed or its sequence was used again.",
                "Do not write on. Compare the stream with the audit log's copy.",
            )

    async def _pass_expired(self, connection: Connection, position: int) -> int:
        """Move the checkpoint behind messages that expired before they were seen. Returns where it is then.

        Raises:
            KtError: ``stream_damaged`` when they are missing from a stream that never expires.
        """
        stream, name = self._projection.stream, self._projection.name
        first, _ = await stream_range(self._nc, stream)
        if first <= position + 1:
            return position
        if not (await self._nc.jetstream(timeout=API_TIMEOUT_S).stream_info(stream)).config.max_age:
            raise KtError(
                "stream_damaged",
                f"{stream} begins at {first}, although nothing in it expires and the projection {name} has seen"
                f" {position}: the events in between are missing.",
                "Do not write on. Restore the stream from a backup, or from the audit log's copy.",
            )
        missed = {"projection": name, "from_sequence": position + 1, "to_sequence": first - 1}
        log.error("projection.expired_unseen", extra=missed)
        async with connection.transaction():
            if (await connection.execute(_SKIP, (first - 1, name, position))).rowcount != 1:
                raise CheckpointMoved
            if self._account is not None:
                await self._account.pass_over(connection, position + 1, first - 1)
        return first - 1

    async def _ensure_held(self, wanted: int) -> None:
        """
        Raises:
            KtError: ``stream_damaged`` when the stream goes on behind ``wanted`` and does not hold it.
        """
        stream, name = self._projection.stream, self._projection.name
        last = 0
        for _ in range(_LOOKS):
            first, last = await stream_range(self._nc, stream)
            if first > wanted:
                raise StreamGap  # it has expired since
            if wanted > last or await self._reader.at(wanted) is not None:
                return
            await asyncio.sleep(RESTART_S)  # the replica that was asked may be behind
        raise KtError(
            "stream_damaged",
            f"{stream} goes on to {last} but does not hold {wanted}, the next one for the projection {name}:"
            " an event in between is missing or can't be read.",
            "Do not write on. Restore the stream from a backup or a replica.",
        )

    async def _advance(self, sequence: int) -> None:
        if sequence > self.position:
            self.position = sequence
            async with self._moved:
                self._moved.notify_all()
