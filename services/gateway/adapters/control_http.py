"""The control endpoints, on a Unix socket behind Envoy's listener."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Generator
from pathlib import Path
from typing import Any, Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from libs.common.errors import KtError
from services.gateway.application.control import ControlAccess
from services.gateway.application.gateway import Gateway
from services.gateway.application.git_webhook import GitWebhook

log = logging.getLogger(__name__)

PREFIX: Final = "/-/keeptrusts"
_STOP_TIMEOUT_S: Final = 2.0
_WEBHOOKS_AT_ONCE: Final = 4
_MAX_BODY_BYTES: Final = 1024 * 1024
_BODY_TIMEOUT_S: Final = 10.0

Endpoint = Callable[[Request], Awaitable[Response]]


def control_app(gateway: Gateway, access: ControlAccess, webhook: GitWebhook | None = None) -> Starlette:
    async def healthz(_request: Request) -> Response:
        ready = gateway.config is not None
        return JSONResponse({"status": "ok" if ready else "starting"}, 200 if ready else 503)

    async def status(_request: Request) -> Response:
        return JSONResponse(gateway.status().as_document())

    async def reload(_request: Request) -> Response:
        return JSONResponse({"outcome": "reloaded", **(await gateway.reload()).as_document()})

    webhooks = asyncio.Semaphore(_WEBHOOKS_AT_ONCE)

    async def git_webhook(request: Request) -> Response:
        if webhook is None:
            raise KtError("not_found", "This gateway's configuration is a file, so that there is nothing to look at.")
        if request.headers.get("authorization"):
            await access.check(request.headers["authorization"])
        else:
            async with webhooks:
                webhook.check(request.headers, await _body(request))
        webhook.look()
        return JSONResponse({"outcome": "looking"}, 202)

    return Starlette(
        routes=[
            Route(f"{PREFIX}/healthz", healthz),
            Route(f"{PREFIX}/v1/status", _guarded(status, access)),
            Route(f"{PREFIX}/v1/reload", _guarded(reload, access), methods=["POST"]),
            Route(f"{PREFIX}/v1/git-webhook", _answered(git_webhook), methods=["POST"]),
        ],
        exception_handlers={404: _no_such_endpoint, 405: _no_such_method},
    )


def _guarded(endpoint: Endpoint, access: ControlAccess) -> Endpoint:
    async def guarded(request: Request) -> Response:
        await access.check(request.headers.get("authorization", ""))
        return await endpoint(request)

    return _answered(guarded)


def _answered(endpoint: Endpoint) -> Endpoint:
    async def answered(request: Request) -> Response:
        try:
            return await endpoint(request)
        except KtError as error:
            return problem(error)
        except Exception:
            log.exception("control.failed")
            return problem(KtError("internal", "Something failed inside the gateway.", "Its log has the details."))

    return answered


async def _body(request: Request) -> bytes:
    """Raises: KtError ``body_too_large`` or ``request_timeout``: anybody may send one."""
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_TIMEOUT_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > _MAX_BODY_BYTES:
                    raise KtError("body_too_large", f"A webhook's body has at most {_MAX_BODY_BYTES:,} bytes here.")
    except TimeoutError:
        raise KtError("request_timeout", "The body did not arrive in time.") from None
    return bytes(body)


def problem(error: KtError) -> Response:
    """A problem document (RFC 9457)."""
    document: dict[str, Any] = {
        "type": f"urn:keeptrusts:error:{error.code}",
        "title": error.kind.title,
        "status": error.kind.status,
        "detail": error.detail,
        "code": error.code,
        "hint": error.hint,
        "errors": [{"field": f.field, "problem": f.problem, "expected": f.expected} for f in error.fields],
    }
    return JSONResponse(document, error.kind.status, media_type="application/problem+json")


async def _no_such_endpoint(_request: Request, _error: Exception) -> Response:
    return problem(KtError("not_found", "The gateway has no such control endpoint."))


async def _no_such_method(_request: Request, _error: Exception) -> Response:
    return problem(KtError("method_not_allowed", "This control endpoint does not take that method."))


class _Server(uvicorn.Server):
    """Leaves signals to the gateway."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class ControlServer:
    def __init__(self, app: Starlette, path: Path) -> None:
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=int(_STOP_TIMEOUT_S),
        )
        self._server = _Server(config)
        self._path = path
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(str(self._path))
        self._path.chmod(0o600)
        listening.setblocking(False)
        self._task = asyncio.create_task(self._server.serve(sockets=[listening]))

    async def stop(self) -> None:
        self._server.should_exit = True
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STOP_TIMEOUT_S):
                    await self._task
