"""What handlers are given: who asks, under which conditions, and the use cases."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request

from libs.common.errors import FieldProblem, KtError
from libs.common.ids import derived_id
from services.api.application.call import Call, Conditions
from services.api.application.door import Door
from services.api.domain.etag import expected_sequence

_KEY = re.compile(r"[!-~]{1,255}")


@dataclass(frozen=True, slots=True)
class Ask:
    """Who asks, and what there is to ask. One object, because each dependency of a route costs its share of time."""

    call: Call
    door: Door


@dataclass(frozen=True, slots=True)
class Change(Ask):
    """An :class:`Ask` that changes something, and under which conditions."""

    conditions: Conditions


IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="1 to 255 visible ASCII characters. Repeating a request with its key carries it out at most "
        "once: the first outcome is answered again, with the header `Idempotency-Replayed: true`.",
        examples=["rotate-2026-11-23"],
    ),
]
IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        description="The ETag the resource must still have, or `*`. Weak tags and lists are refused.",
        examples=['"42"'],
    ),
]
IfNoneMatch = Annotated[
    str | None,
    Header(alias="If-None-Match", description="ETags known to the caller; 304 when one is still current."),
]


async def _the_door(request: Request) -> Door:
    door: Door = request.app.state.door
    return door


async def _ask(request: Request) -> Ask:
    return Ask(request.state.call, request.app.state.door)


async def _create(request: Request, idempotency_key: IdempotencyKey = None) -> Change:
    call, door = request.state.call, request.app.state.door
    return Change(call, door, Conditions(_command_id(request, call, door, idempotency_key)))


async def _change(request: Request, idempotency_key: IdempotencyKey = None, if_match: IfMatch = None) -> Change:
    call, door = request.state.call, request.app.state.door
    command_id = _command_id(request, call, door, idempotency_key)
    return Change(call, door, Conditions(command_id, expected_sequence(if_match)))


TheDoor = Annotated[Door, Depends(_the_door)]
Asked = Annotated[Ask, Depends(_ask)]
ToCreate = Annotated[Change, Depends(_create)]
ToChange = Annotated[Change, Depends(_change)]


def _command_id(request: Request, call: Call, door: Door, key: str | None) -> str:
    if key is None:
        return door.ids.new()
    if not _KEY.fullmatch(key):
        expected = "1 to 255 visible ASCII characters"
        raise KtError(
            "invalid_request",
            f"Idempotency-Key can't be used; expected {expected}.",
            fields=(FieldProblem("Idempotency-Key", "is not valid", expected),),
        )
    return derived_id("http", call.org, call.requester, request.method, request.url.path, key)
