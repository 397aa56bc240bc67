"""kill -9 at every step of a restore: nothing is lost, and nothing half restored is ever used."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from demo.stage import Stage
from libs.common.errors import Exit
from tests.e2e.conftest import System, running

VARIABLES = "/v1/config-variables"
STEPS = (
    "verifying the archive",
    "preparing the database",
    "restoring the sealed store",
    "restoring KT_ACCESS",
    "comparing KT_ACCESS",
    "restoring KT_EVENTS",
    "comparing KT_EVENTS",
    "writing to disk",
)
_DYING = """
import asyncio, os, signal, sys
from pathlib import Path
from libs.backup.archive import Archive
from libs.backup.progress import Silent
from libs.backup.restore import restore_into_home
from libs.common.clock import SystemClock
from libs.engines.home import Home

class Dying(Silent):
    "Ends the process at the begin of a step, or once something of it was done."
    begun = ""
    def step(self, what, total):
        self.begun = what
        if sys.argv[3:] == [what]:
            os.kill(os.getpid(), signal.SIGKILL)
    def moved(self, units):
        if sys.argv[3:] == [self.begun, "under way"]:
            os.kill(os.getpid(), signal.SIGKILL)

with open(sys.argv[1], "rb") as file:
    asyncio.run(restore_into_home(Archive.read(file), Home(Path(sys.argv[2])), SystemClock(), Dying()))
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An archive, and its master key."""
    folder = tmp_path_factory.mktemp("saved")
    key = folder / "master.key"
    for system in running(folder):
        for number in range(20):
            assert system.create(f"K{number}", f"value {number}").status == 201
        assert system.http("POST", "/v1/machine/resolve", {"references": ["K0", "K1"]}).status == 200
        system.kt("backup", "create", str(folder / "backup.tar"))
        key.write_bytes((system.stage.home / "master.key").read_bytes())
    return folder / "backup.tar", key


def restore(archive: Path, home: Path, *at: str) -> int:
    """Restore until the process dies at a step; without one to the end."""
    words = [sys.executable, "-P", "-c", _DYING, str(archive), str(home), *at]
    return subprocess.run(words, capture_output=True, timeout=120, check=False).returncode


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def restored_in_the_end(archive: Path, home: Path, key: Path) -> None:
    Stage(home).kt("backup", "restore", str(archive), "--into", str(home), "--master-key-file", str(key))
    stage = Stage(home, {"KEEPTRUSTS_SECRET_ENCRYPTION_KEY_FILE": str(key)})
    try:
        url = stage.start("up", until="ready ").split()[1]
        system = System(stage, url, (stage.home / "admin.token").read_text().strip())
        names = [f"K{number}" for number in range(20)]
        answer = system.http("POST", "/v1/machine/resolve", {"references": names})
        assert [result["value"] for result in answer.body["results"]] == [f"value {n}" for n in range(20)]
        log = json.loads(system.kt("events", "list", "--limit", "1000", "--output", "json"))["items"]
        assert sum("kt.config_variable.created.v1" in json.dumps(item) for item in log) == len(names)
    finally:
        stage.close()


def interrupted(archive: Path, home: Path, *at: str) -> None:
    before = digest(archive)
    assert restore(archive, home, *at) == -signal.SIGKILL
    if home.exists():
        assert (home / "restore.incomplete").exists()
        Stage(home).kt("up", code=Exit.USAGE)
    assert digest(archive) == before


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_a_restore_that_was_killed_at_every_step_ends_well(archive: tuple[Path, Path], tmp_path: Path) -> None:
    file, key = archive
    for step in STEPS:
        interrupted(file, tmp_path / "home", step)
        if step.startswith(("restoring", "comparing")):
            interrupted(file, tmp_path / "home", step, "under way")
    restored_in_the_end(file, tmp_path / "home", key)
