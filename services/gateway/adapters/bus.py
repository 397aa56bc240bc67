"""The system, seen from a gateway: keys, changes, client keys and reports over NATS.

The connection is opened when something first needs it, and renewed for as long as the gateway runs: a new identity
before the old one expires, a new connection when the client library gave one up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol, TypeVar

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.errors import SlowConsumerError

from libs.common.clock import Clock
from libs.common.errors import KtError
from libs.common.messaging.identities import NkeyKind, gateway_inbox, new_seed, public_key, signer
from libs.common.messaging.rpc import Endpoint, Message, RpcClient
from libs.common.subjects import GatewayIdentity, feed_subject, gateway_subject
from services.gateway.adapters.api_client import BusIdentity
from services.gateway.adapters.bus_connection import Connect, connect
from services.gateway.application.ports import ChangeListener
from services.gateway.domain.references import Reference

log = logging.getLogger(__name__)

_RENEW_AT: Final = 0.8
_FIRST_RETRY_S: Final = 0.5
_LONGEST_RETRY_S: Final = 15.0
_BOUND_S: Final = 5.0
_REVOKED: Final = "kt.token.revoked."

Req = TypeVar("Req", bound=Message)
Rep = TypeVar("Rep", bound=Message)


class IdentityProvider(Protocol):
    async def bus_identity(self, name: str, user_public_key: str) -> BusIdentity:
        """Raises: KtError."""


class Bus:
    """One gateway on the bus. ``listener`` is told what changes, and after a gap that it may have missed some."""

    def __init__(
        self,
        name: str,
        identities: IdentityProvider,
        listener: ChangeListener,
        clock: Clock,
        *,
        connect: Connect = connect,
    ) -> None:
        self._wished_name = name
        self._identities = identities
        self._listener = listener
        self._clock = clock
        self._connect = connect
        self._seed = new_seed(NkeyKind.USER)
        self._identity: BusIdentity | None = None
        self._client: Client | None = None
        self._subscriptions: dict[Reference, Subscription] = {}
        self._watched: frozenset[Reference] = frozenset()
        self._opening = asyncio.Lock()
        self._lost = asyncio.Event()
        self.revocation = asyncio.Event()
        """Set when a token of the org was revoked, or may have been."""
        self._upkeep: asyncio.Task[None] | None = None

    @property
    def identity(self) -> BusIdentity:
        """Raises: KtError ``unavailable`` before the first connection."""
        if self._identity is None:
            raise KtError("unavailable", "The gateway is not connected to the system.")
        return self._identity

    @property
    def requester(self) -> str:
        return f"gateway/{self.identity.gateway.name}"

    async def open(self) -> None:
        """Connect, unless that was done before. A connection that was lost later is opened again by itself.

        Raises:
            KtError: ``unreachable``, ``unauthenticated`` or ``forbidden``.
        """
        async with self._opening:
            if self._upkeep is None:
                await self._open()
                self._upkeep = asyncio.create_task(self._keep_up())

    async def close(self) -> None:
        if self._upkeep is not None:
            self._upkeep.cancel()
            await asyncio.gather(self._upkeep, return_exceptions=True)
        await self._discard()

    async def call(self, endpoint: Endpoint[Req, Rep], verb: str, request: Req) -> Rep:
        """Ask the resolver under this gateway's own subject.

        Raises:
            KtError: what it answered; ``unreachable`` or ``unavailable``.
        """
        await self.open()
        if self._client is None:
            raise KtError("unreachable", "The connection to the system was lost.", "It is being opened again.")
        subject = gateway_subject(self.identity.gateway, verb)
        try:
            return await RpcClient(self._client).call(endpoint, request, subject=subject)
        except (ValueError, KeyError):
            raise KtError("unavailable", "The system gave an answer that can't be read.") from None

    async def watch(self, references: Sequence[Reference]) -> None:
        self._watched = frozenset(references)
        if not self._watched and self._upkeep is None:
            return
        await self.open()
        await self._subscribe()

    async def _open(self) -> None:
        self._lost.clear()
        self._identity = identity = await self._identities.bus_identity(self._wished_name, public_key(self._seed))
        self._client = await self._connect(
            identity.nats_url,
            jwt=lambda: self.identity.user_jwt,
            sign=signer(self._seed),
            inbox_prefix=gateway_inbox(identity.gateway),
            name=f"keeptrusts-gateway-{identity.gateway.name}",
            on_reconnected=self._on_reconnected,
            on_closed=self._on_closed,
            on_error=self._on_error,
        )
        self._subscriptions = {}
        await self._follow_token(self._client, identity.gateway)

    async def _follow_token(self, client: Client, gateway: GatewayIdentity) -> None:
        """Once its own token is revoked nothing may be resolved with it: ask for everything again, and be told so."""
        own = feed_subject(gateway.org, "token", gateway.token_id)

        async def told(message: Msg) -> None:
            if (message.headers or {}).get("Kt-Type", "").startswith(_REVOKED):
                self.revocation.set()
            if message.subject == own:
                self._listener.missed()

        try:
            await client.subscribe(feed_subject(gateway.org, "token", "*"), cb=told)
            await client.flush(timeout=int(_BOUND_S))
        except (NatsError, OSError, TimeoutError) as error:
            raise KtError("unreachable", f"Changes can't be followed ({type(error).__name__}).") from None

    async def _subscribe(self) -> None:
        client = self._client
        if client is None:
            return
        try:
            for reference in self._watched - self._subscriptions.keys():
                subject = feed_subject(self.identity.gateway.org, reference.secret_kind, reference.name)
                self._subscriptions[reference] = await client.subscribe(subject, cb=self._told(reference))
            for reference in self._subscriptions.keys() - self._watched:
                await self._subscriptions.pop(reference).unsubscribe()
            await client.flush(timeout=int(_BOUND_S))
        except (NatsError, OSError, TimeoutError) as error:
            raise KtError("unreachable", f"Changes can't be followed ({type(error).__name__}).") from None

    def _told(self, reference: Reference) -> Callable[[Msg], Awaitable[None]]:
        async def told(_message: Msg) -> None:
            self._listener.changed(reference)

        return told

    async def _keep_up(self) -> None:
        """Renew the identity before it expires, and the connection when it was closed for good."""
        while True:
            try:
                async with asyncio.timeout(self._renewal_in_s()):
                    await self._lost.wait()
            except TimeoutError:
                await self._until_done(self._renew)
            else:
                log.warning("bus.connection_lost")
                await self._until_done(self._reopen)

    def _renewal_in_s(self) -> float:
        left = (self.identity.expires_at - self._clock.now()).total_seconds()
        return max(left * _RENEW_AT, 1.0)

    async def _until_done(self, step: Callable[[], Awaitable[None]]) -> None:
        pause = _FIRST_RETRY_S
        while True:
            try:
                await step()
            except KtError as error:
                log.warning("bus.retry", extra={"code": error.code, "in_s": pause})
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_RETRY_S)
            else:
                return

    async def _renew(self) -> None:
        if self._lost.is_set() or self._client is None:
            return
        self._identity = await self._identities.bus_identity(self._wished_name, public_key(self._seed))
        await self._client.force_reconnect()

    async def _reopen(self) -> None:
        await self._discard()
        await self._open()
        await self._subscribe()
        await self._on_reconnected()

    async def _discard(self) -> None:
        client, self._client = self._client, None
        if client is not None and not client.is_closed:
            try:
                async with asyncio.timeout(_BOUND_S):
                    await client.close()
            except (NatsError, OSError, TimeoutError):
                log.warning("bus.close_failed")

    async def _on_reconnected(self) -> None:
        self.revocation.set()
        self._listener.missed()

    async def _on_closed(self) -> None:
        self._lost.set()

    async def _on_error(self, error: Exception) -> None:
        # Permission violations and slow consumers show up only here.
        log.warning("bus.error", extra={"kind": type(error).__name__, "text": str(error)})
        if isinstance(error, SlowConsumerError):
            self._listener.missed()
