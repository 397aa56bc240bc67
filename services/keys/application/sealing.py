"""Sealing: a value that came in a box becomes a row that only its place can open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from libs.common.errors import KtError
from libs.common.protocol.keys import seal_context
from libs.common.secret import MAX_VALUE_BYTES, Secret
from services.keys.application.forge import Forge
from services.keys.application.keyring import Keyring
from services.keys.application.opening import Rejected, SealedReference, Unsealer
from services.keys.application.ports import DamageNotes, SealedStore
from services.keys.domain.keyring import Purpose
from services.keys.domain.sealed import Binding, KeyEncryptionKey, SealedValue

_ATTEMPTS = 2
"""The second is for a key that another instance retired a moment ago."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """What an event may refer to: it is durable. ``same``: the id already held this very value."""

    id: str
    digest: str
    key_id: str
    outcome: Literal["sealed", "same"]


class Sealing:
    def __init__(
        self, keyring: Keyring, store: SealedStore, forge: Forge, unsealer: Unsealer, damages: DamageNotes
    ) -> None:
        self._keyring = keyring
        self._store = store
        self._forge = forge
        self._unsealer = unsealer
        self._damages = damages

    async def seal(self, binding: Binding, transport_key_id: str, box: bytes) -> Sealed:
        """Seal the value that ``box`` holds for a transport key. A repeated request finds its first outcome.

        Raises:
            KtError: ``undecryptable`` for a box that does not open; ``invalid_value`` unless it holds 1 byte to
                64 KiB; ``idempotency_mismatch`` when the id is taken by another value.
        """
        context = seal_context(binding.org, binding.kind, binding.name)
        transport = await self._keyring.transport_key(transport_key_id)
        return await self.seal_value(binding, _checked(transport.open(box, context)))

    async def reseal(self, source: SealedReference, binding: Binding) -> Sealed:
        """Seal the value of ``source``, of the same org, kind and name, under a new id.

        Raises:
            KtError: ``undecryptable`` when the source is gone or damaged; ``idempotency_mismatch`` as for ``seal``.
        """
        found = await self._unsealer.fetch([source.id])
        try:
            value = self._unsealer.unseal(found.get(source.id), source, binding.org, binding.kind, binding.name)
        except Rejected as reason:
            place = Binding(binding.org, binding.kind, binding.name, source.id)
            self._damages.note(place, source.digest, str(reason))
            raise KtError(
                "undecryptable",
                "The older value can't be opened any more.",
                "Store the value anew with rotate.",
            ) from None
        return await self.seal_value(binding, value)

    async def seal_value(self, binding: Binding, value: Secret) -> Sealed:
        """Seal a value that is here already; otherwise as ``seal``."""
        for _ in range(_ATTEMPTS):
            current = await self._keyring.current(binding.org, Purpose.KEY_ENCRYPTION)
            fresh = self._forge.seal(value, binding, KeyEncryptionKey(current.entry.id, current.material))
            stored = await self._store.put(fresh, self._forge.clock.now())
            if stored is not None:
                return _outcome("sealed", stored) if stored == fresh else await self._same(binding, value, stored)
            await self._keyring.reload()
        raise KtError("unavailable", "The org's encryption key is being replaced.", "Try again in a few seconds.")

    async def _same(self, binding: Binding, value: Secret, stored: SealedValue) -> Sealed:
        if stored.binding == binding:
            # Read again, together with its key: a deep rotation may be at work.
            stored = (await self._unsealer.fetch([binding.sealed_id])).get(binding.sealed_id, stored)
            try:
                held = self._unsealer.open(stored)
            except Rejected as reason:
                self._damages.note(binding, stored.digest, str(reason))
                raise KtError("undecryptable", "The id is taken by a sealed value that can't be opened.") from None
            if held == value:
                return _outcome("same", stored)
        raise KtError(
            "idempotency_mismatch",
            "The sealed id is taken by another value.",
            "Repeat a request with the same value, or use a new Idempotency-Key.",
        )


def _outcome(outcome: Literal["sealed", "same"], stored: SealedValue) -> Sealed:
    return Sealed(stored.binding.sealed_id, stored.digest, stored.key_id, outcome)


def _checked(value: Secret) -> Secret:
    if not 1 <= len(value) <= MAX_VALUE_BYTES:
        raise KtError("invalid_value", f"The value has {len(value):,} bytes; expected 1 to {MAX_VALUE_BYTES:,}.")
    return value
