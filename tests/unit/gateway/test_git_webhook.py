"""Who may tell a gateway to look at its repository."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, cast

import pytest

from libs.common.errors import KtError
from libs.common.secret import Secret
from services.gateway.adapters import control_http
from services.gateway.adapters.control_http import PREFIX, control_app
from services.gateway.application.control import ControlAccess
from services.gateway.application.gateway import Gateway
from services.gateway.application.git_webhook import GitWebhook

SECRET = Secret(b"0123456789abcdef")
BODY = b'{"ref": "refs/heads/main"}'
SIGNATURE = "sha256=" + hmac.new(SECRET.reveal(), BODY, hashlib.sha256).hexdigest()


def webhook(secret: Secret | None = SECRET) -> GitWebhook:
    return GitWebhook(secret, lambda: None)


@pytest.mark.parametrize(
    "headers",
    [
        {"x-hub-signature-256": SIGNATURE},
        {"x-hub-signature": SIGNATURE},
        {"x-gitlab-token": SECRET.reveal().decode()},
        {"x-hub-signature": "sha1=0", "x-hub-signature-256": SIGNATURE},
    ],
)
def test_a_host_that_knows_the_secret_is_believed(headers: dict[str, str]) -> None:
    webhook().check(headers, BODY)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, BODY),
        ({"x-hub-signature-256": SIGNATURE}, BODY + b" "),
        ({"x-hub-signature-256": SIGNATURE.upper()}, BODY),
        ({"x-hub-signature-256": SIGNATURE.removeprefix("sha256=")}, BODY),
        ({"x-hub-signature-256": "é"}, BODY),
        ({"x-gitlab-token": ""}, BODY),
        ({"x-gitlab-token": "0123456789abcdeF"}, BODY),
    ],
)
def test_nobody_else_is(headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(KtError) as error:
        webhook().check(headers, body)
    assert error.value.code == "unauthenticated"


def test_without_a_secret_no_signature_is_good() -> None:
    empty = "sha256=" + hmac.new(b"", BODY, hashlib.sha256).hexdigest()
    for headers in ({"x-hub-signature-256": empty}, {"x-gitlab-token": ""}):
        with pytest.raises(KtError):
            webhook(None).check(headers, BODY)


def test_a_secret_that_could_be_guessed_is_refused() -> None:
    with pytest.raises(KtError) as error:
        webhook(Secret(b"short"))
    assert error.value.code == "misconfigured"
    assert "short" not in str(error.value).replace("shorter", "")


# Over HTTP


async def post(body: Callable[[], Awaitable[bytes]], webhook: GitWebhook | None) -> int:
    """The status that the endpoint answers a body with that arrives in chunks, for ever."""
    statuses: list[int] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": await body(), "more_body": True}

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    app = control_app(cast("Gateway", None), ControlAccess(SECRET, None, time.monotonic), webhook)
    scope = {"type": "http", "method": "POST", "path": f"{PREFIX}/v1/git-webhook", "headers": [], "query_string": b""}
    async with asyncio.timeout(30):
        await app(scope, receive, send)
    return statuses[0]


async def test_a_body_is_read_up_to_a_bound() -> None:
    chunks = 0

    async def endless() -> bytes:
        nonlocal chunks
        chunks += 1
        return bytes(64 * 1024)

    assert await post(endless, webhook()) == 413
    assert chunks == 17


async def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_http, "_BODY_TIMEOUT_S", 0.01)

    async def never() -> bytes:
        await asyncio.Event().wait()
        return b""

    assert await post(never, webhook()) == 408


async def test_a_gateway_with_a_file_has_no_such_endpoint() -> None:
    async def unread() -> bytes:
        pytest.fail("nothing is read")

    assert await post(unread, None) == 404
