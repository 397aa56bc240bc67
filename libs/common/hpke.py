"""Boxes for values on the bus: HPKE (RFC 9180) base mode with the hybrid ML-KEM-768 + X25519 KEM.

A box can be opened only by the holder of the private key it is addressed to, and only with the same ``context``,
which is bound as HPKE ``info``.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from libs.common.errors import KtError
from libs.common.secret import Secret

_SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_MLKEM_PUBLIC: Final = 1184
_MLKEM_SEED: Final = 64
_X25519: Final = 32
PUBLIC_KEY_BYTES: Final = _MLKEM_PUBLIC + _X25519


class BoxPublicKey:
    """A recipient. Encoded as 1184 bytes of ML-KEM-768 public key followed by 32 bytes of X25519."""

    def __init__(self, encoded: bytes) -> None:
        """Raises: KtError ``invalid_request`` when the bytes are not such a key."""
        try:
            if len(encoded) != PUBLIC_KEY_BYTES:
                raise ValueError
            self._key = MLKEM768X25519PublicKey(
                MLKEM768PublicKey.from_public_bytes(encoded[:_MLKEM_PUBLIC]),
                X25519PublicKey.from_public_bytes(encoded[_MLKEM_PUBLIC:]),
            )
        except ValueError:
            raise KtError(
                "invalid_request",
                f"The recipient key is not {PUBLIC_KEY_BYTES} bytes of ML-KEM-768 and X25519 public key.",
            ) from None
        self.encoded = encoded

    def seal(self, plaintext: Secret, context: bytes) -> bytes:
        return _SUITE.encrypt(plaintext.reveal(), self._key, context)


class BoxPrivateKey:
    """The private half. :meth:`to_secret` is 64 bytes of ML-KEM seed (FIPS 203) followed by 32 of X25519."""

    def __init__(self, encoded: Secret) -> None:
        raw = encoded.reveal()
        mlkem = MLKEM768PrivateKey.from_seed_bytes(raw[:_MLKEM_SEED])
        x25519 = X25519PrivateKey.from_private_bytes(raw[_MLKEM_SEED:])
        self._encoded = encoded
        self._key = MLKEM768X25519PrivateKey(mlkem, x25519)
        self.public = BoxPublicKey(mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw())

    @classmethod
    def generate(cls) -> BoxPrivateKey:
        mlkem, x25519 = MLKEM768PrivateKey.generate(), X25519PrivateKey.generate()
        return cls(Secret(mlkem.private_bytes_raw() + x25519.private_bytes_raw()))

    def to_secret(self) -> Secret:
        return self._encoded

    def open(self, box: bytes, context: bytes) -> Secret:
        """Raises: KtError ``undecryptable`` for another recipient, another context or a changed box."""
        try:
            return Secret(_SUITE.decrypt(box, self._key, context))
        except (InvalidTag, ValueError):
            raise KtError(
                "undecryptable",
                "The sealed message can't be opened with this key and context.",
                "Ask for the key again and repeat the request.",
            ) from None
