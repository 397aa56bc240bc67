"""Files of known size as a tar archive (POSIX ustar), written while they come."""

from __future__ import annotations

import tarfile
from collections.abc import AsyncIterator
from datetime import datetime

from libs.common.protocol.exports import ExportPiece

MEDIA_TYPE = "application/x-tar"
_BLOCK = tarfile.BLOCKSIZE


async def archive(pieces: AsyncIterator[ExportPiece], moment: datetime) -> AsyncIterator[bytes]:
    """``pieces`` are those of one file after the other; ``moment`` is when the files were written."""
    left = 0
    async for piece in pieces:
        if not left:
            left = piece.size
            yield _header(piece, moment)
        left -= len(piece.data)
        padding = 0 if left else -piece.size % _BLOCK
        yield piece.data + bytes(padding)
    yield bytes(2 * _BLOCK)


def _header(piece: ExportPiece, moment: datetime) -> bytes:
    info = tarfile.TarInfo(piece.name)
    info.size, info.mtime, info.mode = piece.size, int(moment.timestamp()), 0o600
    return info.tobuf(tarfile.USTAR_FORMAT)
