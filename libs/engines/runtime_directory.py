"""A place for Unix sockets whose path fits into ``sun_path``."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from pathlib import Path
from typing import Final

from libs.common.errors import KtError
from libs.engines.files import PRIVATE_DIRECTORY

_LONGEST_NAME: Final = len("/.s.PGSQL.5432.lock")
_SUN_PATH: Final = 107
_PLAIN: Final = re.compile(r"/[A-Za-z0-9_./+-]+")


def short_directory(wanted: Path, owner: tuple[int, int]) -> Path:
    """``wanted`` itself when a socket in it has a usable path, else a private stand-in.

    Usable: at most 107 bytes, which is what the kernel takes, and no character that means something in a list of
    directories or hosts.

    The stand-in lies below ``XDG_RUNTIME_DIR`` or the temporary directory, and its name follows from ``wanted``, so
    that every process finds the same one. It is made 0700 for ``owner`` (uid, gid) and nobody else.

    Raises:
        KtError: ``engine_failed`` when something in its place is not ours.
    """
    directory = wanted if _fits(wanted) else _stand_in(wanted)
    try:
        directory.mkdir(mode=PRIVATE_DIRECTORY, parents=directory is wanted)
    except FileExistsError:
        pass
    except OSError as error:
        raise KtError("engine_failed", f"The socket directory {directory} can't be made: {error.strerror}.") from None
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {os.geteuid(), owner[0]}:
        raise KtError(
            "engine_failed",
            f"The socket directory {directory} belongs to somebody else (user {found.st_uid}).",
            "Remove it, or set XDG_RUNTIME_DIR to a directory of your own.",
        )
    if os.geteuid() == 0:
        os.chown(directory, *owner, follow_symlinks=False)
    directory.chmod(PRIVATE_DIRECTORY)
    return directory


def _fits(directory: Path) -> bool:
    return _PLAIN.fullmatch(str(directory)) is not None and len(str(directory)) + _LONGEST_NAME <= _SUN_PATH


def _stand_in(wanted: Path) -> Path:
    name = f"keeptrusts-{os.geteuid()}-{hashlib.sha256(os.fsencode(wanted)).hexdigest()[:16]}"
    for parent in (os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir(), "/tmp"):  # noqa: S108
        if parent and Path(parent).is_dir() and _fits(Path(parent) / name):
            return Path(parent) / name
    raise KtError(
        "engine_failed",
        "No directory is short enough for PostgreSQL's socket (107 bytes).",
        "Set XDG_RUNTIME_DIR to a short directory of your own.",
    )
