"""Small files that must be whole, private and durable."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from libs.common.errors import KtError

PRIVATE_FILE = 0o600
PRIVATE_DIRECTORY = 0o700


def write_private(path: Path, content: bytes | str) -> None:
    """Replace a file atomically and durably; it is readable by its owner alone (0600), also while it is written."""
    raw = content.encode() if isinstance(content, str) else content
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write_private_if_changed(path: Path, content: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != content:
        write_private(path, content)


def private_directory(path: Path) -> Path:
    """Make a directory for its owner alone (0700), or check that an existing one is ours.

    Raises:
        KtError: ``misconfigured`` when it can't be made, is not a directory, or belongs to somebody else.
    """
    try:
        path.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        found = path.lstat() if path.is_symlink() else path.stat()
        if found.st_uid != os.geteuid() or path.is_symlink():
            raise KtError(
                "misconfigured",
                f"{path} belongs to user {found.st_uid}, and this process runs as user {os.geteuid()}.",
                "Run as the owner, or choose another directory (KEEPTRUSTS_HOME).",
            )
        path.chmod(PRIVATE_DIRECTORY)
    except OSError as error:
        raise KtError("misconfigured", f"The directory {path} can't be used: {error.strerror}.") from None
    return path


def sync_directory(directory: Path) -> None:
    """Make what was renamed, linked or removed in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
