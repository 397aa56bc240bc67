"""Files and directories of a running gateway."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import shutil
import socket
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson

from libs.common.errors import KtError
from libs.common.secret import Secret
from services.gateway.domain.access import Epoch

log = logging.getLogger(__name__)

CONTROL_FILE: Final = "control.token"
_ENTROPY_BYTES: Final = 32
_PREFIX: Final = "kt-gateway-"
_LONGEST_DIRECTORY: Final = 107 - len("/admin.sock")


@contextlib.contextmanager
def gateway_home(home: Path, name: str) -> Iterator[Path]:
    """``<home>/gateways/<name>``, held by this process alone while the context lasts.

    Raises:
        KtError: ``already_running`` when another gateway of this name runs, ``misconfigured`` when the directory
            can't be made.
    """
    directory = home / "gateways" / name
    try:
        for part in (home, home / "gateways", directory):
            part.mkdir(mode=0o700, parents=part is home, exist_ok=True)
        lock = os.open(directory / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise KtError(
            "misconfigured",
            f"{directory} can't be made: {error.strerror}.",
            "Set KEEPTRUSTS_HOME to a writable place.",
        ) from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise KtError(
                "already_running",
                f"A gateway named {name} already runs from {home}.",
                "Give this one another --name, or another KEEPTRUSTS_HOME.",
            ) from None
        yield directory
    finally:
        os.close(lock)


@contextlib.contextmanager
def runtime_directory() -> Iterator[Path]:
    """A private directory for sockets; its path is short, because a Unix socket's may have 107 bytes at most."""
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX))
    if len(str(directory)) > _LONGEST_DIRECTORY:
        directory.rmdir()
        directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir="/tmp"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def new_control_token(directory: Path) -> Secret:
    """Make the token for the control endpoints of this process and write it where ``kt gateway`` finds it."""
    token = Secret.from_text(f"ktg_{secrets.token_urlsafe(_ENTROPY_BYTES)}")
    write_private(directory / CONTROL_FILE, token.reveal() + b"\n")
    return token


def find_system(home: Path, api_url: str, token: Secret | None) -> tuple[str, Secret | None]:
    """URL and token of the system: those given, else those that lie in the home of a system on this machine.

    A token that was found goes only to the address its home names.
    """
    try:
        known = str(orjson.loads((home / "state.json").read_bytes()).get("api_url", ""))
    except (OSError, ValueError, AttributeError):
        known = ""
    url = api_url or known
    if not token and url and url == known:
        with contextlib.suppress(OSError):
            token = Secret((home / "admin.token").read_bytes().strip())
    return url, token or None


class EpochFile:
    """The last epoch of the gateway's access log, kept in its home. Losing the file loses no record."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def last(self) -> Epoch | None:
        try:
            known = orjson.loads(self._path.read_bytes())
            return Epoch(str(uuid.UUID(known["epoch"])), ended=known["ended"] is True)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def keep(self, epoch: Epoch) -> None:
        try:
            write_json(self._path, {"epoch": epoch.id, "ended": epoch.ended})
        except OSError as error:
            log.warning("gateway.epoch_not_kept", extra={"reason": error.strerror})


def new_client_key() -> Secret:
    return Secret.from_text(f"ktc_{secrets.token_urlsafe(_ENTROPY_BYTES)}")


def write_json(path: Path, document: dict[str, Any]) -> None:
    write_private(path, orjson.dumps(document))


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only this user may read; readers see the old content or the new one."""
    descriptor, name = tempfile.mkstemp(dir=path.parent)  # created with mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def claim_port(host: str, port: int) -> int:
    """The port to listen on; a free one for 0.

    Raises:
        KtError: ``misconfigured`` when it is taken. Envoy itself would share it with its other user.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise KtError(
                "misconfigured",
                f"The gateway can't listen on port {port}: {error.strerror}.",
                "Choose another --listen.",
            ) from None
        return int(probe.getsockname()[1])
