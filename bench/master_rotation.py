"""The change of the master key over one million sealed values, beside an UPDATE that touches each of their rows.

What is measured is the part of a start of the key service that a change of the master key can prolong: connect, open
the keyring with the previous key, wrap all of it anew, commit. Most of the values are random bytes of the right size;
those of one org are real, and a deep rotation of that org shows how many data keys a second are wrapped anew.
"""

from __future__ import annotations

import os
import secrets
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import psycopg
import uvloop

from bench.record import Bound, Record
from bench.system import new_key, progress
from libs.common.clock import SystemClock
from libs.common.ids import Uuid7Factory
from libs.common.postgres import Pool, open_pool
from libs.common.secret import Secret
from libs.engines.database import provision_database
from libs.engines.postgres_server import PostgresServer
from services.keys.adapters.deep_rotation import PostgresDeepRotations
from services.keys.adapters.postgres import PostgresKeyringStore
from services.keys.application.deep_rotation import DeepRotator
from services.keys.application.forge import Forge
from services.keys.application.keyring import Keyring
from services.keys.application.open_keyring import open_keyring
from services.keys.domain.deep_rotation import Requester
from services.keys.domain.keyring import Purpose
from services.keys.domain.master import MasterKey
from services.keys.domain.sealed import Binding, KeyEncryptionKey

BOUND = Bound(1.0, "value", "at most")
VALUES: Final = 1_000_000
REAL: Final = 10_000
ROUNDS: Final = 5
_LINES: Final = 5000
_CIPHERTEXT: Final = 29 + 48
_WRAPPED: Final = 29 + 32
_COPY: Final = (
    "COPY keys.sealed_values (id, org, kind, name, key_id, wrapped_data_key, ciphertext, sealed_at) FROM STDIN"
)


def measure(values: int = VALUES, rounds: int = ROUNDS) -> Record:
    with tempfile.TemporaryDirectory(prefix="kt-bench-") as directory:
        return uvloop.run(_measure(Path(directory), values, rounds))


async def _measure(directory: Path, values: int, rounds: int) -> Record:
    masters = [MasterKey.from_material(Secret(secrets.token_bytes(32))) for _ in range(2)]
    async with _database(directory) as dsn:
        progress(f"master_rotation: storing {values:,} values")
        await _fill(dsn, masters[0], values)
        progress("master_rotation: changing the master key")
        took = [await _rotate(dsn, masters[(n + 1) % 2], masters[n % 2]) for n in range(rounds)]
        progress("master_rotation: touching every row")
        reference = await _touch(dsn)
        progress("master_rotation: a deep rotation")
        rate = await _deep_rate(dsn, masters[rounds % 2])
    remark = f"median of {rounds}, with {values:,} values; a deep rotation wraps {rate:,.0f} data keys a second anew"
    return Record.of_rounds("master_rotation", "s", BOUND, [(seconds, reference) for seconds in took], remark=remark)


@asynccontextmanager
async def _database(directory: Path) -> AsyncIterator[str]:
    server = PostgresServer(directory / "postgres", directory / "postgres.log")
    process = await server.start()
    try:
        yield (await provision_database(server.conninfo(), directory / "passwords"))["keys"]
    finally:
        await process.stop()
        server.remove_socket_directory()


def _forge(master: MasterKey) -> Forge:
    return Forge(master, Uuid7Factory(), SystemClock(), os.urandom)


async def _keyring(pool: Pool, forge: Forge) -> Keyring:
    store = PostgresKeyringStore(pool)
    return Keyring(store, forge, (await open_keyring(store, forge)).keys)


async def _fill(dsn: str, master: MasterKey, values: int) -> None:
    forge = _forge(master)
    async with open_pool(dsn, "keys") as pool:
        keyring = await _keyring(pool, forge)
        key = await keyring.current("default", Purpose.KEY_ENCRYPTION)
        other = await keyring.current("other", Purpose.KEY_ENCRYPTION)
    real = min(REAL, values)
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        async with connection.cursor().copy(_COPY) as copy:
            for block in _real(forge, KeyEncryptionKey(key.entry.id, key.material), real):
                await copy.write(block)
            for block in _random(other.entry.id, values - real):
                await copy.write(block)
        await connection.execute("VACUUM ANALYZE keys.sealed_values")


def _real(forge: Forge, key: KeyEncryptionKey, count: int) -> Iterator[str]:
    for number in range(count):
        binding = _binding("default", number, str(uuid.uuid4()))
        value = forge.seal(Secret.from_text(new_key()), binding, key)
        yield _line(binding, key.id, value.wrapped_data_key, value.ciphertext)


def _random(key_id: str, count: int) -> Iterator[str]:
    ids = Uuid7Factory()
    for start in range(0, count, _LINES):
        yield "".join(
            _line(_binding("other", number, ids.new()), key_id, os.urandom(_WRAPPED), os.urandom(_CIPHERTEXT))
            for number in range(start, min(start + _LINES, count))
        )


def _binding(org: str, number: int, sealed_id: str) -> Binding:
    return Binding(org, "config_variable", f"KEY_{number}", sealed_id)


def _line(place: Binding, key_id: str, wrapped: bytes, ciphertext: bytes) -> str:
    hexed = f"\\\\x{wrapped.hex()}\t\\\\x{ciphertext.hex()}"
    return f"{place.sealed_id}\t{place.org}\t{place.kind}\t{place.name}\t{key_id}\t{hexed}\t2026-01-01 00:00:00Z\n"


async def _rotate(dsn: str, to: MasterKey, previous: MasterKey) -> float:
    """Seconds from connecting to the open keyring."""
    began = time.perf_counter()
    async with open_pool(dsn, "keys") as pool:
        opened = await open_keyring(PostgresKeyringStore(pool), _forge(to), [previous])
        took = time.perf_counter() - began
    if opened.rewrapped != len(opened.keys):
        raise RuntimeError(f"{opened.rewrapped} of {len(opened.keys)} keys were wrapped anew")
    return took


async def _touch(dsn: str) -> float:
    """Seconds to write every row once, as a scheme without key-encryption keys would have to at the least."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        began = time.perf_counter()
        await connection.execute("UPDATE keys.sealed_values SET wrapped_data_key = wrapped_data_key")
        return time.perf_counter() - began


async def _deep_rate(dsn: str, master: MasterKey) -> float:
    """Data keys a second, while at rest half of the time as it always is."""
    forge = _forge(master)
    async with open_pool(dsn, "keys") as pool:
        store, rotations = PostgresKeyringStore(pool), PostgresDeepRotations(pool)
        rotator = DeepRotator(await _keyring(pool, forge), store, rotations, forge)
        began = time.perf_counter()
        rotation = await rotator.start(str(uuid.uuid4()), "default", Requester("admin", "bench", "bench"))
        await rotator.work()
        took = time.perf_counter() - began
        done = await rotator.find("default", rotation.id)
    if done.completed_at is None or done.damaged or done.rewrapped != done.data_keys:
        raise RuntimeError("the deep rotation was not completed as it should be")
    return done.rewrapped / took


if __name__ == "__main__":
    print(measure())
