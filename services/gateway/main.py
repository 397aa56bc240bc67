"""Composition root of a gateway: the agent, and the Envoy it runs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

import uvloop
from starlette.applications import Starlette

from libs.common.clock import rfc3339
from libs.common.errors import Exit, KtError
from libs.common.logging import configure_logging
from libs.common.secret import Secret
from libs.common.settings import secret_from_environment
from services.gateway.adapters.control_http import ControlServer, control_app
from services.gateway.adapters.envoy.access_counts import EnvoyAccessCounts
from services.gateway.adapters.envoy.access_log import AccessLogService
from services.gateway.adapters.envoy.bootstrap import bootstrap
from services.gateway.adapters.envoy.process import EnvoyProcess, envoy_command
from services.gateway.adapters.envoy.runner import drain, until_ready
from services.gateway.adapters.envoy.xds_server import XdsServer
from services.gateway.adapters.home import (
    claim_port,
    gateway_home,
    new_client_key,
    new_control_token,
    runtime_directory,
    write_json,
)
from services.gateway.adapters.optional_system import OptionalSystem
from services.gateway.application.access_log import AccessLog
from services.gateway.application.background import Background
from services.gateway.application.client_keys import follow_client_keys
from services.gateway.application.control import ControlAccess
from services.gateway.application.git_webhook import SECRET_VARIABLE, GitWebhook
from services.gateway.application.losses import LossWatch
from services.gateway.domain.client_auth import Anonymous, ClientAuth, ClientKey, ClientTokens, checked_client_key
from services.gateway.domain.config import GatewayConfig
from services.gateway.domain.references import ReferenceKind
from services.gateway.parts import Link, Parts, Places
from services.gateway.settings import GatewaySettings, local_url

log = logging.getLogger(__name__)

STATE_FILE: Final = "gateway.json"
FINISH_S: Final = 5.0
"""How long a stopping gateway tries to put its last records on record."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A gateway that serves. ``client_key`` is set when it was made just now: this is the only time it is told."""

    name: str
    url: str
    client_auth: str
    client_key: Secret | None


def print_ready(ready: Ready) -> None:
    """``ready URL`` on stdout, for programs to wait for; what only people need on stderr."""
    if ready.client_key is not None:
        key = ready.client_key.reveal().decode()
        print(f"client key (shown once; clients send it as their API key): {key}", file=sys.stderr)  # noqa: T201
    print(f"ready {ready.url} ({ready.name}, clients: {ready.client_auth})", flush=True)  # noqa: T201


async def run_gateway(
    settings: GatewaySettings,
    *,
    on_ready: Callable[[Ready], None] = print_ready,
    link: Link | None = None,
    stop: asyncio.Event | None = None,
) -> None:
    """Serve until ``stop`` is set; without it, until SIGTERM or SIGINT, which also end a start that is under way.

    ``link`` replaces the connection to the system.

    Raises:
        KtError: why the gateway could not start, or what ended it.
    """
    ends = asyncio.Event() if stop is None else stop
    ready = asyncio.Event()

    def told(what: Ready) -> None:
        ready.set()
        on_ready(what)

    def end() -> None:
        ends.set()
        if not ready.is_set():
            serving.cancel()

    serving = asyncio.ensure_future(_run(settings, ends, told, link))
    if stop is None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, end)
    try:
        await serving
    except asyncio.CancelledError:
        serving.cancel()
        await asyncio.wait([serving])
        if not ends.is_set():
            raise


async def _run(
    settings: GatewaySettings,
    stop: asyncio.Event,
    on_ready: Callable[[Ready], None],
    link: Link | None,
) -> None:
    configure_logging("gateway", settings.log_level)
    logging.getLogger("grpclib").setLevel(logging.WARNING)
    logging.getLogger("dulwich").setLevel(logging.WARNING)
    async with AsyncExitStack() as stack:
        home = stack.enter_context(gateway_home(settings.home, settings.name))
        runtime = stack.enter_context(runtime_directory())
        background = Background()
        stack.push_async_callback(background.close)
        parts = Parts(settings, Places(home, runtime), background, link)
        stack.push_async_callback(parts.system.close)
        config = await parts.first_config()
        auth, made = await _client_auth(settings, config, parts.system)
        access = ControlAccess(new_control_token(home), parts.token_verifier(), time.monotonic)
        gateway = parts.gateway(auth)
        await parts.data_plane.set_client_auth(auth)
        follower = parts.source_follower(gateway)
        webhook = GitWebhook(secret_from_environment(SECRET_VARIABLE), follower.look) if follower else None
        app = control_app(gateway, access, webhook)
        url = await stack.enter_async_context(_serving(settings, parts, app, partial(gateway.start, config)))
        background.start(parts.follower(gateway).run())
        if follower is not None:
            background.start(follower.run())
        if isinstance(auth, ClientTokens):
            background.start(follow_client_keys(parts.system.linked(), parts.data_plane, auth))
        state = {"name": settings.name, "url": url, "pid": os.getpid(), "since": rfc3339(parts.clock.now())}
        write_json(home / STATE_FILE, state)
        stack.callback((home / STATE_FILE).unlink, missing_ok=True)
        on_ready(Ready(settings.name, url, auth.name, made))
        await background.until(stop)
        log.info("gateway.stopping")


async def _client_auth(
    settings: GatewaySettings, config: GatewayConfig, system: OptionalSystem
) -> tuple[ClientAuth, Secret | None]:
    """How clients authenticate, and the client key if one was made now."""
    given = settings.client_key or secret_from_environment("KEEPTRUSTS_GATEWAY_CLIENT_KEY")
    if settings.allow_anonymous:
        log.warning("gateway.anonymous", extra={"meaning": "anyone who reaches the port can use the providers' keys"})
        return Anonymous(), None
    if any(reference.kind is ReferenceKind.STORE for reference in config.references):
        if given is not None:
            log.warning("gateway.client_key_ignored", extra={"meaning": "clients of a system's gateway use tokens"})
        return await system.linked().client_tokens(), None
    if given is not None:
        return checked_client_key(given), None
    made = new_client_key()
    return ClientKey(made), made


@asynccontextmanager
async def _serving(
    settings: GatewaySettings, parts: Parts, control: Starlette, start: Callable[[], Awaitable[None]]
) -> AsyncIterator[str]:
    """Envoy with the configuration in force; yields the gateway's URL. On leaving, open streams are drained."""
    host, port = settings.address()
    port = claim_port(host, port)
    write_json(parts.bootstrap_file, bootstrap(settings.name, host, port, parts.sockets))
    process = EnvoyProcess(envoy_command(parts.bootstrap_file, settings.concurrency))
    xds = XdsServer(parts.cache, AccessLogService(parts.access, lambda: process.restarts), parts.sockets.xds)
    server = ControlServer(control, parts.sockets.control)
    losses = LossWatch(parts.access, EnvoyAccessCounts(parts.admin, process))
    async with AsyncExitStack() as stack:
        await xds.start()
        stack.push_async_callback(xds.stop)
        await server.start()
        stack.push_async_callback(server.stop)
        stack.push_async_callback(parts.data_plane.stop)
        await process.start()
        stack.push_async_callback(process.stop)
        await until_ready(start, process, parts.admin)
        parts.background.start(parts.access.run())
        parts.background.start(losses.run())
        stack.push_async_callback(_finish, parts.access, losses)
        stack.push_async_callback(drain, parts.admin, settings.drain_seconds)
        yield local_url(host, port)


async def _finish(access: AccessLog, losses: LossWatch) -> None:
    """What the proxy told last, and what it could not tell, goes on record while it still runs."""
    await losses.settle()
    await access.finish(FINISH_S)


def main() -> None:
    """``python -m services.gateway.main``: settings from the environment alone."""
    try:
        with contextlib.suppress(KeyboardInterrupt):
            uvloop.run(run_gateway(GatewaySettings.of()))
    except KtError as error:
        print(f"gateway: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(int(error.kind.exit))
    except Exception:
        # Not as a traceback on the terminal: an exception's text may quote what it failed on.
        log.exception("gateway.failed")
        sys.exit(int(Exit.FAILED))


if __name__ == "__main__":
    main()
