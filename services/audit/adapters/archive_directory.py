"""An archive of exported months in a directory: ``ORG/2026-11/``, written beside its place and moved there whole."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from libs.common.calendar import Month
from libs.common.errors import KtError
from libs.common.transparency.manifest import MANIFEST

_UNFINISHED: Final = ".unfinished"


class ArchiveDirectory:
    """Implements ``Archive``."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def manifest_of(self, org: str, month: Month) -> bytes | None:
        with _writing(self._root):
            try:
                return await asyncio.to_thread((self._place(org, month) / MANIFEST).read_bytes)
            except FileNotFoundError:
                return None

    @asynccontextmanager
    async def adding(self, org: str, month: Month) -> AsyncIterator[DirectoryFolder]:
        place = self._place(org, month)
        unfinished = place.with_name(place.name + _UNFINISHED)
        with _writing(self._root):
            await asyncio.to_thread(_make_empty, unfinished)
            yield DirectoryFolder(unfinished)
            await asyncio.to_thread(_move, unfinished, place)

    def _place(self, org: str, month: Month) -> Path:
        return self._root / org / str(month)


class DirectoryFolder:
    """Implements ``ArchiveFolder``."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def write(self, name: str, pieces: AsyncIterator[bytes]) -> None:
        with (self._path / name).open("wb") as file:
            async for piece in pieces:
                await asyncio.to_thread(file.write, piece)
            file.flush()
            await asyncio.to_thread(os.fsync, file.fileno())


def _make_empty(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True, mode=0o700)


def _move(unfinished: Path, place: Path) -> None:
    _sync(unfinished)
    unfinished.rename(place)
    _sync(place.parent)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _writing(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise KtError(
            "unavailable",
            f"The archive {root} can't be written: {error.strerror or 'input/output error'}.",
            "Nothing of the log is removed before it is archived; KEEPTRUSTS_AUDIT_ARCHIVE names the directory.",
        ) from None
