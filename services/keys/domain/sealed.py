"""Sealed values: a data key per value, wrapped under the org's key-encryption key, both bound to their place.

The layout is public: docs/reference/sealed-format.md.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from typing import Final, Self

from libs.common.errors import KtError
from libs.common.names import checked_org
from libs.common.secret import Secret
from services.keys.domain.aead import (
    KEY_BYTES,
    NONCE_BYTES,
    OVERHEAD_BYTES,
    Cipher,
    NotAuthentic,
    associated_data,
    decrypt,
    encrypt,
)

LABEL_VALUE: Final = "keeptrusts/v1/value"
LABEL_DATA_KEY: Final = "keeptrusts/v1/data-key"
LABEL_DIGEST: Final = "keeptrusts/v1/digest"

FRESH_BYTES: Final = KEY_BYTES + 2 * NONCE_BYTES

_KIND: Final = re.compile(r"[a-z][a-z_]{0,62}")
_NAME: Final = re.compile(r"[\x21-\x7e]{1,128}")
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def is_sealed_id(text: str) -> bool:
    return _UUID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class KeyEncryptionKey:
    """Wraps the data keys of one org."""

    id: str
    material: Secret
    cipher: Cipher = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cipher", Cipher(self.material))


@dataclass(frozen=True, slots=True)
class Binding:
    """The place of a sealed value. It opens nowhere else."""

    org: str
    kind: str
    name: str
    sealed_id: str

    @classmethod
    def checked(cls, org: str, kind: str, name: str, sealed_id: str) -> Self:
        """Raises: KtError ``invalid_request`` or ``invalid_name``; nothing of the input is repeated."""
        checked_org(org)
        if not _KIND.fullmatch(kind):
            raise KtError("invalid_request", "The kind is not 1 to 63 lower-case letters and underscores.")
        if not _NAME.fullmatch(name):
            raise KtError("invalid_request", "The name is not 1 to 128 visible ASCII characters.")
        if not is_sealed_id(sealed_id):
            raise KtError("invalid_request", "The sealed id is not a UUID in lower-case text form (RFC 9562).")
        return cls(org, kind, name, sealed_id)

    def for_value(self) -> bytes:
        return associated_data(LABEL_VALUE, self.org, self.kind, self.name, self.sealed_id)

    def for_data_key(self, key_id: str) -> bytes:
        return associated_data(LABEL_DATA_KEY, self.org, self.kind, self.name, self.sealed_id, key_id)


@dataclass(frozen=True, slots=True)
class SealedValue:
    """A value at rest. ``key_id`` names the key-encryption key over ``wrapped_data_key``."""

    binding: Binding
    key_id: str
    wrapped_data_key: bytes
    ciphertext: bytes

    @property
    def digest(self) -> str:
        """Hex SHA-256 over place and ciphertext. Wrapping the data key anew does not change it."""
        document = associated_data(LABEL_DIGEST, self.binding.for_value(), self.ciphertext)
        return hashlib.sha256(document).hexdigest()

    @property
    def plaintext_bytes(self) -> int:
        return max(0, len(self.ciphertext) - OVERHEAD_BYTES)


@dataclass(frozen=True, slots=True)
class Fresh:
    """Randomness for one sealing: never used twice."""

    data_key: Secret
    value_nonce: bytes
    key_nonce: bytes

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Split ``FRESH_BYTES`` of randomness."""
        if len(raw) != FRESH_BYTES:
            raise ValueError(f"sealing takes {FRESH_BYTES} random bytes")
        nonces = raw[KEY_BYTES:]
        return cls(Secret(raw[:KEY_BYTES]), nonces[:NONCE_BYTES], nonces[NONCE_BYTES:])


def seal(value: Secret, binding: Binding, key: KeyEncryptionKey, fresh: Fresh) -> SealedValue:
    return SealedValue(
        binding=binding,
        key_id=key.id,
        wrapped_data_key=encrypt(key.cipher, fresh.key_nonce, fresh.data_key, binding.for_data_key(key.id)),
        ciphertext=encrypt(fresh.data_key, fresh.value_nonce, value, binding.for_value()),
    )


def unseal(sealed: SealedValue, key: KeyEncryptionKey) -> Secret:
    """The value.

    Raises:
        NotAuthentic: another key, or a row that was moved, swapped or changed.
    """
    return decrypt(_data_key(sealed, key), sealed.ciphertext, sealed.binding.for_value())


def rewrap(sealed: SealedValue, key: KeyEncryptionKey, to: KeyEncryptionKey, nonce: bytes) -> SealedValue:
    """The same value with its data key wrapped under ``to``; ciphertext and digest stay as they are.

    Raises:
        NotAuthentic: ``key`` does not open the data key.
    """
    wrapped = encrypt(to.cipher, nonce, _data_key(sealed, key), sealed.binding.for_data_key(to.id))
    return replace(sealed, key_id=to.id, wrapped_data_key=wrapped)


def _data_key(sealed: SealedValue, key: KeyEncryptionKey) -> Secret:
    if sealed.key_id != key.id:
        raise NotAuthentic("another key-encryption key")
    return decrypt(key.cipher, sealed.wrapped_data_key, sealed.binding.for_data_key(key.id))
