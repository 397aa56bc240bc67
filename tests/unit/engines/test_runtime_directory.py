"""A socket directory whose path is short enough."""

import os
import shutil
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from libs.common.errors import KtError
from libs.engines.runtime_directory import short_directory

OWNER = (os.geteuid(), os.getegid())


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    directory = Path("/tmp") / f"kt-test-{os.getpid()}-{abs(hash(tmp_path)) % 10**8}"  # noqa: S108
    directory.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(directory))
    yield directory
    shutil.rmtree(directory)


def deep(tmp_path: Path) -> Path:
    return tmp_path.joinpath(*["d" * 40] * 4) / "socket"


def test_a_short_path_is_used_itself(tmp_path: Path) -> None:
    wanted = Path("/tmp") / f"kt-test-{os.getpid()}-short"  # noqa: S108
    try:
        assert short_directory(wanted, OWNER) == wanted
        assert stat.S_IMODE(wanted.stat().st_mode) == 0o700
    finally:
        wanted.rmdir()


def test_a_deep_path_gets_a_private_stand_in_in_which_a_socket_fits(tmp_path: Path, runtime: Path) -> None:
    directory = short_directory(deep(tmp_path), OWNER)
    assert directory.parent == runtime
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / ".s.PGSQL.5432.lock"))


def test_the_stand_in_is_the_same_every_time_and_another_for_another_home(tmp_path: Path, runtime: Path) -> None:
    first = short_directory(deep(tmp_path), OWNER)
    assert short_directory(deep(tmp_path), OWNER) == first
    assert short_directory(deep(tmp_path / "other"), OWNER) != first


def test_a_stand_in_prepared_by_somebody_else_is_refused(tmp_path: Path, runtime: Path) -> None:
    stand_in = short_directory(deep(tmp_path), OWNER)
    stand_in.rmdir()
    (runtime / "elsewhere").mkdir()
    stand_in.symlink_to(runtime / "elsewhere")
    with pytest.raises(KtError) as refused:
        short_directory(deep(tmp_path), OWNER)
    assert refused.value.code == "engine_failed"
