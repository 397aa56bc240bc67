"""Taking a backup of a running system.

The order makes it consistent: what is read later holds all that what was read earlier refers to. Access records name
events, so ``KT_ACCESS`` comes before ``KT_EVENTS``; events name sealed values that were durable before them, so the
sealed store comes last, and not before the key service has followed the events to the end of the snapshot. What is
destroyed in between is missing in the sealed store, as it would be a moment later.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

import orjson

from libs.backup import sealed_store, streams
from libs.backup.archive import ArchiveWriter
from libs.backup.index import Index
from libs.backup.manifest import (
    AUTHENTICATION,
    HEADER,
    INDEX,
    KEYRING,
    MANIFEST,
    VALUES,
    Authentication,
    Header,
    Manifest,
    Part,
    SealedStorePart,
    StreamPart,
    snapshot_member,
)
from libs.backup.progress import Progress
from libs.backup.source import Source
from libs.common.clock import Clock, rfc3339
from libs.common.direct_get import StoredMessage
from libs.common.errors import KtError
from libs.common.messaging.bulk import BulkClient, bulk_connection
from libs.common.messaging.rpc import RpcClient
from libs.common.protocol.backups import AUTHENTICATE_BACKUP, ArchiveEnd, AuthenticateBackup
from libs.common.stream_reader import stream_range
from libs.common.subjects import ACCESS, ALL_ACCESS, ALL_EVENTS, EVENTS
from libs.engines.files import sync_directory
from libs.engines.permissions import BACKUP

_FOLLOWED_S: Final = 60.0
_LOOK_S: Final = 0.1
_ATTEMPTS: Final = 3
"""The front of ``KT_ACCESS`` may expire while it is read."""


async def create(source: Source, target: Path, clock: Clock, software: str, progress: Progress) -> Manifest:
    """Write an archive to ``target``, which then is whole, durable and on record, or not there.

    Raises:
        KtError: ``already_exists``; ``stream_damaged`` when a message can't be read; ``unavailable``, also when it
            can't be put on record.
    """
    with _new_file(target) as file:
        async with bulk_connection(BACKUP, source.nats_url, source.creds, streams.QuietGuard()) as nc:
            return await _Creation(nc, source, ArchiveWriter(file), progress).run(clock, software)


class _Creation:
    def __init__(self, nc: BulkClient, source: Source, archive: ArchiveWriter, progress: Progress) -> None:
        self._nc = nc
        self._source = source
        self._archive = archive
        self._progress = progress

    async def run(self, clock: Clock, software: str) -> Manifest:
        began = rfc3339(clock.now())
        self._archive.small(HEADER, orjson.dumps(Header().model_dump(), option=orjson.OPT_APPEND_NEWLINE))
        access = await self._access()
        events, indexed, unreadable = await self._events()
        sealed = await self._sealed(events.last_sequence, indexed, unreadable)
        sizes, sums = self._archive.sizes, self._archive.sums
        manifest = Manifest(
            created_at=began,
            software_version=software,
            streams=(access, events),
            sealed_store=sealed,
            parts=tuple(Part(member=name, bytes=sizes[name], sha256=digest) for name, digest in sums.items()),
        )
        await self._finish(manifest)
        return manifest

    async def _access(self) -> StreamPart:
        found = await self._snapshot(ACCESS)
        for attempt in range(1, _ATTEMPTS + 1):
            first = max(found.first, (await stream_range(self._nc, ACCESS))[0])
            try:
                return _stream_part(ACCESS, found, await self._digest(first, found.last))
            except KtError as error:
                if error.code != "stream_damaged" or attempt == _ATTEMPTS:
                    raise
        raise AssertionError("the last attempt returns or raises")

    async def _digest(self, first: int, last: int) -> streams.ContentDigest:
        digest = streams.ContentDigest(first)
        async for batch in self._read(ACCESS, ALL_ACCESS, first, last):
            digest.update(batch)
        return digest

    async def _events(self) -> tuple[StreamPart, int, int]:
        found = await self._snapshot(EVENTS)
        digest = streams.ContentDigest(found.first)
        with self._archive.lines(INDEX) as lines:
            index = Index(lines)
            async for batch in self._read(EVENTS, ALL_EVENTS, found.first, found.last):
                digest.update(batch)
                index.add(batch)
        return _stream_part(EVENTS, found, digest), lines.count, index.unreadable

    async def _snapshot(self, stream: str) -> streams.Snapshot:
        async with streams.snapshot(self._nc, stream) as (found, chunks):
            self._progress.step(f"copying {stream}", found.bytes)
            with self._archive.part(snapshot_member(stream)) as part:
                async for chunk in chunks:
                    part.write(chunk)
                    self._progress.moved(len(chunk))
        return found

    async def _read(self, stream: str, subject: str, first: int, last: int) -> AsyncIterator[Sequence[StoredMessage]]:
        self._progress.step(f"reading {stream}", max(0, last - first + 1))
        async for batch in streams.read(self._nc, stream, subject, first, last):
            self._progress.moved(len(batch))
            yield batch

    async def _sealed(self, last_event: int, indexed: int, unreadable: int) -> SealedStorePart:
        self._progress.step("waiting for the key service to follow", 0)
        await self._followed(last_event)
        async with sealed_store.reading(self._source.dsn) as store:
            values = await store.count("sealed_values")
            self._progress.step("copying the sealed store", values)
            with self._archive.lines(KEYRING) as keys:
                await store.dump("keyring", keys)
            with self._archive.lines(VALUES) as rows:
                await store.dump("sealed_values", rows, self._progress.moved)
            return SealedStorePart(
                as_of_sequence=store.as_of_sequence,
                keys=keys.count,
                values=rows.count,
                indexed=indexed,
                unreadable_events=unreadable,
                master_fingerprints=await store.fingerprints(),
            )

    async def _followed(self, sequence: int) -> None:
        """Wait until the key service has done what the events up to ``sequence`` say."""
        deadline = asyncio.get_running_loop().time() + _FOLLOWED_S
        while await sealed_store.projected(self._source.dsn) < sequence:
            if asyncio.get_running_loop().time() > deadline:
                raise KtError(
                    "unavailable",
                    f"The key service has not followed {EVENTS} to {sequence} within {_FOLLOWED_S:.0f} s.",
                    "`kt status` shows what runs; the log of the key service says what holds it up.",
                )
            await asyncio.sleep(_LOOK_S)

    async def _finish(self, manifest: Manifest) -> None:
        content = manifest.to_json()
        self._archive.small(MANIFEST, content)
        request = AuthenticateBackup(
            manifest_sha256=self._archive.sums[MANIFEST],
            taken_at=manifest.created_at,
            streams=tuple(ArchiveEnd(stream=part.name, last=part.last_sequence) for part in manifest.streams),
            values=manifest.sealed_store.values,
            master_fingerprints=manifest.sealed_store.master_fingerprints,
        )
        reply = await RpcClient(self._nc).call(AUTHENTICATE_BACKUP, request)
        mark = Authentication(algorithm=reply.algorithm, master_fingerprint=reply.master_fingerprint, mac=reply.mac)
        self._archive.small(AUTHENTICATION, orjson.dumps(mark.model_dump(), option=orjson.OPT_APPEND_NEWLINE))
        self._archive.finish()


def _stream_part(name: str, found: streams.Snapshot, digest: streams.ContentDigest) -> StreamPart:
    return StreamPart(
        name=name,
        member=snapshot_member(name),
        first_sequence=found.first,
        last_sequence=found.last,
        messages=found.messages,
        state=dict(found.state),
        segments=digest.segments(),
    )


@contextmanager
def _new_file(target: Path) -> Iterator[BinaryIO]:
    """A file of its owner alone that gets its name once it is whole and on the disk."""
    if target.exists():
        raise _exists(target)
    try:
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".partial")
    except OSError as error:
        raise KtError("usage", f"{target} can't be written: {error.strerror}.", "Choose another directory.") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _give_name(Path(temporary), target)
    finally:
        Path(temporary).unlink(missing_ok=True)
    sync_directory(target.parent)


def _give_name(temporary: Path, target: Path) -> None:
    """A link, unlike a rename, does not replace a file that came up meanwhile; not every file system has links."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise _exists(target) from None
    except OSError:
        temporary.rename(target)


def _exists(target: Path) -> KtError:
    return KtError("already_exists", f"{target} exists, and a backup never overwrites.", "Choose another name.")
