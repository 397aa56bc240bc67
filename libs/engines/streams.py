"""The two streams: how they must look, made once, checked at every start and never silently changed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import nats
import orjson
from nats.aio.client import Client
from nats.errors import Error as NatsError

from libs.common.errors import KtError
from libs.common.messaging.identities import Credentials
from libs.common.subjects import ACCESS, ALL_ACCESS, ALL_EVENTS, EVENTS

ACCESS_RETENTION: Final = timedelta(days=400)
"""Longer than the audit log keeps its rows (366 days), so that a projection can always be rebuilt."""

_NO_SUCH_STREAM: Final = 10059
_TIMEOUT_SECONDS: Final = 10.0
_CONNECT_SECONDS: Final = 10.0
_IMMUTABLE: Final[Mapping[str, Any]] = {
    "storage": "file",
    "retention": "limits",
    "discard": "new",
    "deny_delete": True,
    "deny_purge": True,
    "allow_rollup_hdrs": False,
    "allow_direct": True,
    "allow_atomic": True,
    "compression": "s2",
    "max_msgs": -1,
    "max_bytes": -1,
    "max_msgs_per_subject": -1,
}

STREAMS: Final[Mapping[str, Mapping[str, Any]]] = {
    EVENTS: {
        **_IMMUTABLE,
        "subjects": [ALL_EVENTS],
        "max_age": 0,
        "republish": {"src": ALL_EVENTS, "dest": "kt.feed.v1.>", "headers_only": True},
    },
    ACCESS: {**_IMMUTABLE, "subjects": [ALL_ACCESS], "max_age": int(ACCESS_RETENTION.total_seconds()) * 10**9},
}
"""Stream configuration by name, in the words of the JetStream API; durations in nanoseconds."""


async def provision_streams(url: str, provisioner: Credentials, *, replicas: int = 1) -> None:
    """Make the streams that are missing and check those that exist.

    Raises:
        KtError: ``engine_failed`` when an existing stream differs, naming the difference, or the server refuses;
            ``unavailable`` when the server can't be reached.
    """
    nc = await _connected(url, provisioner)
    try:
        async with asyncio.timeout(2 * _TIMEOUT_SECONDS):
            await asyncio.gather(*(_ensure(nc, name, wanted, replicas) for name, wanted in STREAMS.items()))
    except (NatsError, TimeoutError) as error:
        raise KtError(
            "unavailable", f"The message bus at {url} did not answer the provisioner ({type(error).__name__})."
        ) from None
    finally:
        await nc.close()


async def _connected(url: str, provisioner: Credentials) -> Client:
    """Waits for a server that is still starting; nats-py itself would try for minutes and log each attempt."""
    reason = "no answer"

    async def note(error: Exception) -> None:
        nonlocal reason
        reason = type(error).__name__

    try:
        async with asyncio.timeout(_CONNECT_SECONDS):
            return await nats.connect(url, reconnect_time_wait=0.1, error_cb=note, **provisioner.connect_options())
    except (NatsError, OSError, TimeoutError):
        raise KtError(
            "unavailable",
            f"The message bus at {url} did not let the provisioner in within {_CONNECT_SECONDS:.0f} s ({reason}).",
            "Is it running, and were the credentials made for it?",
        ) from None


async def _ensure(nc: Client, name: str, wanted: Mapping[str, Any], replicas: int) -> None:
    found = await _api(nc, f"STREAM.INFO.{name}", {})
    if found.get("error", {}).get("err_code") == _NO_SUCH_STREAM:
        found = await _api(nc, f"STREAM.CREATE.{name}", {"name": name, "num_replicas": replicas, **wanted})
    if "error" in found:
        reason = found["error"].get("description", "no reason given")
        raise KtError("engine_failed", f"The stream {name} can't be made: {reason}.")
    differences = [
        f"{key} is {orjson.dumps(found['config'].get(key)).decode()}, expected {orjson.dumps(value).decode()}"
        for key, value in wanted.items()
        if not _same(found["config"].get(key), value)
    ]
    if differences:
        raise KtError(
            "engine_failed",
            f"The stream {name} is not as it was made: {'; '.join(differences)}.",
            "Its history may no longer be complete. Find out who changed it, compare it with the audit log, "
            "and restore it; it is never changed from here.",
        )


async def remove_empty_stream(nc: Client, name: str) -> None:
    """Make room for one that is restored.

    Raises:
        KtError: ``already_exists`` when the stream has ever held anything.
    """
    state = (await _api(nc, f"STREAM.INFO.{name}", {})).get("state")
    if state is None:
        return
    if state["last_seq"]:
        raise KtError(
            "already_exists",
            f"The stream {name} holds messages already, and a restore never overwrites. Nothing was changed.",
            "Restore into a new home, or into a NATS server without streams.",
        )
    await _api(nc, f"STREAM.DELETE.{name}", {})


def _same(found: Any, wanted: Any) -> bool:
    """The server leaves out what is false or zero."""
    return found == wanted or (not found and not wanted)


async def _api(nc: Client, subject: str, request: Mapping[str, Any]) -> dict[str, Any]:
    reply = await nc.request(f"$JS.API.{subject}", orjson.dumps(request), timeout=_TIMEOUT_SECONDS)
    answer: dict[str, Any] = orjson.loads(reply.data)
    return answer
