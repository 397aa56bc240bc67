"""The master key: how it is written, how strong it must be, and what is derived from it."""

from __future__ import annotations

import base64
import binascii
import re
import string
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Self

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from libs.common.errors import KtError
from libs.common.secret import Secret

VARIABLE: Final = "KEEPTRUSTS_SECRET_ENCRYPTION_KEY"
LABEL_WRAP: Final = b"keeptrusts/v1/wrap"
LABEL_FINGERPRINT: Final = b"keeptrusts/v1/fingerprint"
LABEL_BACKUP: Final = b"keeptrusts/v1/backup"

MIN_BYTES: Final = 32
MAX_CHARACTERS: Final = 4096
MIN_DISTINCT_BYTES: Final = 20
"""Of 32 random bytes fewer than 20 are distinct once in seven thousand million keys."""

_HINT: Final = "Make a good one with `openssl rand -base64 32` and pass it exactly as printed."
_QUOTES: Final = "\"'`\u2018\u2019\u201c\u201d"
_HEX: Final = re.compile(r"[0-9A-Fa-f]+")
_BASE64: Final = re.compile(r"(?:[A-Za-z0-9+/]+|[A-Za-z0-9_-]+)={0,2}")
_PRINTABLE: Final = frozenset(string.printable.encode())


@dataclass(frozen=True, slots=True)
class MasterKey:
    """What is kept of the master key: its public name, the key that wraps the keyring, the key that marks backups.

    They come from HKDF-SHA-256 (RFC 5869) over the decoded key material, without salt, each with its own label.
    """

    fingerprint: str
    wrapping_key: Secret
    backup_key: Secret

    @classmethod
    def from_material(cls, material: Secret) -> Self:
        return cls(
            fingerprint="mk-" + _derive(material, LABEL_FINGERPRINT, 8).hex(),
            wrapping_key=Secret(_derive(material, LABEL_WRAP, 32)),
            backup_key=Secret(_derive(material, LABEL_BACKUP, 32)),
        )


def parse_master_key(text: Secret, variable: str = VARIABLE) -> MasterKey:
    """Read base64 (standard or URL-safe, padding optional) or hex of at least 32 random bytes.

    Text of hex digits alone is read as hex. ``variable`` is how errors call it.

    Raises:
        KtError: ``weak_master_key``, saying what is wrong and how to make a good one, never showing the key.
    """
    try:
        material = _decoded(_written(text))
        _check_strength(material.reveal())
    except _Weak as error:
        raise KtError("weak_master_key", f"{variable} {error}.", _HINT) from None
    return MasterKey.from_material(material)


def parse_previous_keys(text: Secret, current: MasterKey) -> tuple[MasterKey, ...]:
    """Read the keys that were in use before, separated by commas, the latest first.

    Raises:
        KtError: ``weak_master_key`` for any of them; ``misconfigured`` when one is the current key or is repeated.
    """
    variable = f"{VARIABLE}_PREVIOUS"
    keys = tuple(parse_master_key(Secret(part), variable) for part in text.reveal().split(b","))
    fingerprints = [current.fingerprint, *(key.fingerprint for key in keys)]
    for position, fingerprint in enumerate(fingerprints):
        if fingerprint in fingerprints[:position]:
            raise KtError(
                "misconfigured",
                f"The same key ({fingerprint}) is given more than once as current and previous key.",
                f"Keep the new key in {VARIABLE} and only superseded ones in {variable}.",
            )
    return keys


class _Weak(Exception):
    """Why a key is refused, as the rest of a sentence that starts with the variable's name."""


def _written(text: Secret) -> str:
    try:
        written = text.reveal().decode("ascii")
    except UnicodeDecodeError:
        raise _Weak("holds characters other than ASCII; expected base64 or hex of 32 random bytes") from None
    if not written.strip():
        raise _Weak("is empty; expected base64 or hex of 32 random bytes")
    if written != written.strip():
        raise _Weak("has white space before or after the key")
    if written[0] in _QUOTES or written[-1] in _QUOTES:
        raise _Weak("has quotes around the key")
    if len(written) > MAX_CHARACTERS:
        raise _Weak(f"is longer than {MAX_CHARACTERS} characters; expected base64 or hex of 32 random bytes")
    return written


def _decoded(written: str) -> Secret:
    if _HEX.fullmatch(written):
        if len(written) % 2:
            raise _Weak("holds an odd number of hex digits; one of them may be missing")
        return Secret(bytes.fromhex(written))
    if not _BASE64.fullmatch(written):
        raise _Weak("is neither base64 nor hex; a passphrase can't be used, only random bytes")
    if not (any(c.isupper() for c in written) and any(c.islower() for c in written)):
        raise _Weak("looks like a passphrase; expected base64 or hex of 32 random bytes")
    body = written.rstrip("=")
    padded = body + "=" * (-len(body) % 4)
    if written not in (body, padded):
        raise _Weak("has wrong base64 padding; part of it may be missing")
    try:
        return Secret(base64.b64decode(padded.translate(str.maketrans("-_", "+/")), validate=True))
    except binascii.Error:
        raise _Weak("is not complete base64; part of it may be missing") from None


def _check_strength(material: bytes) -> None:
    if len(material) < MIN_BYTES:
        raise _Weak(f"holds {len(material)} bytes of key; expected at least {MIN_BYTES}")
    if all(byte in _PRINTABLE for byte in material):
        raise _Weak("decodes to text instead of random bytes; it may be encoded twice, or be a passphrase")
    steps = {(after - before) % 256 for before, after in pairwise(material)}
    periods = range(1, min(MIN_BYTES, len(material) // 2 + 1))
    if len(steps) == 1 or any(material[period:] == material[:-period] for period in periods):
        raise _Weak("repeats a pattern instead of being random")
    if len(set(material)) < MIN_DISTINCT_BYTES:
        raise _Weak("uses too few different bytes to be random")


def _derive(material: Secret, label: bytes, length: int) -> bytes:
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=label).derive(material.reveal())
