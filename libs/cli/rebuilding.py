"""Following a rebuild of the audit log until it ends."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from libs.cli.client import HttpClient
from libs.cli.progress import Progress, position
from libs.common.errors import KtError

REBUILD: Final = "/v1/events/rebuild"
PAUSE_SECONDS: Final = 0.3
GIVE_UP_SECONDS: Final = 120.0
_PASSING: Final = frozenset({"unreachable", "unavailable", "overloaded"})
_ENDED: Final = frozenset({"completed", "failed"})


def follow(
    client: HttpClient, rebuild: Mapping[str, Any], sleep: Callable[[float], None] = time.sleep
) -> dict[str, Any]:
    """Show how far a rebuild is until it has ended, and return it.

    Raises:
        KtError: what the API refused; ``unreachable`` and the like only after it was away for two minutes.
    """
    found, began, away, told = dict(rebuild), time.monotonic(), 0.0, ""
    with Progress("", lines=True) as progress:
        while found["phase"] not in _ENDED:
            if sys.stderr.isatty() or found["phase"] != told:
                told = found["phase"]
                progress.step(f"{told} {position(found['replayed'], found['total'], 'entries', _since(began))}")
            sleep(PAUSE_SECONDS)
            try:
                found = dict(client.get(REBUILD).document)
                away = 0.0
            except KtError as error:
                away += PAUSE_SECONDS
                if error.code not in _PASSING or away >= GIVE_UP_SECONDS:
                    raise
    return found


def _since(began: float) -> float:
    return time.monotonic() - began
