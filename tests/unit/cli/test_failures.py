"""How failures are told, and with which exit code."""

from __future__ import annotations

import json

import click
import pytest

from libs.cli.base import KtGroup
from libs.cli.main import main
from libs.cli.problems import hint_of, problem_document, wants_json
from libs.cli.root import ALIASES, ENTRIES
from libs.cli.root import kt as root
from libs.common.errors import CATALOGUE, KtError
from tests.unit.cli.conftest import Kt
from tests.unit.cli.fake_api import FakeApi


@pytest.mark.parametrize(
    ("status", "code", "exit_code"),
    [
        (422, "invalid_value", 2),
        (404, "not_found", 3),
        (409, "already_exists", 4),
        (412, "precondition_failed", 4),
        (401, "unauthenticated", 5),
        (403, "forbidden", 5),
        (503, "overloaded", 6),
        (500, "internal", 1),
    ],
)
def test_the_exit_code_follows_from_the_problem(kt: Kt, api: FakeApi, status: int, code: str, exit_code: int) -> None:
    api.problem("GET", "/v1/gateways", status, code, detail="What happened; what was expected.", hint="What to do.")
    assert kt("gateway", "list").code == exit_code


def test_a_failure_takes_three_lines(kt: Kt, api: FakeApi) -> None:
    api.problem("GET", "/v1/gateways", 403, "forbidden", detail="The role lacks gateways:read.", hint="Ask an admin.")
    ended = kt("gateway", "list")
    assert ended.out == ""
    assert ended.err.splitlines() == [
        "error: The token does not allow this (forbidden)",
        "  The role lacks gateways:read.",
        "  Ask an admin.",
    ]


def test_a_failure_inside_names_the_request_for_the_logs(kt: Kt, api: FakeApi) -> None:
    api.problem("GET", "/v1/gateways", 500, "internal", detail="Something failed inside.", hint="Try again.")
    assert "Request request-1" in kt("gateway", "list").err


def test_a_failure_as_json_is_one_problem_document(kt: Kt, api: FakeApi) -> None:
    errors = [{"field": "limit", "problem": "is too large", "expected": "at most 500"}]
    api.problem("GET", "/v1/gateways", 422, "invalid_request", detail="No.", hint="Fix it.", errors=errors, extra=1)
    ended = kt("gateway", "list", "--output", "json")
    assert ended.out == ""
    assert ended.problem == {
        "type": "urn:keeptrusts:error:invalid_request",
        "title": "The request is not valid",
        "status": 422,
        "detail": "No.",
        "code": "invalid_request",
        "hint": "Fix it.",
        "exit_code": 2,
        "errors": errors,
        "extra": 1,
        "request_id": "request-1",
    }


def test_a_hostile_problem_can_not_take_over_the_terminal(kt: Kt, api: FakeApi) -> None:
    api.problem("GET", "/v1/gateways", 500, "internal", detail="\x1b[2Jgone", hint="\x07")
    assert not {"\x1b", "\x07"} & set(kt("gateway", "list").err)


@pytest.mark.parametrize("code", CATALOGUE)
def test_every_failure_says_what_to_do_next(code: str) -> None:
    error = KtError(code, "It happened.")
    assert hint_of(error)
    assert problem_document(error)["exit_code"] == error.kind.exit


@pytest.mark.parametrize(
    ("words", "json_wanted"),
    [
        (["--output", "json", "x"], True),
        (["x", "--output=json"], True),
        (["x", "-o", "json"], True),
        (["x", "-ojson"], True),
        (["x", "--output"], False),
        (["-o", "json", "x", "-o", "table"], False),
        (["x", "--", "-o", "json"], False),
    ],
)
def test_json_is_recognised_also_when_the_rest_is_wrong(words: list[str], json_wanted: bool) -> None:
    assert wants_json(words) is json_wanted


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["stauts"], "Did you mean `status`"),
        (["config-variable", "list"], "Did you mean `config-variables`"),
        (["var", "list"], "Did you mean `vars`"),
        (["vars", "lst"], "Did you mean `list`"),
        (["vars", "list", "--prefx", "A"], "Did you mean `--prefix`"),
        (["vars", "get"], "NAME is missing"),
        (["vars", "get", "A", "B"], "one argument too many"),
        (["vars", "list", "--limit"], "`--limit` needs a value after it"),
        (["vars", "delete", "A", "--yes=1"], "`--yes` takes no value"),
        (["vars", "list", "--limit", "0"], "Expected a whole number from 1"),
        (["vars", "list", "-o", "yaml"], "Expected one of table, json"),
        (["token", "issue", "--role", "boss", "--name", "x"], "Expected one of admin, operator"),
        (["completion", "tcsh"], "Expected one of bash, zsh, fish"),
        (["-o", "json"], "not complete"),
    ],
)
def test_a_mistake_in_the_command_line_is_explained(kt: Kt, words: list[str], said: str) -> None:
    ended = kt(*words)
    assert ended.code == 2
    assert said in (ended.err if words != ["-o", "json"] else ended.problem["detail"])


def test_without_a_command_help_is_shown(kt: Kt) -> None:
    bare, group = kt(), kt("vars")
    assert (bare.code, bare.err) == (0, "")
    assert "Store, rotate and delete keys" in bare.out
    assert (group.code, group.out) == (2, "")
    assert "rollback" in group.err


def test_an_unexpected_failure_shows_neither_traceback_nor_message(kt: Kt, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("-".join(("message", "canary")))

    monkeypatch.setattr("libs.cli.discovery.find_api", fail)
    ended = kt("vars", "list")
    assert ended.code == 1
    assert "RuntimeError" in ended.err
    assert "Traceback" not in ended.err
    assert "message-canary" not in ended.err
    monkeypatch.setenv("KEEPTRUSTS_DEBUG", "1")
    shown = kt("vars", "list").err
    assert "discovery.py" in shown
    assert "message-canary" not in shown


def test_debug_shows_requests(kt: Kt, api: FakeApi) -> None:
    api.problem("GET", "/v1/gateways", 403, "forbidden", detail="No.", hint="Ask.")
    assert "GET /v1/gateways -> 403" in kt("gateway", "list", "--debug").err
    assert "GET /v1/gateways" not in kt("gateway", "list").err


def test_ctrl_c_ends_with_130(kt: Kt, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("libs.cli.discovery.find_api", interrupt)
    assert kt("vars", "list").code == 130


def test_every_command_exists_and_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    names = [[name] for name in [*ENTRIES, *ALIASES]]
    ctx = click.Context(root)
    for name in ENTRIES:
        command = root.get_command(ctx, name)
        if isinstance(command, KtGroup):
            names += [[name, child] for child in command.commands]
    for words in names:
        assert main([*words, "--help"]) == 0
        assert main(["-o", "json", *words, "-h"]) == 0
        text = capsys.readouterr().out
        assert text.startswith(f"Usage: kt {' '.join(words)}")
        assert "Options of every command" in text


def test_version_as_text_and_as_json(kt: Kt) -> None:
    assert kt("version").out.startswith("kt ")
    assert set(json.loads(kt("version", "-o", "json").out)) == {"version", "python"}
