"""``kt status`` and ``kt doctor``, as far as they go without engines; what ``kt up --detach`` passes on."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

from libs.cli import examination, starting
from libs.cli.progress import Progress
from libs.cli.running import home_at
from libs.common.errors import KtError
from libs.engines.control import ProcessStatus, Status
from tests.unit.cli.conftest import Kt
from tests.unit.cli.fake_api import FakeApi, Reply

READY = {"ready": True, "services": {"keys": True, "audit": True}}
LISTED = Reply(200, {"items": [], "next_cursor": None})


def _running(home: Path, *, ready: bool = True) -> Status:
    processes = (
        ProcessStatus("supervisor", 100, 3725.0, 0, 38 * 2**20),
        ProcessStatus("keys", 101, 59.0, 2, 47 * 2**20),
    )
    return Status(home, "http://127.0.0.1:8080", "nats://127.0.0.1:4222", ready, processes)


def test_status_shows_each_process(kt: Kt, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("libs.engines.control.status", lambda _: _running(home))
    ended = kt("status")
    assert ended.code == 0
    assert ended.out.splitlines()[0].split() == ["STATE", "ready"]
    assert ended.out.splitlines()[-2].split() == ["supervisor", "100", "1", "h", "0", "38", "MiB"]
    assert ended.out.splitlines()[-1].split() == ["keys", "101", "59", "s", "2", "47", "MiB"]
    document = kt("status", "-o", "json").json
    assert (document["ready"], document["memory_bytes"], len(document["processes"])) == (True, 85 * 2**20, 2)


def test_status_tells_by_its_exit_code_that_it_is_not_ready(
    kt: Kt, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("libs.engines.control.status", lambda _: _running(home, ready=False))
    assert kt("status").code == 6


def test_status_and_down_of_a_home_where_nothing_runs(kt: Kt) -> None:
    for command in ("status", "down"):
        ended = kt(command)
        assert ended.code == 6
        assert "kt up" in ended.err


def test_status_of_an_api_elsewhere(kt: Kt, api: FakeApi) -> None:
    api.on("GET", "/readyz", Reply(200, READY))
    ended = kt("status", "--api-url", api.url)
    assert ended.code == 0
    assert "KEYS   ready" in ended.out
    assert "authorization" not in api.asked[0].headers
    assert kt("status", "--api-url", api.url, "-o", "json").json == {"api_url": api.url, **READY}


def test_status_of_an_api_that_lacks_a_service(kt: Kt, api: FakeApi) -> None:
    services = {"keys": True, "audit": False}
    api.problem("GET", "/readyz", 503, "unavailable", detail="Not ready: audit.", ready=False, services=services)
    ended = kt("status", "--api-url", api.url)
    assert ended.code == 6
    assert "AUDIT  not ready" in ended.out
    document = kt("status", "--api-url", api.url, "-o", "json").json
    assert (document["ready"], document["services"]) == (False, services)


def test_doctor_finds_a_healthy_system(kt: Kt, api: FakeApi, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "admin.token").chmod(0o600)
    (home / "master.key").touch(0o600)
    monkeypatch.setattr("libs.engines.control.status", lambda _: _running(home))
    api.on("GET", "/readyz", Reply(200, READY))
    api.on("GET", "/v1/config-variables", LISTED)
    api.on("GET", "/v1/encryption-keys", Reply(200, {"master_fingerprint": "mk-1", "entries": [], "damaged": []}))
    ended = kt("doctor")
    assert ended.code == 0
    assert "wrapped under the master key mk-1; no damage is known" in ended.out
    assert "wrong" not in ended.out
    assert "keys was started again 2 times" in ended.out
    states = {finding["check"]: finding["state"] for finding in kt("doctor", "-o", "json").json["findings"]}
    assert states["token"] == states["api"] == states["Envoy"] == "ok"


def test_doctor_names_what_is_wrong_and_how_to_fix_it(kt: Kt, api: FakeApi, home: Path) -> None:
    home.chmod(0o755)
    (home / "admin.token").chmod(0o644)
    api.on("GET", "/readyz", Reply(200, READY))
    api.problem(
        "GET", "/v1/config-variables", 401, "unauthenticated", detail="The token has expired.", hint="Get one."
    )
    ended = kt("doctor")
    assert ended.code == 1
    assert f"chmod 700 {home}" in ended.out
    assert f"chmod 600 {home / 'admin.token'}" in ended.out
    assert "master.key is missing" in ended.out
    assert "The token has expired." in ended.out


def test_doctor_lists_damaged_keys_and_values(kt: Kt, api: FakeApi, home: Path) -> None:
    api.on("GET", "/readyz", Reply(200, READY))
    api.on("GET", "/v1/config-variables", LISTED)
    key = {"id": "key-1", "purpose": "key-encryption", "state": "damaged"}
    value = {"kind": "config_variable", "name": "OPENAI_API_KEY", "why": "its data key does not open"}
    document = {"master_fingerprint": "mk-1", "entries": [key], "damaged": [value]}
    api.on("GET", "/v1/encryption-keys", Reply(200, document))
    ended = kt("doctor")
    assert ended.code == 1
    assert "key key-1 (key-encryption): damaged" in ended.out
    assert "config_variable OPENAI_API_KEY: its data key does not open" in ended.out


def test_doctor_says_nothing_of_keys_to_a_token_that_may_not_look(kt: Kt, api: FakeApi, home: Path) -> None:
    api.on("GET", "/readyz", Reply(200, READY))
    api.on("GET", "/v1/config-variables", LISTED)
    api.problem("GET", "/v1/encryption-keys", 403, "forbidden", detail="No.")
    findings = kt("doctor", "-o", "json").json["findings"]
    assert "keys" not in {finding["check"] for finding in findings}


def test_doctor_before_the_first_start_finds_nothing_wrong(
    kt: Kt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "new").mkdir()
    monkeypatch.chdir(tmp_path / "new")
    ended = kt("doctor")
    assert ended.code == 0
    assert "does not exist yet" in ended.out


def test_doctor_warns_of_a_disk_that_is_nearly_full(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 100 * 2**20})
    monkeypatch.setattr("libs.cli.examination.shutil.disk_usage", lambda _: usage)
    finding = examination._space(home_at(home))
    assert finding.state == examination.WRONG


def _child(tmp_path: Path, *lines: str, code: int = 0) -> tuple[subprocess.Popen[bytes], Path]:
    log = tmp_path / "up.log"
    script = f"import sys; print({chr(10).join(lines)!r}, flush=True); sys.exit({code})"
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-c", script], stdout=file)
    return process, log


def test_a_detached_start_passes_on_what_is_said_until_ready(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    process, log = _child(tmp_path, "made a master key: here", '{"ready": true, "api_url": "http://127.0.0.1:1"}')
    with log.open() as said:
        assert starting._await_ready(process, said, Progress("starting")) == "http://127.0.0.1:1"
    assert capsys.readouterr().err == "made a master key: here\n"
    process.wait()


def test_a_detached_start_that_fails_says_why(tmp_path: Path) -> None:
    problem = '{"code": "already_running", "status": 409, "detail": "It runs.", "hint": "Use it.", "exit_code": 4}'
    process, log = _child(tmp_path, "starting", problem, code=4)
    with log.open() as said, pytest.raises(KtError, match="It runs") as failed:
        starting._await_ready(process, said, Progress("starting"))
    assert failed.value.kind.exit == 4
    process.wait()


def test_a_detached_start_that_ends_without_a_word_names_its_log(tmp_path: Path) -> None:
    process, log = _child(tmp_path, "starting", code=1)
    with log.open() as said, pytest.raises(KtError) as failed:
        starting._await_ready(process, said, Progress("starting"))
    assert str(log) in failed.value.hint
    process.wait()


def test_lines_are_read_when_they_are_whole() -> None:
    said = io.StringIO("one\ntw")
    assert list(starting._lines(said)) == ["one"]
    said.seek(0, io.SEEK_END)
    said.write("o\n")
    said.seek(4)
    assert list(starting._lines(said)) == ["two"]


def test_the_reason_a_service_gave_is_told_rather_than_its_log() -> None:
    line = '{"event": "service.failed", "code": "wrong_master_key", "detail": "Another key.", "hint": "Set it."}'
    cause = starting._cause(
        KtError("engine_failed", "keys did not start.", f"Last lines:\n{line}\nkeys: Another key.")
    )
    assert (cause.code, cause.detail, cause.hint) == ("wrong_master_key", "Another key.", "Set it.")
    other = KtError("engine_failed", "nats did not start.", "Last lines:\nnot json")
    assert starting._cause(other) is other
