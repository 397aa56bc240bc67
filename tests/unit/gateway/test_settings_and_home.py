"""What a gateway process is told, and the files it keeps."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from libs.common.errors import KtError
from libs.common.secret import Secret
from services.gateway.adapters.envoy.clusters import find_ca_bundle
from services.gateway.adapters.home import (
    claim_port,
    find_system,
    gateway_home,
    new_client_key,
    new_control_token,
    runtime_directory,
)
from services.gateway.settings import GatewaySettings, local_url


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KEEPTRUSTS_HOME", "KEEPTRUSTS_API_URL", "KEEPTRUSTS_TOKEN", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("10.0.0.1:41002", ("10.0.0.1", 41002)),
        ("localhost:0", ("127.0.0.1", 0)),
        (":41002", ("127.0.0.1", 41002)),
        ("[::1]:41002", ("::1", 41002)),
        ("[::]:80", ("::", 80)),
    ],
)
def test_listen_addresses(listen: str, address: tuple[str, int]) -> None:
    assert GatewaySettings.of(policy_config=Path("x"), listen=listen).address() == address


@pytest.mark.parametrize(
    "listen", ["", "41002", "host:1", "127.0.0.1:", "127.0.0.1:-1", "127.0.0.1:٣", "127.0.0.1:65536"]
)
def test_what_is_no_listen_address_is_refused(listen: str) -> None:
    with pytest.raises(KtError) as error:
        GatewaySettings.of(policy_config=Path("x"), listen=listen)
    assert error.value.code == "misconfigured"


def test_settings_come_from_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEEPTRUSTS_GATEWAY_POLICY_CONFIG", "a.yaml")
    monkeypatch.setenv("KEEPTRUSTS_GATEWAY_ALLOW_ANONYMOUS", "true")
    monkeypatch.setenv("KEEPTRUSTS_HOME", "/somewhere")
    monkeypatch.setenv("KEEPTRUSTS_TOKEN", "a-token")
    monkeypatch.setenv("KEEPTRUSTS_GATEWAY_CLIENT_KEY", "a-client-key")
    settings = GatewaySettings.of()
    assert (settings.policy_config, settings.allow_anonymous, settings.home) == (
        Path("a.yaml"),
        True,
        Path("/somewhere"),
    )
    assert (settings.token, settings.client_key) == (Secret(b"a-token"), Secret(b"a-client-key"))
    assert "a-token" not in repr(settings)
    assert "a-client-key" not in repr(settings)


def test_settings_that_do_not_fit_are_named_and_not_repeated() -> None:
    with pytest.raises(KtError) as error:
        GatewaySettings.of(concurrency="canary")
    assert error.value.code == "misconfigured"
    assert "policy_config" in str(error.value)
    assert "concurrency" in str(error.value)
    assert "canary" not in str(error.value)


REPOSITORY = "git+https://git.example.com/gateways.git#config.yaml@main"


def test_a_policy_config_is_a_file_or_a_place_in_a_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    assert GatewaySettings.of(policy_config="git/config.yaml").policy_config == Path("git/config.yaml")
    monkeypatch.setenv("KEEPTRUSTS_GATEWAY_POLICY_CONFIG", REPOSITORY)
    monkeypatch.setenv("KEEPTRUSTS_GATEWAY_GIT_TOKEN", "REPO")
    settings = GatewaySettings.of()
    assert str(settings.policy_config) == REPOSITORY
    assert (settings.git_token, settings.git_username, settings.git_poll_seconds) == ("REPO", "x-access-token", 60.0)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"policy_config": "git+https://x:cnry@git.example.com/c.git#c.yaml"}, "a user name or password"),
        ({"policy_config": "git+http://git.example.com/c.git#c.yaml"}, "clear text"),
        ({"policy_config": "config.yaml", "git_token": "REPO"}, "this one is a file"),
        ({"git_username": "cnry:name"}, "without a colon"),
        ({"git_username": ""}, "without a colon"),
        ({"git_poll_seconds": 1}, "5 seconds or more"),
        ({"git_poll_seconds": -1}, "git_poll_seconds"),
        ({"git_timeout_seconds": 0}, "git_timeout_seconds"),
        ({"git_timeout_seconds": float("nan")}, "git_timeout_seconds"),
        ({"git_poll_seconds": float("nan")}, "git_poll_seconds"),
    ],
)
def test_what_does_not_fit_a_repository_is_refused_and_not_repeated(given: dict[str, object], told: str) -> None:
    with pytest.raises(KtError) as error:
        GatewaySettings.of(**{"policy_config": REPOSITORY, **given})
    assert error.value.code == "misconfigured"
    assert told in str(error.value)
    assert "cnry" not in str(error.value)


def test_a_git_token_is_given_by_name_and_a_pasted_one_is_not_repeated() -> None:
    for pasted in ("ghp_0123456789abcdefghijklmnopqrstuvwxyz", "cnry name"):
        with pytest.raises(KtError) as error:
            GatewaySettings.of(policy_config=REPOSITORY, git_token=pasted)
        assert error.value.code in ("name_looks_like_secret", "invalid_name")
        assert pasted not in str(error.value)


@pytest.mark.parametrize("place", ["git+http://127.0.0.1:3000/c.git#c.yaml", "git+http://localhost/c.git#c.yaml"])
def test_clear_text_is_for_this_machine_or_by_permission(place: str) -> None:
    GatewaySettings.of(policy_config=place)
    GatewaySettings.of(policy_config="git+http://git.internal/c.git#c.yaml", git_allow_http=True)


def test_a_name_that_is_no_identity_is_refused() -> None:
    with pytest.raises(KtError) as error:
        GatewaySettings.of(policy_config=Path("x"), name="a.b")
    assert error.value.code == "invalid_name"


@pytest.mark.parametrize(
    ("host", "url"),
    [("0.0.0.0", "http://127.0.0.1:1"), ("::", "http://[::1]:1"), ("10.0.0.1", "http://10.0.0.1:1")],  # noqa: S104
)
def test_the_url_on_this_machine(host: str, url: str) -> None:
    assert local_url(host, 1) == url


def test_a_home_belongs_to_one_gateway_of_a_name(tmp_path: Path) -> None:
    with gateway_home(tmp_path / "home", "a") as directory:
        assert directory.stat().st_mode & 0o777 == 0o700
        with gateway_home(tmp_path / "home", "b"):
            pass
        with pytest.raises(KtError) as error, gateway_home(tmp_path / "home", "a"):
            pass
        assert error.value.code == "already_running"
    with gateway_home(tmp_path / "home", "a"):
        pass


def test_the_control_token_is_private_and_new_at_every_start(tmp_path: Path) -> None:
    first, second = new_control_token(tmp_path), new_control_token(tmp_path)
    path = tmp_path / "control.token"
    assert first != second
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_bytes().strip() == second.reveal()
    assert len(new_client_key()) >= 40


def test_the_runtime_directory_is_private_short_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with runtime_directory() as directory:
        assert directory.stat().st_mode & 0o777 == 0o700
        with socket.socket(socket.AF_UNIX) as unix:
            unix.bind(str(directory / "admin.sock"))
    assert not directory.exists()


def test_a_port_that_is_taken_is_refused_and_zero_finds_one() -> None:
    port = claim_port("127.0.0.1", 0)
    assert claim_port("127.0.0.1", port) == port
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(KtError) as error:
            claim_port("127.0.0.1", port)
    assert error.value.code == "misconfigured"


def test_the_system_of_a_home_is_found_and_its_token_goes_nowhere_else(tmp_path: Path) -> None:
    given = Secret(b"given")
    assert find_system(tmp_path, "", None) == ("", None)
    (tmp_path / "state.json").write_text(json.dumps({"api_url": "http://127.0.0.1:8080"}))
    (tmp_path / "admin.token").write_text("found\n")
    assert find_system(tmp_path, "", None) == ("http://127.0.0.1:8080", Secret(b"found"))
    assert find_system(tmp_path, "", given) == ("http://127.0.0.1:8080", given)
    assert find_system(tmp_path, "https://other.example.com", None) == ("https://other.example.com", None)
    assert find_system(tmp_path, "https://other.example.com", given) == ("https://other.example.com", given)
    assert find_system(tmp_path, "", Secret(b""))[1] == Secret(b"found")
    (tmp_path / "state.json").write_text("nonsense")
    assert find_system(tmp_path, "", None) == ("", None)


def test_the_bundle_of_roots_is_the_given_one_else_the_first_of_the_usual_places(tmp_path: Path) -> None:
    (tmp_path / "b.pem").touch()
    usual = [str(tmp_path / "a.pem"), str(tmp_path / "b.pem")]
    assert find_ca_bundle("", usual) == usual[1]
    assert find_ca_bundle(usual[1], []) == usual[1]
    assert find_ca_bundle("", usual[:1]) == ""
    with pytest.raises(KtError) as error:
        find_ca_bundle(usual[0], usual)
    assert error.value.code == "misconfigured"
