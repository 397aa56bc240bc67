"""Signed notes (C2SP signed-note), checkpoints (tlog-checkpoint) and witnesses' cosignatures (tlog-cosignature).

Only what verifies is here, with Ed25519 (RFC 8032). Whatever is read is checked in every byte: two notes that are
read as the same are the same.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Self

from libs.common.transparency.merkle import HASH_BYTES, NotProven

ED25519: Final = 1
COSIGNATURE: Final = 4
"""Ed25519 over the note's text with a time in front of it: what witnesses sign."""

MAX_NOTE_BYTES: Final = 64 * 1024
MAX_SIGNATURES: Final = 64

_DASH: Final = "\N{EM DASH} "
_KEY_ID_BYTES: Final = 4
_PUBLIC_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 64
_TIME_BYTES: Final = 8
_MAX_DIGITS: Final = 19


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature line: who claims to have signed, and the bytes behind the key id."""

    name: str
    key_id: bytes
    value: bytes

    def __str__(self) -> str:
        return f"{_DASH}{self.name} {_base64(self.key_id + self.value)}\n"

    @classmethod
    def parse(cls, line: str) -> Self:
        """A line without its line break.

        Raises:
            NotProven: it is none.
        """
        words = line.removeprefix(_DASH).split(" ")
        if not line.startswith(_DASH) or len(words) != 2 or not _is_name(words[0]):  # noqa: PLR2004
            raise NotProven("a signature line of the note is malformed")
        value = bytes_of_base64(words[1], "a signature")
        if len(value) <= _KEY_ID_BYTES:
            raise NotProven("a signature of the note is too short")
        return cls(words[0], value[:_KEY_ID_BYTES], value[_KEY_ID_BYTES:])


@dataclass(frozen=True, slots=True)
class Note:
    """A text, ending in a line break, with its signatures. Nothing in it counts before it is verified."""

    text: str
    signatures: tuple[Signature, ...]

    def __str__(self) -> str:
        return f"{self.text}\n{''.join(map(str, self.signatures))}"

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """
        Raises:
            NotProven: it is no note; bytes in front of it or behind it make it none.
        """
        if len(raw) > MAX_NOTE_BYTES:
            raise NotProven(f"the note is longer than {MAX_NOTE_BYTES} bytes")
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            raise NotProven("the note is not UTF-8 text") from None
        if any(character < " " and character != "\n" for character in text):
            raise NotProven("the note holds control characters")
        body, separator, tail = text.rpartition("\n\n")
        if not separator or not body or not tail.endswith("\n"):
            raise NotProven("the note does not end in an empty line and signatures")
        lines = tail[:-1].split("\n")
        if len(lines) > MAX_SIGNATURES:
            raise NotProven(f"the note has more than {MAX_SIGNATURES} signatures")
        return cls(f"{body}\n", tuple(map(Signature.parse, lines)))

    def with_signatures(self, more: Iterable[Signature]) -> Self:
        """The same note with the signatures it does not have yet."""
        return type(self)(self.text, tuple(dict.fromkeys((*self.signatures, *more))))


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key and the name it signs under. Its text form is ``<name>+<key id>+<algorithm and key>``."""

    name: str
    public: bytes
    algorithm: int = ED25519

    def __post_init__(self) -> None:
        if not _is_name(self.name):
            raise NotProven("the name of a verifier key is empty, or holds spaces or a plus sign")
        if self.algorithm not in (ED25519, COSIGNATURE) or len(self.public) != _PUBLIC_BYTES:
            raise NotProven("the verifier key is not an Ed25519 key (algorithm 1, or 4 for a witness)")

    @property
    def key_id(self) -> bytes:
        return sha256(self.name.encode() + b"\n" + bytes([self.algorithm]) + self.public).digest()[:_KEY_ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{_base64(bytes([self.algorithm]) + self.public)}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Raises:
            NotProven: it is no verifier key, or its key id is that of another.
        """
        name, _, rest = text.partition("+")
        key_id, _, encoded = rest.partition("+")
        raw = bytes_of_base64(encoded, "the verifier key")
        key = cls(name, raw[1:], raw[0])
        if key.key_id.hex() != key_id:
            raise NotProven("the verifier key has another key id than its name and key give: it was changed or cut")
        return key

    def made(self, signature: Signature) -> bool:
        """Whether a signature claims to be by this key."""
        return signature.name == self.name and signature.key_id == self.key_id

    def verify(self, text: str, signature: Signature) -> None:
        """
        Raises:
            NotProven: the signature is not this key's over this text.
        """
        message, value = text.encode(), signature.value
        if self.algorithm == COSIGNATURE:
            message = b"cosignature/v1\ntime %d\n" % cosigned_at(signature) + message
            value = value[_TIME_BYTES:]
        if len(value) != _SIGNATURE_BYTES or not _holds(self.public, message, value):
            raise NotProven(f"the signature of {self.name} does not hold: the text was changed, or it is forged")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says of itself: at this size its tree has this root. ``origin`` names the log."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        return f"{self.origin}\n{self.size}\n{_base64(self.root)}\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Raises:
            NotProven: the text of the note is no checkpoint; extension lines make it none here.
        """
        lines = text.split("\n")
        if len(lines) != 4 or lines[3] or not lines[0]:  # noqa: PLR2004
            raise NotProven("a checkpoint has three lines: origin, size and root")
        root = bytes_of_base64(lines[2], "the root of the checkpoint")
        if len(root) != HASH_BYTES:
            raise NotProven(f"the root of the checkpoint is not {HASH_BYTES} bytes")
        return cls(lines[0], number_of(lines[1], "the size of the checkpoint"), root)


def signers(note: Note, keys: Iterable[VerifierKey]) -> tuple[VerifierKey, ...]:
    """Those of the keys that signed the note; signatures by other keys are passed over.

    Raises:
        NotProven: a signature that claims to be by one of the keys is not.
    """
    found = []
    for key in keys:
        made = [signature for signature in note.signatures if key.made(signature)]
        for signature in made:
            key.verify(note.text, signature)
        if made:
            found.append(key)
    return tuple(found)


def verified_checkpoint(raw: bytes, keys: Sequence[VerifierKey]) -> Checkpoint:
    """The checkpoint in a note that one of the keys signed under the checkpoint's own origin.

    Raises:
        NotProven: malformed, changed, or signed by a stranger.
    """
    note = Note.parse(raw)
    checkpoint = Checkpoint.parse(note.text)
    logs = [key for key in keys if key.algorithm == ED25519 and key.name == checkpoint.origin]
    if not signers(note, logs):
        raise NotProven(
            "the checkpoint is not signed by the log's key: it comes from another log, or from a stranger"
        )
    return checkpoint


def cosigned_at(signature: Signature) -> int:
    """When a witness signed, in Unix seconds.

    Raises:
        NotProven: the signature has not the shape of a witness's.
    """
    if len(signature.value) != _TIME_BYTES + _SIGNATURE_BYTES or signature.value[0] & 0x80:
        raise NotProven("a witness's signature has not the form of one")
    return int.from_bytes(signature.value[:_TIME_BYTES], "big")


def signature_of(key: VerifierKey, value: bytes) -> Signature:
    """``value`` is the Ed25519 signature over a note's text."""
    return Signature(key.name, key.key_id, value)


def _holds(public: bytes, message: bytes, signature: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - a program that verifies nothing starts faster
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _is_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(map(str.isspace, name)) and name.isprintable()


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def bytes_of_base64(text: str, what: str) -> bytes:
    """At least one byte in standard base64 (RFC 4648 section 4), in the one form that these bytes have.

    Raises:
        NotProven: naming ``what`` is malformed.
    """
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not raw or _base64(raw) != text:
        raise NotProven(f"{what} is not base64")
    return raw


def number_of(text: str, what: str) -> int:
    """A decimal number without leading zeroes, below 10**19.

    Raises:
        NotProven: naming ``what`` is malformed.
    """
    if not (text.isascii() and text.isdigit()) or len(text) > _MAX_DIGITS or str(int(text)) != text:
        raise NotProven(f"{what} is not a decimal number")
    return int(text)
