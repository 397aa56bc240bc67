"""Putting a backup back: into the empty engines of a new home, or into those that somebody else runs.

A home that is being restored holds ``restore.incomplete`` until everything in it is on the disk and was compared with
the archive; the file is then renamed to ``restored.json``. So a restore that was interrupted at any moment leaves a
home that does not start, and that a second restore may clear and fill again.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import orjson

from libs.backup import sealed_store, streams
from libs.backup.archive import Archive, damaged
from libs.backup.manifest import KEYRING, MANIFEST, VALUES, Manifest, StreamPart, read_manifest
from libs.backup.progress import Progress
from libs.backup.sealed_store import Restored
from libs.common.clock import Clock, rfc3339
from libs.common.errors import KtError
from libs.common.messaging.bulk import BulkClient, bulk_connection
from libs.common.subjects import ACCESS, ALL_ACCESS, ALL_EVENTS, EVENTS
from libs.engines.database import provision_database
from libs.engines.files import private_directory, sync_directory, write_private
from libs.engines.home import Home
from libs.engines.identities import Identities, ensure_identities
from libs.engines.nats_server import NatsServer
from libs.engines.permissions import PROVISIONER
from libs.engines.postgres_server import PostgresServer
from libs.engines.process import Process
from libs.engines.streams import STREAMS, remove_empty_stream

_GRACE_S: Final = 30.0
_SUBJECTS: Final = {ACCESS: ALL_ACCESS, EVENTS: ALL_EVENTS}


@dataclass(frozen=True, slots=True)
class Engines:
    """Where to restore to. ``passwords`` is the directory that keeps those of the database roles."""

    nats_url: str
    provisioner: Path
    admin_dsn: str
    passwords: Path
    replicas: int = 1


async def restore_into_home(archive: Archive, home: Home, clock: Clock, progress: Progress) -> Manifest:
    """Make a home that starts with what the archive holds. It gets identities and passwords of its own.

    Raises:
        KtError: ``already_exists`` when the home holds anything but an interrupted restore; ``backup_damaged`` before
            the home is touched; ``already_running``.
    """
    manifest = verify(archive, progress)
    _claim(home)
    with home.supervised():
        if not home.restore_incomplete.exists():
            raise _occupied(home)
        _clear(home)
        notice = restored(archive, manifest, clock, "home")
        mark = {
            "backup_created_at": notice.taken_at,
            "manifest_sha256": notice.manifest_sha256,
            "master_fingerprints": list(manifest.sealed_store.master_fingerprints),
            "restored_at": notice.restored_at,
        }
        write_private(home.restore_incomplete, orjson.dumps(mark, option=orjson.OPT_INDENT_2))
        identities = _prepare(home, clock)
        async with _started(home, identities) as engines:
            await restore(archive, manifest, engines, notice, progress)
        progress.step("writing to disk", 0)
        _sync_tree(home.nats)
        home.restore_incomplete.rename(home.restored)
        sync_directory(home.path)
    return manifest


def restored(archive: Archive, manifest: Manifest, clock: Clock, into: Literal["home", "engines"]) -> Restored:
    """What is told of a restore that begins now."""
    return Restored(archive.digest(MANIFEST), manifest.created_at, rfc3339(clock.now()), into)


async def restore(
    archive: Archive, manifest: Manifest, engines: Engines, notice: Restored, progress: Progress
) -> None:
    """Fill empty engines from an archive that was verified, and compare what is then in them with it.

    ``notice`` goes with the sealed store; the key service puts it on record when the system starts.

    Raises:
        KtError: ``already_exists`` when they hold anything; ``engine_failed``; ``backup_damaged``.
    """
    progress.step("preparing the database", 0)
    dsns = await provision_database(engines.admin_dsn, engines.passwords)
    async with bulk_connection(PROVISIONER, engines.nats_url, engines.provisioner, streams.QuietGuard()) as nc:
        for stream in manifest.streams:
            await remove_empty_stream(nc, stream.name)
        progress.step("restoring the sealed store", manifest.sealed_store.values)
        counts = await sealed_store.load(
            dsns["keys"],
            {"keyring": archive.lines(KEYRING), "sealed_values": _told(archive.lines(VALUES), progress)},
            notice,
        )
        expected = {"keyring": manifest.sealed_store.keys, "sealed_values": manifest.sealed_store.values}
        if counts != expected:
            raise damaged("the sealed store holds another number of rows than it names")
        for stream in manifest.streams:
            await _restore_stream(nc, archive, stream, engines.replicas, progress)


def verify(archive: Archive, progress: Progress) -> Manifest:
    """Read all of an archive and compare it with what it says of itself.

    Raises:
        KtError: ``backup_damaged``; ``invalid_request`` for the form of a newer release.
    """
    manifest = read_manifest(archive)
    progress.step("verifying the archive", archive.size)
    for units in archive.verify():
        progress.moved(units)
    return manifest


async def _restore_stream(
    nc: BulkClient, archive: Archive, part: StreamPart, replicas: int, progress: Progress
) -> None:
    name = part.name
    if name not in STREAMS:
        raise damaged(f"it holds a stream {name}, which this release does not know")
    progress.step(f"restoring {name}", archive.members[part.member].size)
    content = _sized(archive.chunks(part.member, streams.CHUNK), progress)
    config = {**STREAMS[name], "num_replicas": replicas}
    found = await streams.restore(nc, name, config, part.state, content)
    # Of KT_ACCESS, what is older than its retention by now expires while it is restored.
    if found.last != part.last_sequence or (found.first != part.first_sequence and not STREAMS[name]["max_age"]):
        raise damaged(
            f"{name} was restored from {found.first:,} to {found.last:,} instead of"
            f" {part.first_sequence:,} to {part.last_sequence:,}"
        )
    progress.step(f"comparing {name}", max(0, found.last - found.first + 1))
    await _compare(nc, part, found.first, progress)


async def _compare(nc: BulkClient, part: StreamPart, first: int, progress: Progress) -> None:
    expected = [segment for segment in part.segments if segment.first >= first]
    if not expected:
        return
    digest = streams.ContentDigest(expected[0].first)
    async for batch in streams.read(nc, part.name, _SUBJECTS[part.name], expected[0].first, part.last_sequence):
        digest.update(batch)
        progress.moved(len(batch))
    if list(digest.segments()) != expected:
        raise damaged(f"{part.name} was restored with other content than it was saved with")


def _claim(home: Home) -> None:
    """Make the directory ours before anything is put into it."""
    found = {entry.name for entry in home.path.iterdir()} if home.path.is_dir() else set()
    if (found and home.restore_incomplete.name not in found) or (home.path.exists() and not home.path.is_dir()):
        raise _occupied(home)
    private_directory(home.path)
    if not found:
        write_private(home.restore_incomplete, b"{}")
        sync_directory(home.path.parent)


def _occupied(home: Home) -> KtError:
    return KtError(
        "already_exists",
        f"{home.path} holds something already, and a restore never overwrites. Nothing was changed.",
        "Name a directory that is empty or does not exist.",
    )


def _clear(home: Home) -> None:
    """Remove what an interrupted restore left; there was nothing before it."""
    for entry in home.path.iterdir():
        if entry in (home.restore_incomplete, home.pid_file):
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _prepare(home: Home, clock: Clock) -> Identities:
    for directory in (home.identities, home.logs, home.gateways):
        private_directory(directory)
    return ensure_identities(home.identities, clock.now())


@asynccontextmanager
async def _started(home: Home, identities: Identities) -> AsyncIterator[Engines]:
    # The server syncs each message that it restores. What it wrote is made durable as a whole in the end.
    nats = NatsServer(home.nats, home.log("nats"), identities, sync_interval="10m")
    postgres = PostgresServer(home.postgres, home.log("postgres"))
    processes: list[Process] = []
    try:
        processes.append(await nats.start())
        processes.append(await postgres.start())
        yield Engines(nats.url, identities.creds(PROVISIONER), postgres.conninfo(), home.identities)
    finally:
        for process in reversed(processes):
            await process.stop(_GRACE_S)
        postgres.remove_socket_directory()


def _sized(chunks: Iterator[bytes], progress: Progress) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk
        progress.moved(len(chunk))


def _told(rows: Iterator[dict[str, Any]], progress: Progress) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield row
        progress.moved(1)


def _sync_tree(directory: Path) -> None:
    """What the server wrote was not made durable so far."""
    for parent, _, names in os.walk(directory):
        for name in names:
            descriptor = os.open(Path(parent) / name, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_directory(Path(parent))
