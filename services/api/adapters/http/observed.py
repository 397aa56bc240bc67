"""The outermost layer: request ids, the bound on concurrent requests, metrics, one log line a request."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from time import perf_counter
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from libs.common.errors import KtError
from libs.common.ids import IdFactory
from libs.common.names import looks_like_secret
from services.api.adapters.http.metrics import Metrics
from services.api.adapters.http.problems import problem_response

log = logging.getLogger(__name__)

MAX_ACTIVE: Final = 512
UNMATCHED: Final = "(none)"

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_NOT_LIMITED: Final = frozenset({"/healthz", "/readyz", "/metrics"})
_FAILED: Final = 500


@dataclass(slots=True)
class _Exchange:
    """One request and how it was answered. ``status`` 0: not at all."""

    request_id: str
    started: float
    status: int = 0


class Observed:
    """Pure ASGI: this runs for every request, and a framework's middleware base costs more than the rest."""

    def __init__(self, app: ASGIApp, ids: IdFactory, metrics: Metrics, max_active: int = MAX_ACTIVE) -> None:
        self._app = app
        self._ids = ids
        self._metrics = metrics
        self._max_active = max_active
        self._active = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = _Exchange(self._request_id(scope), perf_counter())
        scope.setdefault("state", {})["request_id"] = exchange.request_id
        self._active += 1
        try:
            await self._answer(scope, receive, _labelled(send, exchange), exchange)
        except Exception:
            log.exception("http.failed", extra={"request_id": exchange.request_id, "route": _route(scope)})
        finally:
            self._active -= 1
            self._record(scope, exchange)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, exchange: _Exchange) -> None:
        if self._active > self._max_active and scope["path"] not in _NOT_LIMITED:
            error = KtError("overloaded", "Too many requests are being worked on.", "Try again in a second.")
            await problem_response(error, exchange.request_id)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _request_id(self, scope: Scope) -> str:
        for name, value in scope["headers"]:
            if name == b"x-request-id":
                given = value.decode("latin-1") if _REQUEST_ID.fullmatch(value) else ""
                # It goes into logs and events, so that nothing in the shape of a key may pass for one.
                return given if given and not looks_like_secret(given) else self._ids.new()
        return self._ids.new()

    def _record(self, scope: Scope, exchange: _Exchange) -> None:
        seconds = perf_counter() - exchange.started
        route, method = _route(scope), scope["method"]
        self._metrics.observe(method, route, exchange.status, seconds)
        self._metrics.set_active(self._active)
        call = scope["state"].get("call")
        level = logging.DEBUG if route in _NOT_LIMITED else logging.INFO
        if exchange.status >= _FAILED:
            level = logging.WARNING
        if log.isEnabledFor(level):
            fields = {
                "method": method,
                "route": route,
                "status": exchange.status,
                "ms": round(seconds * 1000, 2),
                "request_id": exchange.request_id,
                "actor": call.requester if call else "",
            }
            log.log(level, "http.request", extra=fields)


def _labelled(send: Send, exchange: _Exchange) -> Send:
    """Adds the headers that every response has."""
    extra = [
        (b"x-request-id", exchange.request_id.encode()),
        (b"x-content-type-options", b"nosniff"),
    ]

    async def labelled(message: Message) -> None:
        if message["type"] == "http.response.start":
            exchange.status = message["status"]
            message = {**message, "headers": [*message["headers"], *extra]}
        await send(message)

    return labelled


def _route(scope: Scope) -> str:
    """The template of the route, not the path: a path may hold what somebody pasted there."""
    route = scope.get("route")
    return str(route.path) if route is not None else UNMATCHED
