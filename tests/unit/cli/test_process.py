"""``kt`` as its users start it: pipes, terminals, shells, signals."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from libs.cli.main import BROKEN_PIPE, INTERRUPTED
from tests.unit.backup.samples import MASTER_KEY, NAME, VALUES_BY_VERSION, archive
from tests.unit.cli.fake_api import Asked, FakeApi, Reply
from tests.unit.cli.processes import BASH, PROGRAM, at_terminal, environment, run

VARIABLES = "/v1/config-variables"
CREATED = Reply(201, {"name": "K", "version": 1, "sensitive": True}, {"ETag": '"1"'})
HEAVY = ("pydantic", "rich", "httpx", "fastapi", "nats", "psycopg", "orjson", "jwt", "cryptography", "yaml", "ssl")


@pytest.mark.parametrize("words", [["--help"], ["vars", "--help"], ["up", "--help"], ["gateway", "run", "--help"]])
def test_help_imports_nothing_that_loads_slowly(words: list[str]) -> None:
    script = (
        "import sys; from libs.cli.main import main; code = main(sys.argv[1:]); sys.stdout.flush();"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr); raise SystemExit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script, *words], env=environment(), capture_output=True, text=True, check=True
    )
    allowed = ["ssl"] if words != ["--help"] else []
    assert set(json.loads(done.stderr.replace("'", '"'))) <= set(allowed)


def test_help_of_the_program_imports_no_command() -> None:
    script = (
        "import sys; from libs.cli.main import main; main(['--help']);"
        "raise SystemExit(any(name.startswith('libs.cli.commands.') for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-P", "-c", script], env=environment(), capture_output=True, check=True)


def test_exit_codes_reach_the_shell(home: Path, tmp_path: Path, api: FakeApi) -> None:
    api.problem("GET", f"{VARIABLES}/K", 404, "not_found", detail="There is none.", hint="List them.")
    assert run("vars", "get", "K", cwd=tmp_path).returncode == 3
    assert run("vars", "get", "a/b", cwd=tmp_path).returncode == 2
    assert run("vars", "get", "K", "--api-url", "http://127.0.0.1:1", cwd=tmp_path).returncode == 6


def test_a_value_is_read_from_a_pipe(home: Path, tmp_path: Path, api: FakeApi) -> None:
    api.on("POST", VARIABLES, CREATED)
    assert run("vars", "create", "K", cwd=tmp_path, stdin=b"piped\n").returncode == 0
    assert api.asked[0].body["value"] == "piped"


def test_without_stdin_a_value_is_missing_and_nothing_is_sent(home: Path, tmp_path: Path, api: FakeApi) -> None:
    done = subprocess.run(
        [*PROGRAM, "vars", "create", "K"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        env=environment(),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, api.asked) == (2, [])
    assert b"held no value" in done.stderr


def test_a_closed_pipe_ends_it_silently(home: Path, tmp_path: Path, api: FakeApi) -> None:
    def page(asked: Asked) -> Reply:
        start = int(asked.query.get("cursor", "0"))
        items = [{"name": f"KEY_{number}", "description": "d" * 500} for number in range(start, start + 200)]
        return Reply(200, {"items": items, "next_cursor": str(start + 200) if start < 4000 else None})

    api.on("GET", VARIABLES, page)
    script = f"'{sys.executable}' -P -m libs.cli.main vars list | head -n 1; echo \"${{PIPESTATUS[0]}}\""
    done = subprocess.run(
        [BASH, "-c", script], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == str(BROKEN_PIPE)
    assert done.stderr == ""


@pytest.mark.parametrize(("redirection", "code"), [(">&-", 0), ("2>&-", 0), ("<&-", 0), (">/dev/full", 1)])
def test_streams_that_can_not_be_used_cause_no_traceback(tmp_path: Path, redirection: str, code: int) -> None:
    script = f"'{sys.executable}' -P -m libs.cli.main version {redirection}"
    done = subprocess.run([BASH, "-c", script], cwd=tmp_path, env=environment(), capture_output=True, check=False)
    assert done.returncode == code
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


def test_a_value_is_asked_for_twice_and_never_shown(home: Path, tmp_path: Path, api: FakeApi) -> None:
    api.on("POST", VARIABLES, CREATED)
    typed = [(b"hidden", b"typed-canary\n"), (b"again", b"typed-canary\n")]
    code, shown = at_terminal("vars", "create", "K", cwd=tmp_path, typed=typed)
    assert code == 0
    assert api.asked[0].body["value"] == "typed-canary"
    assert "typed-canary" not in shown


def test_two_different_values_are_refused(home: Path, tmp_path: Path, api: FakeApi) -> None:
    typed = [(b"hidden", b"one\n"), (b"again", b"other\n")]
    code, shown = at_terminal("vars", "create", "K", cwd=tmp_path, typed=typed)
    assert (code, api.asked) == (2, [])
    assert "differ" in shown


@pytest.mark.parametrize(("key", "code"), [(b"\x03", INTERRUPTED), (b"\x04", 2), (b"\n", 2)])
def test_a_prompt_can_be_left(home: Path, tmp_path: Path, api: FakeApi, key: bytes, code: int) -> None:
    ended, shown = at_terminal("vars", "rotate", "K", cwd=tmp_path, typed=[(b"hidden", key)])
    assert (ended, api.asked) == (code, [])
    assert "Traceback" not in shown


@pytest.mark.parametrize(("answer", "code", "deleted"), [(b"y\n", 0, True), (b"n\n", 1, False), (b"\n", 1, False)])
def test_delete_asks_and_names_the_gateways_that_use_it(
    home: Path, tmp_path: Path, api: FakeApi, *, answer: bytes, code: int, deleted: bool
) -> None:
    target = {"target": "openai", "store": "store", "reference": "K", "version": 3}
    api.on("GET", "/v1/gateways", Reply(200, {"items": [{"name": "proxy", "targets": [target]}]}))
    api.on("DELETE", f"{VARIABLES}/K", Reply(204))
    ended, shown = at_terminal("vars", "delete", "K", cwd=tmp_path, typed=[(b"?", answer)])
    assert ended == code
    assert "gateway proxy uses it for openai" in shown
    assert any(asked.method == "DELETE" for asked in api.asked) is deleted


def test_delete_asks_also_when_gateways_can_not_be_listed(home: Path, tmp_path: Path, api: FakeApi) -> None:
    api.problem("GET", "/v1/gateways", 403, "forbidden", detail="No.", hint="Ask.")
    assert at_terminal("vars", "delete", "K", cwd=tmp_path, typed=[(b"?", b"n\n")])[0] == 1


def test_who_destroys_a_version_is_told_which_others_hold_its_value(home: Path, tmp_path: Path, api: FakeApi) -> None:
    states = [(1, "kept", 0), (2, "kept", 0), (3, "kept", 1), (4, "destroyed", 3), (5, "kept", 4), (6, "current", 0)]
    items = [{"version": v, "value_state": state, "from_version": source or None} for v, state, source in states]
    api.on("GET", f"{VARIABLES}/K/history", Reply(200, {"items": [*items, {"version": 4, "value_state": None}]}))
    code, shown = at_terminal("vars", "destroy", "K", "--version", "1", cwd=tmp_path, typed=[(b"?", b"n\n")])
    assert code == 1
    assert "also that of version 3, 5" in shown
    assert [asked.method for asked in api.asked] == ["GET"]


def test_a_recovered_value_is_shown_at_a_terminal_only_when_asked(home: Path, tmp_path: Path) -> None:
    (tmp_path / "backup.tar").write_bytes(archive())
    words = ("recover", "backup.tar", NAME, "--version", "1")
    code, shown = at_terminal(*words, cwd=tmp_path)
    assert code == 2
    assert "--show" in shown
    typed = [(b"hidden", f"{MASTER_KEY}\n".encode())]
    code, shown = at_terminal(*words, "--show", cwd=tmp_path, typed=typed)
    assert code == 0
    assert VALUES_BY_VERSION[1].decode() in shown
    assert MASTER_KEY not in shown


def test_tail_ends_with_ctrl_c(home: Path, tmp_path: Path, api: FakeApi) -> None:
    event = {"time": "2026-11-23T07:39:03Z", "data": {"action": "rotate"}}
    positions = [{"stream": "KT_EVENTS", "sequence": 1}]
    api.on(
        "GET",
        "/v1/events",
        Reply(200, {"items": [event], "positions": positions, "next_cursor": "c"}),
        Reply(200, {"items": [], "positions": [], "next_cursor": "c"}),
    )
    code, shown = at_terminal("events", "tail", cwd=tmp_path, typed=[(b"KT_EVENTS:1", b"\x03")])
    assert code == INTERRUPTED
    assert "Traceback" not in shown


def test_colours_are_for_terminals(home: Path, tmp_path: Path, api: FakeApi) -> None:
    plain = environment(TERM="xterm")
    coloured = {name: value for name, value in plain.items() if name != "NO_COLOR"}
    assert "\x1b[31m" in at_terminal("vars", "get", "a/b", cwd=tmp_path, env=coloured)[1]
    assert "\x1b[" not in at_terminal("vars", "get", "a/b", cwd=tmp_path, env=plain)[1]
    assert b"\x1b[" not in run("vars", "get", "a/b", cwd=tmp_path, env=coloured).stderr


def test_output_survives_a_terminal_that_is_not_unicode(home: Path, tmp_path: Path, api: FakeApi) -> None:
    api.on("GET", f"{VARIABLES}/K", Reply(200, {"name": "K", "description": "Schlüssel", "sensitive": True}))
    done = run("vars", "get", "K", cwd=tmp_path, env=environment(PYTHONIOENCODING="ascii"))
    assert done.returncode == 0
    assert b"Schl\\xfcssel" in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(tmp_path: Path, shell: str) -> None:
    done = run("completion", shell, cwd=tmp_path)
    assert done.returncode == 0
    assert f"_KT_COMPLETE={shell}_complete".encode() in done.stdout
    program = shutil.which(shell)
    if program is not None:
        subprocess.run([program, "-n"], input=done.stdout, check=True)


def _completed(line: str, cwd: Path) -> list[str]:
    """What bash offers for ``line`` after ``eval "$(kt completion bash)"``."""
    folder = cwd / "bin"
    folder.mkdir(exist_ok=True)
    (folder / "kt").write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m libs.cli.main "$@"\n')
    (folder / "kt").chmod(0o755)
    words = line.split(" ")
    script = f"""
        eval "$(kt completion bash)"
        COMP_WORDS=({" ".join(f"'{word}'" for word in words)}); COMP_CWORD={len(words) - 1}
        _kt_completion kt; printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [BASH, "--norc", "-c", script],
        cwd=cwd,
        env=environment(PATH=path),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_completes_commands_options_and_names(home: Path, tmp_path: Path, api: FakeApi) -> None:
    api.on("GET", VARIABLES, Reply(200, {"items": [{"name": "OPENAI_API_KEY"}], "next_cursor": None}))
    assert _completed("kt conf", tmp_path) == ["config-variables"]
    assert _completed("kt vars ro", tmp_path) == ["rotate", "rollback"]
    assert _completed("kt vars list --pre", tmp_path) == ["--prefix"]
    assert _completed("kt token issue --role ma", tmp_path) == ["machine"]
    assert _completed("kt vars get OPEN", tmp_path) == ["OPENAI_API_KEY"]
    assert api.asked[-1].query["prefix"] == "OPEN"


def test_completion_is_silent_when_the_system_is_away(home: Path, tmp_path: Path) -> None:
    (home / "state.json").write_text(json.dumps({"api_url": "http://127.0.0.1:1"}))
    assert _completed("kt vars get OPEN", tmp_path) == []
