"""A repository over smart HTTP: refs, files, servers that misbehave; and the real Git as a server."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from libs.common.errors import KtError
from libs.common.secret import Secret
from services.gateway.adapters.git import repository as module
from services.gateway.adapters.git.repository import GitRepository
from services.gateway.application.ports import Snapshot
from services.gateway.domain.git_location import parse_git_location
from tests.certificates import certificate_for_localhost
from tests.git_server import MAIN, Application, Content, GitServer, Respond, git_server

TOKEN = Secret(b"cnry-token-0123456789")
LONG_S = 30.0
FILES: Mapping[str, Content] = {
    "policy-config.yaml": "pack: 1",
    "teams/search/config.yaml": "pack: 2",
    "other": b"\0" * 1000,
}


@pytest.fixture
def server() -> Iterator[GitServer]:
    with git_server() as running:
        yield running


def at(server: GitServer, fragment: str = "policy-config.yaml", **options: Any) -> GitRepository:
    return GitRepository(parse_git_location(f"git+{server.url}#{fragment}"), **options)


async def taken(server: GitServer, fragment: str, token: Secret | None = None) -> Snapshot:
    """What both ways of asking agree on."""
    repository = at(server, fragment)
    snapshot = await repository.snapshot(token)
    assert await repository.tip(token) == snapshot.tip
    return snapshot


async def refused(server: GitServer, fragment: str = "policy-config.yaml", token: Secret | None = None) -> KtError:
    repository, told = at(server, fragment), []
    for ask in (repository.tip, repository.snapshot):
        with pytest.raises(KtError) as error:
            await ask(token)
        told.append(error.value)
    assert told[0] == told[1]
    return told[0]


async def test_a_ref_is_a_branch_a_tag_a_full_name_or_a_commit(server: GitServer) -> None:
    first = server.commit(FILES)
    second = server.commit({"policy-config.yaml": "two"}, b"refs/heads/feature/x")
    server.point(b"refs/tags/light", second)
    server.tag("v1", first)
    expected = {
        "": first,
        "@main": first,
        "@feature/x": second,
        "@light": second,
        "@v1": first,
        "@refs/heads/main": first,
        "@refs/tags/v1": first,
        f"@{second}": second,
        "@HEAD": first,
    }
    found = {ref: (await taken(server, f"policy-config.yaml{ref}")).commit for ref in expected}
    assert found == expected
    assert (await taken(server, "teams/search/config.yaml@v1")).content == b"pack: 2"


async def test_a_branch_that_was_moved_by_force_is_where_it_is_now(server: GitServer) -> None:
    first = server.commit({"policy-config.yaml": "one"})
    server.commit({"policy-config.yaml": "two"})
    server.point(MAIN, first)
    assert (await taken(server, "policy-config.yaml@main")).content == b"one"


@pytest.mark.parametrize(
    ("fragment", "problem"),
    [
        ("absent", "nothing of that name"),
        ("teams/absent/config.yaml", "nothing of that name"),
        ("teams", "a directory"),
        ("policy-config.yaml/config.yaml", "no directory"),
        ("link", "a symbolic link"),
        ("module", "a submodule"),
        ("module/config.yaml", "no directory"),
        ("large.yaml", "Git LFS"),
    ],
)
async def test_what_is_no_file_is_named(server: GitServer, fragment: str, problem: str) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    special: Mapping[str, Content] = {
        "link": (0o120000, b"/etc/passwd"),
        "module": (0o160000, b"x"),
        "large.yaml": pointer,
    }
    commit = server.commit({**FILES, **special})
    snapshot = await taken(server, fragment)
    assert problem in snapshot.problem
    assert (snapshot.commit, snapshot.content) == (commit, b"")


async def test_a_ref_that_is_not_there_is_named(server: GitServer) -> None:
    commit = server.commit(FILES)
    server.commit({"policy-config.yaml": "two"}, b"refs/heads/both")
    server.tag("both", commit)
    assert (await refused(server, "policy-config.yaml@gone")).code == "not_found"
    assert "a branch and a tag" in (await refused(server, "policy-config.yaml@both")).detail
    assert "all of its 40 digits" in (await refused(server, f"policy-config.yaml@{commit[:10]}")).hint
    server.point(MAIN, None)
    assert "no HEAD" in (await refused(server)).detail
    with pytest.raises(KtError) as error:
        await at(server, f"policy-config.yaml@{'0' * 39}1").snapshot(None)
    assert error.value.code == "unavailable"


async def test_a_token_opens_a_private_repository_and_is_shown_to_nobody_else(
    server: GitServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.tokens = {TOKEN.reveal().decode()}
    server.commit(FILES)
    assert (await taken(server, "policy-config.yaml", TOKEN)).content == b"pack: 1"
    assert {password for _, _, password in server.requests} == server.tokens
    wrong, none = await refused(server, token=Secret(b"cnry-wrong")), await refused(server)
    assert (wrong.code, none.code) == ("forbidden", "forbidden")
    assert ("does not accept" in wrong.detail, "wants a token" in none.detail) == (True, True)
    assert "cnry" not in caplog.text + str(wrong) + str(none)


def answering(status: str, body: bytes = b"", **headers: str) -> Application:
    def application(_environ: dict[str, Any], respond: Respond) -> Iterable[bytes]:
        respond(status, [(name.replace("_", "-"), value) for name, value in headers.items()])
        return [body]

    return application


@pytest.mark.parametrize(
    ("status", "headers", "body", "code", "told"),
    [
        ("404 Not Found", {}, b"", "not_found", "no such repository"),
        ("500 Error", {}, b"cnry-body", "unavailable", "HTTP 500"),
        ("200 OK", {"Content_Type": "text/html"}, b"<html>cnry-body", "unavailable", "no Git server"),
        (
            "200 OK",
            {"Content_Type": "application/x-git-upload-pack-advertisement"},
            b"cnry-body",
            "unavailable",
            "can't be read",
        ),
        ("302 Found", {"Location": "/config.git/info/refs?service=git-upload-pack"}, b"", "unavailable", "circle"),
        ("302 Found", {"Location": "http://127.0.0.1:1/cnry-body"}, b"", "unavailable", "another address"),
        ("302 Found", {"Location": "https://cnry-body.example.com/"}, b"", "unavailable", "another address"),
        ("302 Found", {"Location": "file:///etc/passwd"}, b"", "unavailable", "another address"),
    ],
)
async def test_a_server_that_misbehaves_is_told_in_words_of_ours(
    server: GitServer, *, status: str, headers: dict[str, str], body: bytes, code: str, told: str
) -> None:
    server.instead = answering(status, body, **headers)
    error = await refused(server, token=TOKEN)
    assert error.code == code
    assert told in error.detail
    assert "cnry" not in str(error)


async def test_a_redirect_within_the_server_is_followed_and_no_other_gets_the_token(server: GitServer) -> None:
    server.commit(FILES)
    with git_server() as old:
        old.instead = answering("301 Moved", Location=f"{server.url}/info/refs?service=git-upload-pack")
        assert "another address" in (await refused(old, token=TOKEN)).detail
        assert server.requests == []
    url, server.url = server.url, server.url.replace("/config.git", "/old.git")

    def moved(environ: dict[str, Any], respond: Respond) -> Iterable[bytes]:
        server.instead = None
        respond("301 Moved", [("Location", f"/config.git/info/refs?{environ['QUERY_STRING']}")])
        return [b""]

    server.instead = moved
    assert (await at(server).snapshot(None)).content == b"pack: 1"
    assert [path for _, path, _ in server.requests] == [
        "/old.git/info/refs",
        "/config.git/info/refs",
        "/config.git/git-upload-pack",
    ]
    assert url != server.url


async def test_a_server_that_is_slow_or_drips_or_is_gone_costs_no_more_than_the_time_it_has(
    server: GitServer,
) -> None:
    server.commit(FILES)

    def drip(_environ: dict[str, Any], respond: Respond) -> Iterable[bytes]:
        respond("200 OK", [("Content-Type", "application/x-git-upload-pack-advertisement")])
        for byte in b"fff0" + bytes(int(LONG_S / 0.05)):  # one line of almost 64 KiB
            time.sleep(0.05)
            yield bytes([byte])

    began = time.monotonic()
    for misbehave in ({"delay_s": LONG_S}, {"instead": drip}):
        vars(server).update({"delay_s": 0.0, "instead": None, **misbehave})
        with pytest.raises(KtError) as error:
            await at(server, timeout_s=0.3).tip(None)
        assert (error.value.code, "in time" in error.value.detail) == ("unreachable", True)
    server.delay_s, server.instead = 0.0, None
    gone = at(server, timeout_s=2.0)
    server.url = "http://127.0.0.1:1/config.git"
    assert (await refused(server)).code == "unreachable"
    assert (await gone.snapshot(None)).content == b"pack: 1"
    await asyncio.get_running_loop().shutdown_default_executor()
    assert time.monotonic() - began < LONG_S / 2, "no thread is left waiting for the server"


async def test_a_repository_that_is_too_large_is_given_up(server: GitServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.commit({"policy-config.yaml": "x", "film": os.urandom(100_000)})
    monkeypatch.setattr(module, "MAX_RECEIVED_BYTES", 50_000)
    with pytest.raises(KtError, match="too large") as error:
        await at(server).snapshot(None)
    assert error.value.code == "unavailable"


async def test_a_server_is_verified_against_the_given_roots_before_the_token_goes_out(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("ours", "other", "expired")}
    for folder in folders.values():
        folder.mkdir()
    bundle, context = certificate_for_localhost(folders["ours"])
    other, _ = certificate_for_localhost(folders["other"])
    expired, expired_context = certificate_for_localhost(folders["expired"], days=-1)
    with git_server(tls=context) as server, git_server(tls=expired_context) as late:
        for each in (server, late):
            each.commit(FILES)
        assert (await at(server, ca_bundle=str(bundle)).snapshot(TOKEN)).content == b"pack: 1"
        taken_before = len(server.requests)
        elsewhere = server.url
        for url, roots, told in (
            (server.url, "", "not trusted"),
            (server.url, str(other), "not trusted"),
            (server.url.replace("localhost", "127.0.0.1"), str(bundle), "not trusted"),
            (late.url, str(expired), "expired"),
        ):
            server.url = url
            with pytest.raises(KtError) as error:
                await at(server, ca_bundle=roots).tip(TOKEN)
            assert (error.value.code, told in error.value.detail) == ("unreachable", True), error.value.detail
            assert "SSL_CERT_FILE" in error.value.hint
        server.url = elsewhere
        assert (len(server.requests), late.requests) == (taken_before, [])


def test_a_bundle_without_certificates_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    with pytest.raises(KtError, match="SSL_CERT_FILE") as error:
        GitRepository(
            parse_git_location("git+https://git.example.com/c.git#c.yaml"), ca_bundle=str(tmp_path / "empty.pem")
        )
    assert error.value.code == "misconfigured"


# The real Git


GIT = shutil.which("git")


def serves_http() -> bool:
    """Some packages of Git leave its server out."""
    if GIT is None:
        return False
    asked = subprocess.run([GIT, "--exec-path"], capture_output=True, text=True, check=True)
    return Path(asked.stdout.strip(), "git-http-backend").exists()


def git(folder: Path, *words: str) -> str:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{who}_{what}": "test@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    done = subprocess.run([str(GIT), *words], cwd=folder, env=environment, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def http_backend(project: Path, protocols: list[str]) -> Application:
    """``git http-backend`` as a CGI program (RFC 3875)."""

    def application(environ: dict[str, Any], respond: Respond) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        protocols.append(environ.get("HTTP_GIT_PROTOCOL", ""))
        variables = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(project),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": environ.get("HTTP_GIT_PROTOCOL", ""),
            **{n: environ.get(n) or "" for n in ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "CONTENT_TYPE")},
        }
        done = subprocess.run([str(GIT), "http-backend"], input=body, env=variables, capture_output=True, check=True)
        head, _, answer = done.stdout.partition(b"\r\n\r\n")
        fields = [tuple(line.split(": ", 1)) for line in head.decode().split("\r\n")]
        status = next((value for name, value in fields if name == "Status"), "200 OK")
        respond(status, [field for field in fields if field[0] != "Status"])
        return [answer]

    return application


@pytest.mark.skipif(not serves_http(), reason="needs git http-backend")
async def test_the_real_git_serves_it_in_protocol_version_2(server: GitServer, tmp_path: Path) -> None:
    work, bare = tmp_path / "work", tmp_path / "config.git"
    work.mkdir()
    git(work, "init", "--quiet", "--initial-branch=main")
    lines = [f"# line {number}\n" for number in range(2000)]
    for number in range(3):
        (work / f"config-{number}.yaml").write_text("".join(lines) + f"number: {number}\n")
    (work / "film").write_bytes(os.urandom(400_000))
    git(work, "add", ".")
    git(work, "commit", "--quiet", "--message=one")
    (work / "config-0.yaml").write_text("".join(lines) + "number: 9\n")
    git(work, "commit", "--quiet", "--all", "--message=two")
    git(work, "tag", "--annotate", "--message=tag", "v1", "HEAD~1")
    git(work, "gc", "--quiet", "--aggressive")
    git(tmp_path, "clone", "--quiet", "--bare", str(work), str(bare))
    git(bare, "config", "uploadpack.allowFilter", "true")
    protocols: list[str] = []
    server.instead = http_backend(tmp_path, protocols)
    for number, expected in enumerate((9, 1, 2)):
        snapshot = await taken(server, f"config-{number}.yaml@main")
        assert snapshot.content.endswith(f"number: {expected}\n".encode())
    assert (await taken(server, "config-0.yaml@v1")).content.endswith(b"number: 0\n")
    first = git(work, "rev-parse", "HEAD~1")
    assert (await taken(server, f"config-0.yaml@{first}")).content.endswith(b"number: 0\n")
    assert set(protocols) == {"version=2"}
    filtered = await at(server, "film").snapshot(None)
    assert filtered.problem == "it is too large"
