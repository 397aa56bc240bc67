"""What the use cases need of the outside."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from libs.common.messaging.connection import REQUEST_TIMEOUT_S
from libs.common.messaging.rpc import Endpoint, Message
from libs.common.subjects import GatewayIdentity

Req = TypeVar("Req", bound=Message)
Rep = TypeVar("Rep", bound=Message)


class Bus(Protocol):
    """The other services (libs.common.messaging.rpc.RpcClient)."""

    async def call(
        self, endpoint: Endpoint[Req, Rep], request: Req, *, subject: str = "", timeout_s: float = REQUEST_TIMEOUT_S
    ) -> Rep:
        """Raises: KtError; Unanswered when the outcome is not known."""


class AccessRecorder(Protocol):
    """Puts on record what happened at the door (libs.common.access_log.AccessLog)."""

    async def record(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Store ``(subject, body)`` pairs on ``KT_ACCESS``; returns when they are durable.

        Raises:
            KtError: ``unavailable`` or ``overloaded``.
        """


class GatewaySigner(Protocol):
    """Signs bus identities that the server confines to one gateway of one org."""

    def sign(self, gateway: GatewayIdentity, user: str, now: datetime, expires: datetime) -> str:
        """A user JWT for the public user nkey ``user``.

        Raises:
            KtError: ``invalid_name`` or ``invalid_request`` when name or key are not well-formed.
        """
