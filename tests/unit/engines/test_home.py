"""The home directory: layout, keys, one supervisor at a time."""

import base64
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from libs.common.errors import KtError
from libs.engines.home import Home, ProcessState, State, jwt_keys_environment, master_key_environment


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.prepare()
    return home


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_home_is_named_by_the_environment_and_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Home.from_environment({}).path == tmp_path / ".keeptrusts"
    assert Home.from_environment({"KEEPTRUSTS_HOME": "there"}).path == tmp_path / "there"


def test_every_directory_is_private(home: Home) -> None:
    home.path.chmod(0o755)
    home.prepare()
    assert {mode(path) for path in (home.path, home.identities, home.logs, home.gateways)} == {0o700}


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(KtError) as refused:
        Home(tmp_path / "home").prepare()
    assert refused.value.code == "misconfigured"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_home_of_somebody_else_is_refused(home: Home) -> None:
    os.chown(home.path, 12345, 12345)
    with pytest.raises(KtError, match="belongs to user 12345"):
        home.prepare()


def test_the_master_key_is_made_once_with_256_bits_and_private(home: Home) -> None:
    first, made = master_key_environment(home, {})
    key = home.master_key.read_bytes()
    second, made_again = master_key_environment(home, {})
    assert (made, made_again) == (True, False)
    assert first == second == {"KEEPTRUSTS_SECRET_ENCRYPTION_KEY_FILE": str(home.master_key)}
    assert home.master_key.read_bytes() == key
    assert len(base64.b64decode(key, validate=True)) == 32
    assert mode(home.master_key) == 0o600


@pytest.mark.parametrize("name", ["KEEPTRUSTS_SECRET_ENCRYPTION_KEY", "KEEPTRUSTS_SECRET_ENCRYPTION_KEY_FILE"])
def test_a_given_master_key_wins_and_none_is_made(home: Home, name: str) -> None:
    previous = {"KEEPTRUSTS_SECRET_ENCRYPTION_KEY_PREVIOUS": "before"}
    environment, made = master_key_environment(home, {name: "given", "PATH": "/bin", **previous})
    assert environment == {name: "given", **previous}
    assert not made
    assert not home.master_key.exists()


def test_a_used_home_without_its_master_key_gets_no_fresh_one(home: Home) -> None:
    home.postgres.mkdir()
    with pytest.raises(KtError) as refused:
        master_key_environment(home, {})
    assert refused.value.code == "misconfigured"
    assert not home.master_key.exists()


def test_a_jwt_key_is_made_once_unless_keys_are_given(home: Home) -> None:
    assert jwt_keys_environment(home, {"KEEPTRUSTS_JWT_VERIFICATION_KEYS": "a:b"}) == {
        "KEEPTRUSTS_JWT_VERIFICATION_KEYS": "a:b"
    }
    assert not home.jwt_keys.exists()
    assert jwt_keys_environment(home, {}) == jwt_keys_environment(home, {})
    kid, _, secret = home.jwt_keys.read_text().partition(":")
    assert kid
    assert len(base64.urlsafe_b64decode(secret + "=")) == 32
    assert mode(home.jwt_keys) == 0o600


def test_the_state_is_read_back_as_it_was_written(home: Home) -> None:
    state = State("http://127.0.0.1:1", "nats://127.0.0.1:2", 3, True, {"keys": ProcessState(4, 5.5, 6)})
    home.write_state(state)
    assert home.state() == state


@pytest.mark.parametrize("content", ["", "{", "[]", '{"unknown": 1}', '{"processes": {"keys": {}}}'])
def test_a_state_that_cannot_be_read_counts_as_none(home: Home, content: str) -> None:
    (home.path / "state.json").write_text(content)
    assert home.state() == State()


def test_one_supervisor_holds_the_home(home: Home) -> None:
    assert home.supervisor() is None
    with home.supervised():
        home.write_state(State(api_url="http://127.0.0.1:8080"))
        assert home.supervisor() == os.getpid()
        with pytest.raises(KtError) as refused, home.supervised():
            pass
    assert home.supervisor() is None
    assert refused.value.code == "already_running"
    assert str(os.getpid()) in refused.value.detail
    assert "http://127.0.0.1:8080" in refused.value.detail


def test_a_killed_supervisor_leaves_the_home_free(home: Home) -> None:
    script = (
        "import sys, os, signal; from pathlib import Path; from libs.engines.home import Home\n"
        "with Home(Path(sys.argv[1])).supervised(): os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", script, str(home.path)], check=False, timeout=30)
    assert home.supervisor() is None
    with home.supervised():
        assert home.supervisor() == os.getpid()
