"""Each kind of bad input has a stable code, is not repeated in the answer, and changes nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from libs.common.protocol import command
from services.api.adapters.http.body import MAX_BODY_BYTES
from tests.unit.api.http import Answer, request
from tests.unit.api.system import System, token_for

PATH = "/v1/config-variables"
SECRET_SHAPED = "sk-proj-" + "a1B2" * 8


async def sent_raw(system: System, body: bytes | list[bytes], **headers: str) -> Answer:
    known = {"Authorization": f"Bearer {token_for('admin')}", "Content-Type": "application/json"}
    return await request(system.app, "POST", PATH, {**known, **headers}, body)


def assert_refused(system: System, answer: Answer, code: str, status: int = 422) -> None:
    assert (answer.status, answer.code) == (status, code)
    assert not system.bus.requests(command.CONFIG_VARIABLE)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("openai/api/key", "invalid_name"),
        ("my key", "invalid_name"),
        (" A", "invalid_name"),
        ("", "invalid_name"),
        (".", "invalid_name"),
        ("...", "invalid_name"),
        ("tab\tname", "invalid_name"),
        ("line\n", "invalid_name"),
        ("nul\0", "invalid_name"),
        ("del\x7f", "invalid_name"),
        ("ОPENAI_API_KEY", "invalid_name"),
        ("OPENAI＿API_KEY", "invalid_name"),
        ("key\u200b", "invalid_name"),
        ("A" * 129, "invalid_name"),
        (SECRET_SHAPED, "name_looks_like_secret"),
        (5, "invalid_request"),
        (None, "invalid_request"),
        (["A"], "invalid_request"),
    ],
)
async def test_a_name_that_is_not_one_is_refused(system: System, name: object, code: str) -> None:
    answer = await system.ask("POST", PATH, {"name": name, "value": "v"})

    assert_refused(system, answer, code)
    assert answer.json()["errors"][0]["field"] == "name"
    if isinstance(name, str) and len(name) > 5:
        assert name.encode() not in answer.everything


@pytest.mark.parametrize("name", ["A", "7", "-", "A" * 128, "anthropic.production.key", "azure-openai-key-east-us"])
async def test_a_name_of_1_to_128_allowed_characters_is_taken(system: System, name: str) -> None:
    assert (await system.ask("POST", PATH, {"name": name, "value": "v"})).status == 201


async def test_the_limit_on_names_is_said(system: System) -> None:
    answer = await system.ask("POST", PATH, {"name": "A" * 129, "value": "v"})

    assert "128" in answer.json()["detail"]


@pytest.mark.parametrize("name", ["a%20b", "a%00", "%D0%9E", "..%20", "%FF%FE", SECRET_SHAPED])
@pytest.mark.parametrize("suffix", ["", "/history"])
async def test_a_name_in_a_path_is_checked_alike(system: System, name: str, suffix: str) -> None:
    from urllib.parse import unquote  # noqa: PLC0415 - what the server does with a path

    answer = await system.ask("GET", f"{PATH}/{unquote(name)}{suffix}")

    assert answer.status == 422
    assert answer.code in ("invalid_name", "name_looks_like_secret")
    assert not system.bus.asked


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("", "invalid_value"),
        ("v" * 65_537, "invalid_value"),
        ("é" * 32_769, "invalid_value"),
        ("with\0nul", "invalid_value"),
        ("********", "redacted_value"),
        ("[REDACTED]", "redacted_value"),
        (12345678, "invalid_request"),
        (True, "invalid_request"),
        (None, "invalid_request"),
        (["sk-1"], "invalid_request"),
        ({"a": "b"}, "invalid_request"),
    ],
)
@pytest.mark.parametrize("target", [PATH, f"{PATH}/A/rotate"])
async def test_a_value_that_can_t_be_stored_is_refused(system: System, value: object, code: str, target: str) -> None:
    document: dict[str, Any] = {"value": value}
    answer = await system.ask("POST", target, document if "rotate" in target else {"name": "A", **document})

    assert_refused(system, answer, code)
    assert answer.json()["errors"][0]["field"] == "value"
    assert b"12345678" not in answer.everything


@pytest.mark.parametrize("value", ["v", "v" * 65_536, "é" * 32_768, "two\nlines", "\U0001f511", '"\\'])
async def test_a_value_of_up_to_64_kib_of_text_is_taken(system: System, value: str) -> None:
    assert (await system.ask("POST", PATH, {"name": "A", "value": value})).status == 201


@pytest.mark.parametrize(
    "extra",
    [
        {"descripton": "typo"},
        {"sensitive": "yes"},
        {"sensitive": 1},
        {"sensitive": None},
        {"description": 5},
        {"description": "x" * 1025},
        {"description": "nul\0"},
        {"description": "escape\x1b[31m"},
        {"description": f"the key is {SECRET_SHAPED}"},
        {"description": None},
        {"version": 1},
    ],
)
async def test_unknown_fields_and_wrong_types_are_refused(system: System, extra: dict[str, Any]) -> None:
    answer = await system.ask("POST", PATH, {"name": "A", "value": "the-value", **extra})

    assert_refused(system, answer, "invalid_request")
    assert b"the-value" not in answer.everything
    assert answer.json()["errors"]


async def test_all_that_is_wrong_is_said_at_once(system: System) -> None:
    answer = await system.ask("POST", PATH, {"name": 1, "sensitive": "yes"})

    found = {(e["field"], e["problem"]) for e in answer.json()["errors"]}
    assert found == {("name", "is not text"), ("value", "is missing"), ("sensitive", "is not a boolean")}


async def test_an_unknown_field_is_answered_with_those_there_are_and_not_with_its_name(system: System) -> None:
    answer = await system.ask("POST", PATH, {"name": "A", "value": "v", SECRET_SHAPED: 1})

    assert_refused(system, answer, "invalid_request")
    assert "name, value, description, sensitive" in answer.json()["detail"]
    assert SECRET_SHAPED.encode() not in answer.everything


@pytest.mark.parametrize("version", [0, -1, 1.0, "1", None, True, 2**60, 10**30])
async def test_a_version_that_is_none_is_refused(system: System, version: object) -> None:
    answer = await system.ask("POST", f"{PATH}/A/rollback", {"version": version})

    assert_refused(system, answer, "invalid_request")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b'{"name": "A", "value": "canary-4711"',
        b"{'name': 'canary-4711'}",
        b'{"name": "A", "value": NaN}',
        b'{"name": "A", "value": Infinity}',
        b'{"name": "A", "value": "canary-4711", "value": "b"}',
        b'{"name": "A", "value": {"a": 1, "a": 2}}',
        b'{"name": "A", "value": "\xff\xfe"}',
        b'\xef\xbb\xbf{"name": "A", "value": "b"}',
        b'{"name": "A", "value": "\\ud800"}',
        '{"name": "A", "value": "b"}'.encode("utf-16"),
        b'{"name": "A"} {"value": "b"}',
        b"[" * 100_000,
        b"[" * 1000 + b"]" * 1000,
        b'{"a":' * 900 + b"1" + b"}" * 900,
        b'{"version": ' + b"9" * 5000 + b"}",
        b"\0",
    ],
)
async def test_a_broken_body_is_refused_without_an_echo(system: System, body: bytes) -> None:
    answer = await sent_raw(system, body)

    assert answer.status in (400, 422)
    assert answer.code in ("invalid_json", "invalid_request")
    assert b"canary-4711" not in answer.everything
    assert not system.bus.asked


async def test_the_place_of_a_syntax_error_is_said(system: System) -> None:
    answer = await sent_raw(system, b'{"name": "A",\n "value" "b"}')

    assert_refused(system, answer, "invalid_json", 400)
    assert "line 2, column" in answer.json()["detail"]


@pytest.mark.parametrize("document", [[], "text", 5, None, True, [{"name": "A", "value": "v"}]])
async def test_a_body_that_is_no_object_is_refused(system: System, document: object) -> None:
    answer = await sent_raw(system, json.dumps(document).encode())

    assert_refused(system, answer, "invalid_request")


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/merge-patch+json",
        "application/json;charset=latin-1",
        "multipart/form-data; boundary=x",
    ],
)
async def test_a_body_of_another_type_is_refused(system: System, content_type: str) -> None:
    answer = await sent_raw(system, b'{"name": "A", "value": "v"}', **{"Content-Type": content_type})

    assert_refused(system, answer, "unsupported_media_type", 415)


@pytest.mark.parametrize("content_type", ["Application/JSON", "application/json; charset=UTF-8", "application/json;"])
async def test_the_media_type_is_compared_as_http_says(system: System, content_type: str) -> None:
    answer = await sent_raw(system, b'{"name": "A", "value": "v"}', **{"Content-Type": content_type})

    assert answer.status == 201


class Endless(list[bytes]):
    """Chunks without end; remembers how many were taken."""

    taken = 0

    def pop(self, _index: Any = -1) -> bytes:
        self.taken += 1
        return b"x" * 65_536

    def __len__(self) -> int:
        return 1


async def test_a_declared_body_that_is_too_large_is_refused_unread(system: System) -> None:
    answer = await sent_raw(system, b"x" * (MAX_BODY_BYTES + 1))

    assert_refused(system, answer, "body_too_large", 413)


@pytest.mark.parametrize("declared", ["9" * 30, "9" * 5000, "999999"])
async def test_an_absurd_content_length_is_refused(system: System, declared: str) -> None:
    answer = await sent_raw(system, [b"{}"], **{"Content-Length": declared})

    assert_refused(system, answer, "body_too_large", 413)


async def test_a_chunked_body_is_not_read_past_the_limit(system: System) -> None:
    chunks = Endless([b""])
    scope_body: list[bytes] = chunks

    answer = await _ask_in_chunks(system, scope_body)

    assert_refused(system, answer, "body_too_large", 413)
    assert chunks.taken == MAX_BODY_BYTES // 65_536 + 1


async def test_a_body_in_small_chunks_is_put_together(system: System) -> None:
    whole = b'{"name": "A", "value": "v"}'

    answer = await sent_raw(system, [whole[i : i + 1] for i in range(len(whole))])

    assert answer.status == 201


async def _ask_in_chunks(system: System, chunks: list[bytes]) -> Answer:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": chunks.pop(0), "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [
        (b"authorization", f"Bearer {token_for('admin')}".encode()),
        (b"content-type", b"application/json"),
        (b"transfer-encoding", b"chunked"),
    ]
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": PATH,
        "raw_path": PATH.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": None,
        "server": None,
    }
    await system.app(scope, receive, send)
    return Answer(sent[0]["status"], {k.decode(): v.decode() for k, v in sent[0]["headers"]}, sent[1]["body"])
