"""Request/reply between services: typed endpoints, one reply envelope, one mapping of errors.

A reply is ``{"ok": …}`` or ``{"error": …}``. A handler that fails answers: silence would cost the caller its timeout.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, Generic, TypeVar

import orjson
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeout
from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationError

from libs.common.errors import FieldProblem, KtError
from libs.common.messaging.connection import REQUEST_TIMEOUT_S, ensure_connected

log = logging.getLogger(__name__)

_TRY_AGAIN: Final = "Try again; `kt status` shows what runs."

_ASK_AGAIN_S: Final = 0.005
_SLOWEST_S: Final = 0.1
_LAST_SHARE: Final = 0.1
"""Of the time for a request: with less left, nobody is asked again, because the answer would hardly come in time."""

DEFAULT_MAX_PAYLOAD: Final = 1024 * 1024
"""What a NATS server carries in one message unless it is told otherwise."""


class Message(BaseModel):
    """Base of everything that crosses the bus: frozen, unknown members refused, input never quoted in errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def _decoded(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        raise ValueError("expected base64") from None


Binary = Annotated[
    bytes,
    BeforeValidator(_decoded),
    PlainSerializer(lambda value: base64.b64encode(value).decode(), return_type=str, when_used="json"),
]
"""Bytes in Python, base64 (RFC 4648 section 4) in JSON."""

Req = TypeVar("Req", bound=Message)
Rep = TypeVar("Rep", bound=Message)
Handler = Callable[[str, Req], Awaitable[Rep]]
"""Takes the concrete subject (it may carry an identity that the server enforced) and the request."""


@dataclass(frozen=True, slots=True)
class Endpoint(Generic[Req, Rep]):
    """One question on the bus. ``subject`` may hold ``*``; ``queue`` is the service that answers."""

    subject: str
    queue: str
    request: type[Req]
    reply: type[Rep]
    summary: str


async def answer(
    endpoint: Endpoint[Req, Rep],
    handler: Handler[Req, Rep],
    subject: str,
    body: bytes,
    max_bytes: int = DEFAULT_MAX_PAYLOAD,
) -> bytes:
    """Run a handler on raw bytes and encode what comes of it. Never raises for a failing handler, nor gives more than
    ``max_bytes``: what the bus does not carry would be silence, too."""
    try:
        request = endpoint.request.model_validate_json(body)
    except ValidationError as error:
        return refusal(
            KtError("invalid_request", "The message does not have the expected form.", "", problems_of(error))
        )
    try:
        reply = b'{"ok":' + (await handler(subject, request)).model_dump_json().encode() + b"}"
    except KtError as error:
        return refusal(error)
    except Exception:
        log.exception("rpc.failed", extra={"endpoint": endpoint.subject})
        return refusal(KtError("internal", "Something failed inside.", "The log has the details; try again."))
    if len(reply) > max_bytes:
        log.error("rpc.reply_too_large", extra={"endpoint": endpoint.subject, "bytes": len(reply)})
        return refusal(
            KtError("internal", "The answer is larger than the message bus carries.", "Ask for less at once.")
        )
    return reply


class Declined(KtError):
    """Raised by a handler whose instance can't serve a request that another instance of the service may be able to.

    Nothing was done, so the client asks again until its time is up; only then its caller sees this error.
    """


def problems_of(error: ValidationError) -> tuple[FieldProblem, ...]:
    """What pydantic found, without what it was given: the name of an unknown member is the sender's text too."""
    found = []
    for problem in error.errors(include_input=False, include_context=False):
        place = [str(part) for part in problem["loc"]]
        if problem["type"] == "extra_forbidden":
            place[-1] = "(unknown)"
        found.append(FieldProblem(".".join(place), problem["msg"]))
    return tuple(found)


def refusal(error: KtError) -> bytes:
    """The reply that carries an error."""
    return orjson.dumps({"error": error.as_wire() | ({"declined": True} if isinstance(error, Declined) else {})})


class Unanswered(KtError):
    """The request was sent and no reply came in time: whether it was carried out is not known."""


class RpcClient:
    """Asks other services. Every call is bounded in time."""

    def __init__(self, nc: Client) -> None:
        self._nc = nc

    async def call(
        self, endpoint: Endpoint[Req, Rep], request: Req, *, subject: str = "", timeout_s: float = REQUEST_TIMEOUT_S
    ) -> Rep:
        """Send ``request`` and return the reply. Asks again while it is declined (:class:`Declined`).

        Raises:
            Unanswered: ``unavailable``, sent but not answered in time.
            KtError: what the service answered; ``unavailable`` when the request reached nobody.
        """
        body, loop = request.model_dump_json().encode(), asyncio.get_running_loop()
        deadline, pause = loop.time() + timeout_s, _ASK_AGAIN_S
        while True:
            raw = await self._ask(endpoint, subject or endpoint.subject, body, deadline - loop.time())
            try:
                return decode_reply(endpoint, raw)
            except Declined as declined:
                await asyncio.sleep(min(pause, max(0.0, deadline - loop.time())))
                if deadline - loop.time() < timeout_s * _LAST_SHARE:
                    # Not Declined: a service that is being asked itself must not pass that on as its own.
                    raise KtError(declined.code, declined.detail, declined.hint, extra=declined.extra) from None
            pause = min(2 * pause, _SLOWEST_S)

    async def _ask(self, endpoint: Endpoint[Any, Any], subject: str, body: bytes, timeout_s: float) -> bytes:
        ensure_connected(self._nc)
        try:
            return (await self._nc.request(subject, body, timeout=timeout_s)).data
        except NoRespondersError:
            raise KtError("unavailable", f"The {endpoint.queue} service is not running.", _TRY_AGAIN) from None
        except (NatsTimeout, NatsError):
            detail = f"The {endpoint.queue} service did not answer within {timeout_s:.1f} s."
            raise Unanswered("unavailable", detail, _TRY_AGAIN) from None


def decode_reply(endpoint: Endpoint[Any, Rep], body: bytes) -> Rep:
    """
    Raises:
        Declined: the instance that was asked can't serve the request.
        KtError: what the service answered.
    """
    document: dict[str, Any] = orjson.loads(body)
    if "error" in document:
        error: dict[str, Any] = document["error"]
        raise Declined.from_wire(error) if error.get("declined") else KtError.from_wire(error)
    return endpoint.reply.model_validate(document["ok"])


MAX_WORKERS: Final = 64
"""Requests one subscription works on at once; more wait in the connection's bounded buffer."""
