"""Opening: from references with digests to one box for one recipient."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import orjson

from libs.common.errors import KtError
from libs.common.hpke import BoxPublicKey
from libs.common.secret import Secret
from services.keys.application.keyring import Keyring
from services.keys.application.ports import DamageNotes, SealedStore
from services.keys.domain.aead import NotAuthentic
from services.keys.domain.sealed import Binding, SealedValue, is_sealed_id, unseal

MAX_ITEMS: Final = 1000
MAX_PLAINTEXT_BYTES: Final = 1024 * 1024
UNDECRYPTABLE: Final = "undecryptable"
NONE: Final[Mapping[str, Secret]] = MappingProxyType({})


class Rejected(Exception):
    """Why one sealed value is not handed out, in words for the log."""


@dataclass(frozen=True, slots=True)
class SealedReference:
    """A sealed value as an event names it. The digest covers org, kind, name, id and ciphertext."""

    id: str
    digest: str


@dataclass(frozen=True, slots=True)
class OpenItem:
    """``reference`` is how the requester calls it."""

    reference: str
    kind: str
    name: str
    sealed: SealedReference


@dataclass(frozen=True, slots=True)
class Opened:
    """``box`` holds JSON ``{reference: base64 value}``, or is None when nothing could be opened.

    ``failed`` maps the other references to a reason.
    """

    box: bytes | None
    failed: Mapping[str, str]


class Unsealer:
    """Opens a stored value after checking that it is the one an event refers to."""

    def __init__(self, keyring: Keyring, store: SealedStore) -> None:
        self._keyring = keyring
        self._store = store

    async def fetch(self, sealed_ids: Sequence[str]) -> Mapping[str, SealedValue]:
        """The values with these ids, and in the keyring the keys they take, as far as either is there.

        Raises:
            Declined: one of them takes a key that only an instance with another master key can open.
        """
        found = dict(await self._store.fetch(sealed_ids))
        unknown = self._without_key(found)
        if unknown:
            await self._keyring.reload()
            unknown = self._without_key(found)
        if unknown:  # a deep rotation may have wrapped them anew since, and destroyed the key they were read with
            found |= await self._store.fetch(unknown)
            await self._keyring.reload()
            if self._without_key(found):
                self._keyring.decline_if_superseded()
        return found

    def unseal(self, stored: SealedValue | None, expected: SealedReference, org: str, kind: str, name: str) -> Secret:
        """Raises: Rejected."""
        if stored is None:
            raise Rejected("not in the store")
        if (stored.binding.org, stored.binding.kind, stored.binding.name) != (org, kind, name):
            raise Rejected("of another org, kind or name")
        if stored.digest != expected.digest:
            raise Rejected("not what the event refers to")
        return self.open(stored)

    def open(self, stored: SealedValue) -> Secret:
        """Raises: Rejected."""
        key = self._keyring.key_encryption_key(stored.key_id)
        if key is None:
            raise Rejected("its key-encryption key is not in the keyring")
        try:
            return unseal(stored, key)
        except NotAuthentic as reason:
            raise Rejected(str(reason)) from None

    def _without_key(self, found: Mapping[str, SealedValue]) -> list[str]:
        return [i for i, value in found.items() if self._keyring.key_encryption_key(value.key_id) is None]


class Opening:
    def __init__(self, unsealer: Unsealer, damages: DamageNotes) -> None:
        self._unsealer = unsealer
        self._damages = damages

    async def open(
        self,
        org: str,
        items: Sequence[OpenItem],
        recipient: BoxPublicKey,
        context: bytes,
        legacy: Mapping[str, Secret] = NONE,
    ) -> Opened:
        """Open up to 1,000 values of one org, together at most 1 MiB, for one recipient.

        ``legacy`` are values that were never sealed, by reference; they go into the same box.
        What can't be opened is named in ``failed`` and in the log; it never keeps the others back.

        Raises:
            KtError: ``invalid_request`` for too many or repeated references, or too much plaintext for one box.
        """
        _check_items(items, legacy)
        stored = await self._unsealer.fetch([item.sealed.id for item in items if is_sealed_id(item.sealed.id)])
        sealed = (stored[item.sealed.id].plaintext_bytes for item in items if item.sealed.id in stored)
        _check_size(sum(sealed) + sum(map(len, legacy.values())))
        values = {reference: _encoded(value) for reference, value in legacy.items()}
        failed: dict[str, str] = {}
        for item in items:
            try:
                value = self._unsealer.unseal(stored.get(item.sealed.id), item.sealed, org, item.kind, item.name)
            except Rejected as reason:
                self._damages.note(
                    Binding(org, item.kind, item.name, item.sealed.id), item.sealed.digest, str(reason)
                )
                failed[item.reference] = UNDECRYPTABLE
            else:
                values[item.reference] = _encoded(value)
        return Opened(recipient.seal(Secret(orjson.dumps(values)), context) if values else None, failed)


def _encoded(value: Secret) -> str:
    return base64.b64encode(value.reveal()).decode()


def _check_items(items: Sequence[OpenItem], legacy: Mapping[str, Secret]) -> None:
    if len(items) > MAX_ITEMS:
        raise KtError("invalid_request", f"The request names {len(items):,} values; the limit is {MAX_ITEMS:,}.")
    if len({item.reference for item in items} | legacy.keys()) != len(items) + len(legacy):
        raise KtError("invalid_request", "The request names a reference more than once.")


def _check_size(total: int) -> None:
    if total > MAX_PLAINTEXT_BYTES:
        raise KtError(
            "invalid_request",
            f"The values have {total:,} bytes together; one answer holds at most {MAX_PLAINTEXT_BYTES:,}.",
            "Split the references over several requests.",
        )
