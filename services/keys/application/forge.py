"""Where randomness, time and identifiers enter: everything fresh that goes into the store is made here."""

from __future__ import annotations

from dataclasses import dataclass

from libs.common.clock import Clock
from libs.common.ids import IdFactory
from libs.common.secret import Secret
from services.keys.application.ports import Entropy
from services.keys.domain.aead import NONCE_BYTES
from services.keys.domain.keyring import Purpose, UnwrappedKey, material_bytes, new_key, wrap
from services.keys.domain.master import MasterKey
from services.keys.domain.sealed import FRESH_BYTES, Binding, Fresh, KeyEncryptionKey, SealedValue, seal


@dataclass(frozen=True, slots=True)
class Forge:
    """Makes and wraps keys under the current master key, and seals values under an org's key."""

    master: MasterKey
    ids: IdFactory
    clock: Clock
    entropy: Entropy

    def new_key(self, org: str, purpose: Purpose) -> UnwrappedKey:
        return new_key(
            purpose,
            key_id=self.ids.new(),
            org=org,
            material=Secret(self.entropy(material_bytes(purpose))),
            nonce=self.entropy(NONCE_BYTES),
            master=self.master,
            now=self.clock.now(),
        )

    def nonce(self) -> bytes:
        return self.entropy(NONCE_BYTES)

    def wrap(self, key: UnwrappedKey) -> UnwrappedKey:
        return wrap(key, self.entropy(NONCE_BYTES), self.master)

    def seal(self, value: Secret, binding: Binding, key: KeyEncryptionKey) -> SealedValue:
        return seal(value, binding, key, Fresh.from_bytes(self.entropy(FRESH_BYTES)))
