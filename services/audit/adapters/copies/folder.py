"""Copies of checkpoints in a directory."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from libs.common.errors import KtError
from services.audit.domain.copies import Folder


class FolderCopies:
    """Implements ``Copies``. A file is complete as soon as it has its name, and is never written again."""

    def __init__(self, target: Folder) -> None:
        self._path = Path(target.path)

    async def put(self, name: str, content: bytes) -> None:
        try:
            await asyncio.to_thread(self._put, self._path / name, content)
        except OSError as error:
            raise KtError("unavailable", f"The directory can't be written to: {error.strerror}.") from None

    @staticmethod
    def _put(path: Path, content: bytes) -> None:
        if path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
