"""Values on their way to the key service, and back: nothing in between can read them."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from libs.common.hpke import BoxPrivateKey, BoxPublicKey
from libs.common.protocol.command import BoxedValue
from libs.common.protocol.keys import TRANSPORT_KEY, TransportKeyRequest, resolve_context, seal_context
from libs.common.secret import Secret
from services.api.application.call import Call
from services.api.application.ports import Bus

MAX_AGE_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class _TransportKey:
    id: str
    public: BoxPublicKey
    fetched: float


class Boxes:
    """Boxes values under the key service's transport key, which is asked for every five minutes.

    ``elapsed`` is a monotonic clock in seconds.
    """

    def __init__(self, bus: Bus, elapsed: Callable[[], float]) -> None:
        self._bus = bus
        self._elapsed = elapsed
        self._key: _TransportKey | None = None
        self._fetching = asyncio.Lock()

    async def seal(self, org: str, kind: str, name: str, value: Secret) -> BoxedValue:
        """Raises: KtError ``unavailable`` when the key service does not answer."""
        key = await self._current()
        return BoxedValue(key_id=key.id, box=key.public.seal(value, seal_context(org, kind, name)))

    def forget(self, key_id: str) -> None:
        """Ask for the key anew before the next value: a box under this one was refused."""
        if self._key is not None and self._key.id == key_id:
            self._key = None

    async def _current(self) -> _TransportKey:
        key = self._key
        if key is not None and self._elapsed() - key.fetched < MAX_AGE_S:
            return key
        async with self._fetching:
            if self._key is not None and self._key is not key:
                return self._key
            reply = await self._bus.call(TRANSPORT_KEY, TransportKeyRequest())
            self._key = _TransportKey(reply.key_id, BoxPublicKey(reply.public_key), self._elapsed())
            return self._key


class Envelope:
    """A key pair for one answer, so that only this request can open it."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._key = BoxPrivateKey.generate()

    @property
    def recipient_key(self) -> bytes:
        return self._key.public.encoded

    def open(self, box: bytes | None) -> Mapping[str, Secret]:
        """The values by reference; empty without a box.

        Raises:
            KtError: ``undecryptable`` when the box was made for somebody else.
        """
        if box is None:
            return {}
        context = resolve_context(self._call.org, self._call.requester, self.recipient_key)
        values: dict[str, str] = orjson.loads(self._key.open(box, context).reveal())
        return {reference: Secret(base64.b64decode(value)) for reference, value in values.items()}
