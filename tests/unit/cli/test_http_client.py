"""The HTTP client: what it repeats, what it never shows."""

from __future__ import annotations

import socket
import threading

import pytest

from libs.cli.client import HttpClient, Token, checked_address
from libs.common.errors import KtError
from libs.common.secret import Secret
from tests.unit.cli.fake_api import FakeApi, Reply

TOKEN = "token-canary-9f8e7d6c"
AWAY = Reply(503, {"code": "unavailable", "detail": "resolver does not answer.", "hint": "Wait."})
DONE = Reply(200, {"done": True}, {"ETag": '"1"', "X-Request-Id": "r-1"})
ONCE = {"Idempotency-Key": "once"}


def _client(url: str, lines: list[str] | None = None, timeout: float = 5.0) -> HttpClient:
    trace = lines.append if lines is not None else lambda _: None
    return HttpClient(
        url, Token(Secret.from_text(TOKEN), "a place"), timeout=timeout, trace=trace, sleep=lambda _: None
    )


def test_an_answer_brings_document_etag_and_request_id(api: FakeApi) -> None:
    api.on("GET", "/x", DONE)
    answer = _client(api.url).get("/x")
    assert (answer.document, answer.etag, answer.request_id) == ({"done": True}, '"1"', "r-1")


def test_requests_share_a_connection(api: FakeApi) -> None:
    api.on("GET", "/x", DONE)
    client = _client(api.url)
    for _ in range(5):
        client.get("/x")
    assert api.connections == 1


def test_an_address_may_have_a_path(api: FakeApi) -> None:
    api.on("GET", "/kt/x", DONE)
    assert _client(f"{api.url}/kt/").get("/x").document == {"done": True}


def test_a_query_is_encoded_and_leaves_out_what_is_empty(api: FakeApi) -> None:
    api.on("GET", "/x", DONE)
    _client(api.url).get("/x", {"filter": "a=b AND c!=d*", "cursor": ""})
    assert api.asked[0].query == {"filter": "a=b AND c!=d*"}


@pytest.mark.parametrize("headers", [{}, ONCE])
def test_a_get_or_keyed_write_is_repeated_while_a_part_is_away(api: FakeApi, headers: dict[str, str]) -> None:
    method = "POST" if headers else "GET"
    api.on(method, "/x", AWAY, AWAY, DONE)
    assert _client(api.url).request(method, "/x", headers=headers).status == 200
    assert len(api.asked) == 3
    assert {asked.headers.get("idempotency-key") for asked in api.asked} == {headers.get("Idempotency-Key")}


def test_a_write_without_a_key_is_not_repeated(api: FakeApi) -> None:
    api.on("POST", "/x", AWAY, DONE)
    with pytest.raises(KtError) as failed:
        _client(api.url).request("POST", "/x")
    assert failed.value.code == "unavailable"
    assert len(api.asked) == 1


def test_a_part_that_stays_away_is_told_after_three_attempts(api: FakeApi) -> None:
    api.on("GET", "/x", AWAY)
    with pytest.raises(KtError, match="resolver does not answer"):
        _client(api.url).get("/x")
    assert len(api.asked) == 3


def test_a_refusal_is_not_repeated(api: FakeApi) -> None:
    api.problem("GET", "/x", 403, "forbidden", detail="The role does not include it.", hint="Ask.")
    with pytest.raises(KtError) as failed:
        _client(api.url).get("/x")
    assert (failed.value.code, failed.value.hint) == ("forbidden", "Ask.")
    assert failed.value.extra["request_id"] == "request-1"
    assert len(api.asked) == 1


def test_a_connection_that_broke_in_between_is_made_anew(api: FakeApi) -> None:
    api.on("GET", "/x", DONE, Reply(hang_up=True), DONE)
    client = _client(api.url)
    client.get("/x")
    assert client.get("/x").status == 200


def test_a_lost_write_with_a_key_says_how_to_repeat_it(api: FakeApi) -> None:
    api.on("POST", "/x", Reply(hang_up=True))
    with pytest.raises(KtError) as failed:
        _client(api.url).request("POST", "/x", headers=ONCE)
    assert failed.value.code == "outcome_unknown"
    assert "--idempotency-key" in failed.value.hint
    assert len(api.asked) == 3


def test_a_lost_write_without_a_key_says_that_it_may_have_happened(api: FakeApi) -> None:
    api.on("POST", "/x", Reply(hang_up=True))
    with pytest.raises(KtError) as failed:
        _client(api.url).request("POST", "/x")
    assert failed.value.code == "outcome_unknown"
    assert "may have been made" in failed.value.detail
    assert len(api.asked) == 1


def test_nothing_listening_is_unreachable_at_once() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(KtError) as failed:
            _client(url).request("POST", "/x", headers=ONCE)
    assert (failed.value.code, failed.value.kind.exit) == ("unreachable", 6)
    assert "nothing listens there" in failed.value.detail


def test_silence_ends_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(KtError, match="nothing within 0 seconds"):
        _client(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout=0.1).get("/x")


def test_what_does_not_speak_http_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def babble() -> None:
            for _ in range(3):
                client, _ = server.accept()
                client.sendall(b"INFO {}\r\n")
                client.close()

        threading.Thread(target=babble, daemon=True).start()
        with pytest.raises(KtError) as failed:
            _client(f"http://127.0.0.1:{server.getsockname()[1]}").get("/x")
    assert failed.value.code == "unreachable"


@pytest.mark.parametrize("status", [200, 404, 502])
def test_an_answer_that_is_no_json_comes_from_somebody_else(api: FakeApi, status: int) -> None:
    api.on("GET", "/x", Reply(status, headers={"Content-Type": "text/html"}, raw=b"<html>"))
    with pytest.raises(KtError) as failed:
        _client(api.url).get("/x")
    assert failed.value.code == "unreachable"
    assert "text/html" in failed.value.detail


@pytest.mark.parametrize(
    ("status", "code"), [(401, "unauthenticated"), (404, "not_found"), (429, "overloaded"), (418, "internal")]
)
def test_an_unknown_code_is_judged_by_its_status(api: FakeApi, status: int, code: str) -> None:
    api.problem("GET", "/x", status, "brand_new")
    with pytest.raises(KtError) as failed:
        _client(api.url).get("/x")
    assert failed.value.code == code


def test_a_token_that_is_refused_is_named_by_its_place(api: FakeApi) -> None:
    api.problem("GET", "/x", 401, "unauthenticated", detail="The token has expired.", hint="Log in.")
    with pytest.raises(KtError) as failed:
        _client(api.url).get("/x")
    assert failed.value.hint.startswith("It came from a place.")


def test_a_redirect_is_not_followed(api: FakeApi) -> None:
    api.on("GET", "/x", Reply(302, {}, {"Location": f"{api.url}/y"}))
    with pytest.raises(KtError):
        _client(api.url).get("/x")
    assert [asked.path for asked in api.asked] == ["/x"]


def test_neither_token_nor_body_is_traced_or_told(api: FakeApi) -> None:
    lines: list[str] = []
    api.on("POST", "/x", Reply(hang_up=True))
    with pytest.raises(KtError) as failed:
        _client(api.url, lines).request("POST", "/x", body={"value": "value-canary"})
    api.on("POST", "/x", DONE)
    _client(api.url, lines).request("POST", "/x", body={"value": "value-canary"})
    told = " ".join([*lines, repr(failed.value), str(failed.value)])
    assert "POST /x -> 200" in told
    assert TOKEN not in told
    assert "value-canary" not in told


def test_an_ipv6_address_is_an_address() -> None:
    assert checked_address("http://[::1]:8080").port == 8080
