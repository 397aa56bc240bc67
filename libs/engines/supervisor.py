"""``kt up``: engines, provisioning, services; everything watched until a signal ends it in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from libs.common.errors import KtError
from libs.common.logging import JsonFormatter
from libs.common.messaging.identities import read_credentials
from libs.engines.environment import Installation, service_environment
from libs.engines.files import PRIVATE_FILE, write_private_if_changed
from libs.engines.home import Home, State, jwt_keys_environment, master_key_environment
from libs.engines.identities import Identities, ensure_identities
from libs.engines.logs import rotate
from libs.engines.nats_server import NatsServer
from libs.engines.network import answers_ok, chosen_port, local_url, port_of
from libs.engines.permissions import PROVISIONER
from libs.engines.postgres_server import PostgresServer
from libs.engines.process import Command, Process, log_tail
from libs.engines.provision import provision
from libs.engines.supervised import Supervised

log = logging.getLogger(__name__)

ENGINES: Final = ("nats", "postgres")
SERVICES: Final = ("keys", "command", "resolver", "audit", "webhooks", "api")
DOOR: Final = "api"
READY_SECONDS: Final = 60.0
_SERVICE_GRACE: Final = 10.0
_ENGINE_GRACE: Final = 20.0
_PROBE_PAUSE: Final = 0.05
_ROTATE_PAUSE: Final = 10.0
_TOKEN_PAUSE: Final = 1.0
_ROOT: Final = Path(__file__).resolve().parents[2]

MintAdminToken = Callable[[Home], str]
ServiceProgram = Callable[[str], tuple[str, ...]]


def service_program(service: str) -> tuple[str, ...]:
    return (sys.executable, "-P", "-m", f"services.{service}.main")


@dataclass(frozen=True, slots=True)
class Options:
    """What ``up`` is told by its caller.

    ``say`` gets the lines meant for the user. ``mint_admin_token`` is called once the JWT keys are there and every
    second from then on; what it returns is kept as ``admin.token``. ``program`` is the command line of a service.
    """

    environment: Mapping[str, str]
    mint_admin_token: MintAdminToken
    say: Callable[[str], None]
    program: ServiceProgram = service_program


async def up(home: Home, options: Options) -> None:
    """Run the whole system from ``home`` until SIGTERM, SIGINT or SIGHUP, then stop it in order.

    The last line said of a good start is ``ready <api-url>``.

    Raises:
        KtError: ``already_running`` or ``misconfigured`` before anything is started; ``engine_failed`` with the end
            of the culprit's log when the system does not get ready.
    """
    home.prepare()
    with home.supervised(), _logged_to(home.log("supervisor")):
        host = options.environment.get("KEEPTRUSTS_API_HOST") or "127.0.0.1"
        last = home.state()
        port = chosen_port(host, options.environment.get("KEEPTRUSTS_API_PORT") or "8080", port_of(last.api_url))
        async with _stop_signals() as stopping:
            supervisor = _Supervisor(home, options, host, port)
            try:
                await _unless(stopping, supervisor.start(nats_port=port_of(last.nats_url)))
                await supervisor.tend(stopping)
                options.say("stopping …")
            finally:
                await supervisor.stop()


class _Supervisor:
    def __init__(self, home: Home, options: Options, host: str, port: int) -> None:
        self._home = home
        self._options = options
        self._host = host
        self._port = port
        self._url = local_url(host, port)
        self._nats_url = ""
        self._ready = False
        self._running: dict[str, Supervised] = {}
        self._token_problem = ""
        self._postgres = PostgresServer(home.postgres, home.log("postgres"))

    async def start(self, nats_port: int) -> None:
        home, outer = self._home, self._options.environment
        identities = ensure_identities(home.identities, datetime.now(UTC))
        master_key, made = master_key_environment(home, outer)
        jwt_keys = jwt_keys_environment(home, outer)
        write_private_if_changed(home.admin_token, self._options.mint_admin_token(home))
        if made:
            self._options.say(f"made a master key: {home.master_key} (keep a copy; losing it loses the secrets)")
        dsns = await self._start_engines(identities, nats_port)
        installation = Installation(
            nats_url=self._nats_url,
            identities=home.identities,
            account=identities.account,
            gateway_signing_seed_file=identities.gateway_signing_seed_file,
            api_host=self._host,
            api_port=self._port,
            dsns=dsns,
            master_key=master_key,
            jwt_keys=jwt_keys,
            python_path=str(_ROOT),
        )
        for service in SERVICES:
            await self._supervise(service, self._starter(service, service_environment(service, installation, outer)))
        await self._until_ready()

    async def tend(self, stopping: asyncio.Event) -> None:
        """Keep the log files small and the admin token valid until it is time to stop."""
        await asyncio.gather(
            _every(_ROTATE_PAUSE, stopping, self._rotate_logs),
            _every(_TOKEN_PAUSE, stopping, self._keep_admin_token),
        )

    def _rotate_logs(self) -> None:
        for name in (*self._running, "supervisor"):
            with _going_on("log.not_rotated"):
                rotate(self._home.log(name))

    def _keep_admin_token(self) -> None:
        """The keys that signed it may have been replaced. One that somebody took away stays away."""
        with _going_on("admin_token.not_renewed"):
            if not self._home.admin_token.exists():
                return
            try:
                write_private_if_changed(self._home.admin_token, self._options.mint_admin_token(self._home))
                self._token_problem = ""
            except KtError as error:
                if error.detail != self._token_problem:
                    log.error("admin_token.not_renewed", extra={"detail": error.detail})  # noqa: TRY400
                self._token_problem = error.detail

    async def stop(self) -> None:
        """The door first, so that nothing new comes in; then the services; then what they stand on."""
        self._ready = False
        behind = tuple(name for name in SERVICES if name != DOOR)
        for names, grace in (((DOOR,), _SERVICE_GRACE), (behind, _SERVICE_GRACE), (ENGINES, _ENGINE_GRACE)):
            running = [self._running[name] for name in names if name in self._running]
            await asyncio.gather(*(process.stop(grace) for process in running))
        self._postgres.remove_socket_directory()
        self._write_state()

    async def _start_engines(self, identities: Identities, nats_port: int) -> dict[str, str]:
        home = self._home
        nats = NatsServer(home.nats, home.log("nats"), identities, port=nats_port)
        try:
            async with asyncio.TaskGroup() as starting:
                starting.create_task(self._supervise("nats", nats.start))
                starting.create_task(self._supervise("postgres", self._postgres.start))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        self._nats_url = nats.url
        return await provision(
            nats_url=nats.url,
            provisioner=read_credentials(identities.creds(PROVISIONER)),
            postgres_admin_dsn=self._postgres.conninfo(),
            passwords=home.identities,
        )

    def _starter(self, service: str, environment: Mapping[str, str]) -> Callable[[], Awaitable[Process]]:
        command = Command(service, self._options.program(service), environment, self._home.log(service))

        async def start() -> Process:
            return Process.start(command)

        return start

    async def _supervise(self, name: str, start: Callable[[], Awaitable[Process]]) -> None:
        self._running[name] = Supervised(name, start, self._write_state)
        await self._running[name].start()

    async def _until_ready(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + READY_SECONDS
        while not await answers_ok(f"{self._url}/readyz"):
            hopeless = [process for process in self._running.values() if process.is_hopeless]
            if hopeless or loop.time() > deadline:
                raise self._not_ready(hopeless)
            await asyncio.sleep(_PROBE_PAUSE)
        self._ready = True
        self._write_state()
        self._options.say(f"ready {self._url}")

    def _not_ready(self, hopeless: list[Supervised]) -> KtError:
        suspects = hopeless or [process for process in self._running.values() if process.restarts]
        culprit = suspects[0].name if suspects else DOOR
        what = "did not start" if hopeless else f"was not ready after {READY_SECONDS:.0f} seconds"
        path = self._home.log(culprit)
        return KtError("engine_failed", f"{culprit} {what}.", f"Last lines of {path}:\n{log_tail(path)}")

    def _write_state(self) -> None:
        states = {name: process.state for name, process in self._running.items()}
        state = State(
            api_url=self._url,
            nats_url=self._nats_url,
            supervisor=os.getpid(),
            ready=self._ready,
            processes={name: state for name, state in states.items() if state is not None},
        )
        with _going_on("state.not_written"):
            self._home.write_state(state)


@contextmanager
def _going_on(event: str) -> Iterator[None]:
    """A full disk must not end a system that runs."""
    try:
        yield
    except OSError as error:
        log.error(event, extra={"reason": error.strerror})  # noqa: TRY400


async def _every(seconds: float, stopping: asyncio.Event, work: Callable[[], None]) -> None:
    while not stopping.is_set():
        work()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), seconds)


async def _unless(stopping: asyncio.Event, work: Awaitable[None]) -> None:
    """Do ``work``, or give it up when it is time to stop."""
    working = asyncio.ensure_future(work)
    stopped = asyncio.create_task(stopping.wait())
    await asyncio.wait((working, stopped), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not working.done():
        working.cancel()
        await asyncio.wait((working,))
        return
    working.result()


@asynccontextmanager
async def _stop_signals() -> AsyncIterator[asyncio.Event]:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    signals = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
        signals.append(signal.SIGHUP)
    for number in signals:
        loop.add_signal_handler(number, stopping.set)
    try:
        yield stopping
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


@contextmanager
def _logged_to(path: Path) -> Iterator[None]:
    path.touch(PRIVATE_FILE)
    handler = logging.FileHandler(path)
    handler.setFormatter(JsonFormatter("supervisor"))
    logger = logging.getLogger("libs.engines")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()
