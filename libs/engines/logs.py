"""Keeps the log files of processes that can't reopen them within a size."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from libs.engines.files import PRIVATE_FILE

LARGEST_BYTES: Final = 16 * 1024 * 1024


def rotate(log: Path, largest: int = LARGEST_BYTES) -> bool:
    """Copy a log beyond ``largest`` bytes to ``<log>.1`` and empty it; its writers append, so they start over.

    Lines written between copying and emptying are lost. True when that was done.
    """
    try:
        if log.stat().st_size <= largest:
            return False
    except FileNotFoundError:
        return False
    older = log.with_name(f"{log.name}.1")
    with log.open("rb") as source, open(older, "wb", opener=_private) as copy:
        shutil.copyfileobj(source, copy)
    os.truncate(log, 0)
    return True


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, PRIVATE_FILE)
