"""Ending tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

_AGAIN_S: Final = 4.0
"""Longer than a task takes to clean up, which being cancelled again would cut short: the HTTP server lets requests
finish for three seconds."""


async def ended_meanwhile(tasks: Iterable[asyncio.Task[Any]], within_s: float) -> bool:
    """:func:`ended` for cleaning up: who calls it may be cancelled meanwhile, which takes effect behind it."""
    ending = asyncio.ensure_future(ended(tasks, within_s))
    cancelled: asyncio.CancelledError | None = None
    while not ending.done():
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return ending.result()


async def ended(tasks: Iterable[asyncio.Task[Any]], within_s: float) -> bool:
    """Cancel tasks until they have ended; False when some have not after ``within_s`` seconds.

    Once is not enough: before Python 3.12 ``asyncio.wait_for``, through which nats-py sends each request, loses a
    cancellation that comes in the moment of the answer.
    """
    pending = {task for task in tasks if not task.done()}
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while pending and (left := deadline - loop.time()) > 0:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=min(_AGAIN_S, left))
    return not pending
