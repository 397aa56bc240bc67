"""What the tests of the webhooks service share: time under control, and receivers that answer as told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from libs.common.errors import KtError
from libs.common.events import Actor, Metadata, Origin, Resource, encode
from libs.common.events.config_variable import ConfigVariableRotated
from libs.common.events.secret import SealedRef
from services.webhooks.application.ports import Claimed, Position
from services.webhooks.domain.schedule import Response
from services.webhooks.domain.subscription import SigningSecret

START = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


@dataclass
class MovableClock:
    moment: datetime = START

    def now(self) -> datetime:
        return self.moment

    def advance(self, by: timedelta) -> None:
        self.moment += by


def event_body(event_id: str = "01936c2f-8a10-7c3e-9b1a-2f6d5e4c3b2a", org: str = "default") -> bytes:
    metadata = Metadata(
        event_id, "2026-11-23T08:00:00.000000Z", org, "keeptrusts/command", Actor("admin", "a"), Origin("r1")
    )
    return encode(ConfigVariableRotated(2, SealedRef("s", "d")), Resource("config_variable", "A", 2), metadata)[1]


@dataclass
class Events:
    """Implements ``Messages``: the same event everywhere, unless told otherwise."""

    body_: bytes | None = field(default_factory=event_body)
    away: bool = False

    async def body(self, _: Position) -> bytes | None:
        if self.away:
            raise KtError("unavailable", "The stream does not answer.")
        return self.body_


@dataclass
class Signatures:
    """Implements ``Signer``: says which secrets it was asked to sign with."""

    error: KtError | None = None

    async def sign(self, claimed: Claimed, secrets: Sequence[SigningSecret], timestamp: int, payload: bytes) -> str:
        if self.error is not None:
            raise self.error
        return " ".join(f"v1,{secret.id}" for secret in secrets)


@dataclass
class Receiver:
    """Implements ``Sender``: answers with what ``answer`` says, and remembers what it got."""

    answer: Callable[[], Response] = lambda: Response(200)
    got: list[tuple[str, Mapping[str, str], bytes]] = field(default_factory=list)

    async def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Response:
        self.got.append((url, headers, body))
        return self.answer()
