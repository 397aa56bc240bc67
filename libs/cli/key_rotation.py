"""What `kt keys` says of rotations: what would be done, how far one is, what came of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from libs.cli.client import HttpClient
from libs.cli.progress import Progress, position
from libs.common.errors import KtError

ROTATIONS: Final = "/v1/encryption-keys/deep-rotations"
FASTEST_SECONDS: Final = 0.2
SLOWEST_SECONDS: Final = 2.0
GIVE_UP_SECONDS: Final = 120.0
_PASSING: Final = frozenset({"unreachable", "unavailable", "overloaded"})
_VARIABLE: Final = "KEEPTRUSTS_SECRET_ENCRYPTION_KEY"


def plan(status: Mapping[str, Any]) -> dict[str, Any]:
    """What rotations would do, read from the status of the keys."""
    entries = [entry for entry in status.get("entries", []) if isinstance(entry, dict)]
    old = [entry for entry in entries if entry.get("purpose") == "key-encryption"]
    transport = [e for e in entries if e.get("purpose") == "transport" and e.get("state", "current") == "current"]
    return {
        "dry_run": True,
        "master": {
            "wrapped_under": status.get("master_fingerprint", ""),
            "keys": sum(int(master.get("keys", 0)) for master in status.get("masters", [])),
        },
        "deep": {
            "old_keys": [str(entry.get("id")) for entry in old],
            "transport_key": str(transport[0].get("id")) if transport else "",
            "data_keys": sum(int(entry.get("sealed_values", 0)) for entry in old),
        },
    }


def master_steps(found: Mapping[str, Any]) -> Iterator[str]:
    """How the master key is changed, on this system."""
    master, data_keys = found["master"], found["deep"]["data_keys"]
    name = str(master["wrapped_under"])
    yield "The key service takes the master key from its environment, so it is changed by a restart:"
    yield ""
    yield "  1. Make a new key, and stage it where the current one comes from."
    yield "       openssl rand -base64 32"
    yield "  2. Restart the key service, one instance after the other, with"
    yield f"       {_VARIABLE}           the new key"
    yield f"       {_VARIABLE}_PREVIOUS  the key {name}"
    yield (
        f"     The start wraps {_counted(master['keys'], 'key')} of the keyring anew, in one transaction;"
        f" what they wrap, {_counted(data_keys, 'data key')}, stays as it is."
    )
    yield "  3. Look at `kt keys status`, and read and write a secret."
    yield f"  4. Remove {name} from there, and from wherever the new key was staged. Keep a copy as long as you keep"
    yield "     backups from before: they open with no other key."


def deep_steps(found: Mapping[str, Any]) -> Iterator[str]:
    """What a deep rotation does, on this system."""
    deep = found["deep"]
    yield "A deep rotation, `kt keys rotate --deep`,"
    yield ""
    for key in deep["old_keys"]:
        yield f"  - replaces the key-encryption key {key}"
    yield f"  - wraps {_counted(deep['data_keys'], 'data key')} anew, in the background, while reads and writes go on"
    yield f"  - replaces the transport key {deep['transport_key']}; what is boxed for it opens 15 minutes longer"
    yield "  - destroys the old key-encryption key once nothing depends on it any more"


def follow(
    client: HttpClient, rotation: Mapping[str, Any], sleep: Callable[[float], None] = time.sleep
) -> dict[str, Any]:
    """Show how far a deep rotation is until it is completed, and return it.

    Raises:
        KtError: what the API refused; ``unreachable`` and the like only after it was away for two minutes.
    """
    found, began, done_then = dict(rotation), time.monotonic(), int(rotation["rewrapped"])
    pause, away, told = FASTEST_SECONDS, 0.0, -1
    with Progress("", lines=True) as progress:
        while found["state"] != "completed":
            tenth = 10 * int(found["rewrapped"]) // max(1, int(found["data_keys"]))
            if sys.stderr.isatty() or tenth != told:
                told = tenth
                done, total = int(found["rewrapped"]), int(found["data_keys"])
                progress.step(position(done, total, "data keys", time.monotonic() - began, done_then))
            sleep(pause)
            try:
                found = dict(client.get(f"{ROTATIONS}/{found['id']}").document)
                away = 0.0
            except KtError as error:
                away += pause
                if error.code not in _PASSING or away >= GIVE_UP_SECONDS:
                    raise
            pause = min(SLOWEST_SECONDS, pause * 1.3)
    return found


def outcome(found: Mapping[str, Any]) -> Iterator[str]:
    """What came of a deep rotation."""
    yield f"completed: {_counted(found['rewrapped'], 'data key')} wrapped anew under {found['new_key']}"
    for key in found["destroyed_keys"]:
        yield f"destroyed: key {key}"
    kept = [key for key in found["old_keys"] if key not in found["destroyed_keys"]]
    for key in kept:
        yield f"kept: key {key}, for values that are damaged"


def _counted(count: Any, what: str) -> str:
    return f"1 {what}" if int(count) == 1 else f"{int(count):,} {what}s"
