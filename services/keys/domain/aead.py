"""AES-256-GCM-SIV (RFC 8452) in one versioned byte layout, and the encoding of what it authenticates.

Layout: format byte ``0x01``, 12 bytes of nonce, ciphertext, 16 bytes of tag.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from libs.common.secret import Secret

FORMAT: Final = 1
KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
OVERHEAD_BYTES: Final = 1 + NONCE_BYTES + TAG_BYTES


class NotAuthentic(Exception):
    """The bytes were not sealed with this key for this place: wrong key, moved, changed or cut short."""


def associated_data(*fields: str | bytes) -> bytes:
    """Each field as four bytes of big-endian length followed by its bytes (text as UTF-8).

    No two different sequences of fields have the same encoding.
    """
    raw = [field.encode() if isinstance(field, str) else field for field in fields]
    return b"".join([part for field in raw for part in (len(field).to_bytes(4, "big"), field)])


class Cipher:
    """A key made ready, which takes longer than to open a short value with it."""

    __slots__ = ("siv",)

    def __init__(self, key: Secret) -> None:
        self.siv = AESGCMSIV(key.reveal())


def encrypt(key: Secret | Cipher, nonce: bytes, plaintext: Secret, associated: bytes) -> bytes:
    """``plaintext`` under ``key``. The caller never uses the same key and nonce for two plaintexts."""
    return bytes([FORMAT]) + nonce + _ready(key).siv.encrypt(nonce, plaintext.reveal(), associated)


def decrypt(key: Secret | Cipher, sealed: bytes, associated: bytes) -> Secret:
    """Undo :func:`encrypt`.

    Raises:
        NotAuthentic: says which check failed, never what was inside.
    """
    if len(sealed) < OVERHEAD_BYTES:
        raise NotAuthentic("cut short")
    if sealed[0] != FORMAT:
        raise NotAuthentic("unknown format")
    nonce, body = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
    try:
        return Secret(_ready(key).siv.decrypt(nonce, body, associated))
    except InvalidTag:
        raise NotAuthentic("authentication failed") from None


def _ready(key: Secret | Cipher) -> Cipher:
    return key if isinstance(key, Cipher) else Cipher(key)
