"""A backup under write load, put back elsewhere: nothing that was acknowledged is missing, and everything opens."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from demo.stage import Stage, eventually
from libs.common.errors import Exit
from libs.common.stream_reader import stream_range
from libs.engines.home import Home
from libs.engines.permissions import PROVISIONER
from tests.e2e.conftest import System, running
from tests.e2e.secrets_search import Search
from tests.e2e.test_crash import Burst
from tests.e2e.test_interrupted_restore import interrupted
from tests.engines import PostgresEngine, running_nats, running_postgres
from tests.unit.backup.independent_reader import is_marked, members, read_secret

VARIABLES = "/v1/config-variables"
WRITERS = 3
BURST_VALUE = "burst-value"

_DYING = """
import asyncio, os, signal, sys
from pathlib import Path
from libs.backup.create import create
from libs.backup.progress import Silent
from libs.backup.source import Source
from libs.common.clock import SystemClock
from libs.engines.home import Home

class Dying(Silent):
    def step(self, what, total):
        if what == sys.argv[3]:
            os.kill(os.getpid(), signal.SIGKILL)

home = Home(Path(sys.argv[1]))
asyncio.run(create(Source.of_home(home, home.state().nats_url), Path(sys.argv[2]), SystemClock(), "0", Dying()))
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[System, Path, list[str]]]:
    """A system with a history, a backup that was taken while it was written to, and what was acknowledged before."""
    folder = tmp_path_factory.mktemp("backup")
    for system in running(folder):
        history(system)
        yield system, folder / "backup.tar", saved_under_load(system, folder / "backup.tar")


def saved_under_load(system: System, archive: Path) -> list[str]:
    """Take a backup while others write. Returns the names that were acknowledged before it began."""
    burst = Burst(system)
    threads = [threading.Thread(target=burst.run) for _ in range(WRITERS)]
    for thread in threads:
        thread.start()
    try:
        eventually(lambda: len(burst.acknowledged) >= 20, "writes flow", 30)
        acknowledged = list(burst.acknowledged)
        system.kt("backup", "create", str(archive))
        assert len(burst.acknowledged) > len(acknowledged), "writes went on"
    finally:
        burst.stop.set()
        for thread in threads:
            thread.join(15)
    assert set(burst.refused) == set(), "no write was refused"
    return acknowledged


def history(system: System) -> None:
    for name in ("KEPT", "GONE", "THINNED"):
        assert system.create(name, f"first value of {name}").status == 201
        assert system.http("POST", f"{VARIABLES}/{name}/rotate", {"value": f"value of {name}"}).status == 200
    assert system.http("DELETE", f"{VARIABLES}/GONE").status == 204
    assert system.http("DELETE", f"{VARIABLES}/THINNED/versions/1").status == 204
    assert set(resolve(system, "KEPT", "THINNED")) == {"KEPT", "THINNED"}


def resolve(system: System, *names: str) -> dict[str, str]:
    answer = system.http("POST", "/v1/machine/resolve", {"references": list(names)})
    assert answer.status == 200, answer.body
    return {result["reference"]: result["value"] for result in answer.body["results"]}


def audit_log(system: System) -> dict[str, Any]:
    """Every entry by its position."""
    printed = json.loads(system.kt("events", "list", "--limit", "100000", "--output", "json"))
    return {f"{item['stream']}:{item['sequence']}": item for item in printed["items"]}


def audit_log_with(system: System, positions: set[str]) -> dict[str, Any]:
    """The log, once it holds these; a restored one is written anew from the streams."""
    found: dict[str, Any] = {}

    def complete() -> bool:
        found.update(audit_log(system))
        return positions <= set(found)

    eventually(complete, "the audit log holds what the streams hold", 60)
    return found


def verified(archive: Path, system: System) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(system.kt("backup", "verify", str(archive), "--output", "json"))
    return document


def last_sequences(manifest: dict[str, Any]) -> dict[str, int]:
    return {stream["name"]: stream["last_sequence"] for stream in manifest["streams"]}


def on_record(system: System, event_type: str) -> list[dict[str, Any]]:
    """The events of a type, once the log holds one."""
    found: list[dict[str, Any]] = []

    def there() -> bool:
        query = ("events", "list", "--filter", f"type={event_type}", "--limit", "100", "--output", "json")
        found[:] = json.loads(system.kt(*query))["items"]
        return bool(found)

    eventually(there, f"{event_type} is on record", 30)
    return found


@pytest.mark.timeout(300)
def test_what_was_acknowledged_before_a_backup_is_there_after_its_restore(
    saved: tuple[System, Path, list[str]], tmp_path: Path
) -> None:
    system, archive, acknowledged = saved
    manifest = verified(archive, system)
    cut = last_sequences(manifest)
    key = system.stage.home / "master.key"
    interrupted(archive, tmp_path / "new", "restoring KT_EVENTS", "under way")
    system.kt("backup", "restore", str(archive), "--into", str(tmp_path / "new"), "--master-key-file", str(key))
    stage = Stage(tmp_path / "new", {"KEEPTRUSTS_SECRET_ENCRYPTION_KEY_FILE": str(key)})
    try:
        url = stage.start("up", until="ready ").split()[1]
        restored = System(stage, url, (stage.home / "admin.token").read_text().strip())
        names = [item["name"] for item in json.loads(restored.kt("vars", "list", "--output", "json"))["items"]]
        assert set(names) >= {"KEPT", "THINNED", *acknowledged}
        assert "GONE" not in names
        for start in range(0, len(names), 100):
            # Each event of the archive refers to a value that is in it.
            values = resolve(restored, *names[start : start + 100])
            assert all(values[n] == BURST_VALUE for n in values if n.startswith("burst."))
        assert resolve(restored, "KEPT") == {"KEPT": "value of KEPT"}
        assert restored.http("POST", f"{VARIABLES}/KEPT/rollback", {"version": 1}).status == 200
        assert restored.http("POST", f"{VARIABLES}/THINNED/rollback", {"version": 1}).status == 404
        saved_positions = {f"{stream}:{number}" for stream, last in cut.items() for number in range(1, last + 1)}
        logs = [audit_log_with(one, saved_positions) for one in (system, restored)]
        before, after = ({position: log[position] for position in saved_positions} for log in logs)
        assert before == after
        restored_as_told(restored, manifest, logs[1])
    finally:
        stage.close()


def restored_as_told(restored: System, manifest: dict[str, Any], log: dict[str, Any]) -> None:
    """Behind what the archive holds, nothing is on record before the restore that took a value."""
    (event,) = on_record(restored, "kt.backup.restored.v1")
    data = event["data"]
    assert data["actor"] == {"type": "service", "id": "provisioner"}
    assert data["resource"] == {"type": "backup", "id": manifest["id"]}
    assert (data["detail"]["taken_at"], data["detail"]["into"]) == (manifest["created_at"], "home")
    last = last_sequences(manifest)["KT_EVENTS"]
    between = [log[f"KT_EVENTS:{n}"] for n in range(last + 1, event["sequence"])]
    assert {item["type"] for item in between} <= {"kt.signing_keys.changed.v1"}


def test_a_backup_is_on_record_with_what_it_holds_and_without_where_it_is(
    saved: tuple[System, Path, list[str]],
) -> None:
    system, archive, _ = saved
    manifest = verified(archive, system)
    content = members(str(archive))["manifest.json"]
    (event,) = [e for e in on_record(system, "kt.backup.created.v1") if e["data"]["resource"]["id"] == manifest["id"]]
    assert event["data"]["actor"] == {"type": "service", "id": "backup"}
    assert event["data"]["detail"] == {
        "manifest_sha256": hashlib.sha256(content).hexdigest(),
        "taken_at": manifest["created_at"],
        "streams": [{"stream": name, "last": last} for name, last in last_sequences(manifest).items()],
        "values": manifest["sealed_store"]["values"],
        "master_fingerprints": manifest["sealed_store"]["master_fingerprints"],
    }
    assert archive.name not in json.dumps(event)


def test_a_backup_that_cannot_be_put_on_record_is_not_there(
    saved: tuple[System, Path, list[str]], tmp_path: Path
) -> None:
    system = saved[0]
    recorder = Home(system.stage.home).state().processes["command"].pid
    os.kill(recorder, signal.SIGSTOP)
    try:
        system.kt("backup", "create", str(tmp_path / "unrecorded.tar"), code=Exit.UNREACHABLE)
    finally:
        os.kill(recorder, signal.SIGCONT)
    assert list(tmp_path.iterdir()) == []


def test_a_few_independent_lines_read_the_archive_of_the_real_system(
    saved: tuple[System, Path, list[str]], tmp_path: Path
) -> None:
    system, archive, _ = saved
    master_key = (system.stage.home / "master.key").read_text()
    assert read_secret(str(archive), "KEPT", master_key) == b"value of KEPT"
    assert read_secret(str(archive), "KEPT", master_key, version=1) == b"first value of KEPT"
    assert read_secret(str(archive), "THINNED", master_key) == b"value of THINNED"
    assert is_marked(str(archive), master_key)
    for name, version in (("THINNED", 1), ("GONE", 1), ("GONE", 2)):
        with pytest.raises(StopIteration):
            read_secret(str(archive), name, master_key, version)
    values = [f"{first}value of {name}" for first in ("", "first ") for name in ("KEPT", "GONE", "THINNED")]
    assert list(Search({value: value for value in values}).bytes(archive.read_bytes(), "archive")) == []
    file = tmp_path / "value"
    words = ("recover", str(archive), "KEPT", "--master-key-file", str(system.stage.home / "master.key"))
    file.write_text(system.kt(*words))
    assert file.read_text() == "value of KEPT"


@pytest.mark.parametrize("step", ["copying KT_EVENTS", "copying the sealed store"])
def test_a_backup_that_was_killed_is_not_there_and_hinders_nothing(
    saved: tuple[System, Path, list[str]], tmp_path: Path, step: str
) -> None:
    system, target = saved[0], tmp_path / "again.tar"
    words = [sys.executable, "-P", "-c", _DYING, str(system.stage.home), str(target), step]
    assert subprocess.run(words, capture_output=True, timeout=60, check=False).returncode == -signal.SIGKILL
    assert not target.exists()
    system.kt("backup", "create", str(target))
    system.kt("backup", "verify", str(target))


def test_empty_engines_that_run_elsewhere_are_filled_once(
    saved: tuple[System, Path, list[str]], tmp_path: Path
) -> None:
    archive = saved[1]
    with running_postgres(tmp_path / "postgres") as postgres:
        asyncio.run(filled(archive, postgres, tmp_path))


async def filled(archive: Path, postgres: PostgresEngine, folder: Path) -> None:
    async with running_nats(folder / "nats") as bus:
        settings = {
            "KEEPTRUSTS_NATS_URL": bus.url,
            "KEEPTRUSTS_NATS_CREDS": str(bus.creds(PROVISIONER)),
            "KEEPTRUSTS_POSTGRES_ADMIN_DSN": postgres.admin_dsn,
        }
        stage = Stage(folder / "none", settings)
        words = ("backup", "restore", str(archive), "--into-engines", str(postgres.passwords), "--output", "json")
        manifest = json.loads(await asyncio.to_thread(stage.kt, *words))
        client = await bus.connect("audit")
        for stream in manifest["streams"]:
            expected = stream["first_sequence"], stream["last_sequence"]
            assert await stream_range(client, stream["name"]) == expected
        with psycopg.connect(postgres.dsns["keys"]) as connection:
            values = connection.execute("SELECT count(*) FROM keys.sealed_values").fetchone()
            told = connection.execute("SELECT taken_at, into_what FROM keys.restore_notices").fetchall()
        assert values == (manifest["sealed_store"]["values"],)
        assert told == [(manifest["created_at"], "engines")]
        await asyncio.to_thread(stage.kt, *words, code=Exit.CONFLICT)
