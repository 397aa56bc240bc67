"""``KEEPTRUSTS_HOME``: everything one installation keeps, readable by its owner alone."""

from __future__ import annotations

import base64
import fcntl
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import orjson

from libs.common.errors import KtError
from libs.engines.files import PRIVATE_FILE, private_directory, write_private

DEFAULT_HOME: Final = ".keeptrusts"
MASTER_KEY: Final = "KEEPTRUSTS_SECRET_ENCRYPTION_KEY"
JWT_KEYS: Final = "KEEPTRUSTS_JWT_VERIFICATION_KEYS"
_KEY_BYTES: Final = 32
_LOCK_SECONDS: Final = 0.3


@dataclass(frozen=True, slots=True)
class ProcessState:
    """One supervised process, as ``state.json`` tells it. ``started`` is in Unix seconds."""

    pid: int
    started: float
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class State:
    """What others may know of a running installation; holds no secret."""

    api_url: str = ""
    nats_url: str = ""
    supervisor: int = 0
    ready: bool = False
    processes: Mapping[str, ProcessState] = field(default_factory=dict)

    @classmethod
    def from_json(cls, raw: bytes) -> Self:
        document: dict[str, Any] = orjson.loads(raw)
        processes = {name: ProcessState(**entry) for name, entry in document.pop("processes", {}).items()}
        return cls(**document, processes=processes)

    def to_json(self) -> bytes:
        return orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2)


@dataclass(frozen=True, slots=True)
class Home:
    """The layout. Making the object touches nothing; :meth:`prepare` makes the directories."""

    path: Path

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        return cls(Path(environment.get("KEEPTRUSTS_HOME") or DEFAULT_HOME).expanduser().absolute())

    def prepare(self) -> None:
        """Make the directories (0700).

        Raises:
            KtError: ``misconfigured`` when the home can't be used, belongs to somebody else, or was restored in part.
        """
        if self.restore_incomplete.exists():
            raise KtError(
                "misconfigured",
                f"{self.path} is not complete: a backup is being restored into it, or that was interrupted.",
                "Run `kt backup restore` again with the same directory; it begins anew.",
            )
        for directory in (self.path, self.identities, self.logs, self.gateways):
            private_directory(directory)

    @property
    def admin_token(self) -> Path:
        return self.path / "admin.token"

    @property
    def master_key(self) -> Path:
        return self.path / "master.key"

    @property
    def jwt_keys(self) -> Path:
        return self.path / "jwt.keys"

    @property
    def restore_incomplete(self) -> Path:
        """Is there while a backup is being restored into the home, and stays when that is interrupted."""
        return self.path / "restore.incomplete"

    @property
    def restored(self) -> Path:
        """Tells of the backup the home was restored from."""
        return self.path / "restored.json"

    @property
    def identities(self) -> Path:
        return self.path / "identities"

    @property
    def nats(self) -> Path:
        return self.path / "nats"

    @property
    def postgres(self) -> Path:
        return self.path / "postgres"

    @property
    def gateways(self) -> Path:
        return self.path / "gateways"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def log(self, process: str) -> Path:
        return self.logs / f"{process}.log"

    def state(self) -> State:
        """The last state written; the empty one when there is none that can be read."""
        try:
            return State.from_json((self.path / "state.json").read_bytes())
        except (OSError, ValueError, TypeError):
            return State()

    def write_state(self, state: State) -> None:
        write_private(self.path / "state.json", state.to_json())

    @contextmanager
    def supervised(self) -> Iterator[None]:
        """Hold the home for one supervisor; ``supervisor.pid`` names it.

        Raises:
            KtError: ``already_running``, naming process and URL of the one that holds it.
        """
        descriptor = os.open(self.pid_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
        try:
            if not _locked(descriptor):
                raise self._already_running(_read_pid(descriptor))
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            yield
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    def supervisor(self) -> int | None:
        """Process id of the supervisor that holds the home; None when none does."""
        try:
            descriptor = os.open(self.pid_file, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read_pid(descriptor)
        else:
            return None
        finally:
            os.close(descriptor)

    def _already_running(self, pid: int) -> KtError:
        url = self.state().api_url
        return KtError(
            "already_running",
            f"The system already runs from {self.path} (process {pid}, {url or 'starting'}).",
            "Use it, stop it with `kt down`, or choose another KEEPTRUSTS_HOME.",
            extra={"api_url": url, "pid": pid},
        )

    @property
    def pid_file(self) -> Path:
        return self.path / "supervisor.pid"


def master_key_environment(home: Home, environment: Mapping[str, str]) -> tuple[dict[str, str], bool]:
    """The variables that tell the key service its master key, and whether the key was made just now.

    A key given in the environment wins, and then none is made.

    Raises:
        KtError: ``misconfigured`` when the home has been used and its key is neither given nor there: a fresh key
            could open nothing of what it holds.
    """
    names = (MASTER_KEY, f"{MASTER_KEY}_FILE", f"{MASTER_KEY}_PREVIOUS", f"{MASTER_KEY}_PREVIOUS_FILE")
    given = {name: environment[name] for name in names if environment.get(name)}
    if MASTER_KEY in given or f"{MASTER_KEY}_FILE" in given:
        return given, False
    made = not home.master_key.exists()
    if made:
        if home.postgres.exists():
            raise KtError(
                "misconfigured",
                f"{home.path} holds sealed secrets, but their master key{_needed(home)} is neither in {MASTER_KEY} "
                f"nor in {home.master_key.name}.",
                f"Set {MASTER_KEY} to the key this home was used with, or put the key file back.",
            )
        write_private(home.master_key, base64.b64encode(secrets.token_bytes(_KEY_BYTES)))
    return {**given, f"{MASTER_KEY}_FILE": str(home.master_key)}, made


def _needed(home: Home) -> str:
    """Which key that is, where a restore has put it down."""
    try:
        names = orjson.loads(home.restored.read_bytes())["master_fingerprints"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return f" ({' and '.join(map(str, names))})"


def jwt_keys_environment(home: Home, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that tell the api service its JWT keys; keys given in the environment win, else one is kept."""
    given = {name: environment[name] for name in (JWT_KEYS, f"{JWT_KEYS}_FILE") if environment.get(name)}
    if given:
        return given
    if not home.jwt_keys.exists():
        write_private(home.jwt_keys, f"{secrets.token_hex(4)}:{secrets.token_urlsafe(_KEY_BYTES)}")
    return {f"{JWT_KEYS}_FILE": str(home.jwt_keys)}


def _locked(descriptor: int) -> bool:
    """Take the lock. :meth:`Home.supervisor` holds it for an instant when it looks, so the first refusal may pass."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)


def _read_pid(descriptor: int) -> int:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else 0
