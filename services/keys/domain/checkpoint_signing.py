"""Signing checkpoints of the audit log, so that no signature ever contradicts an earlier one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from libs.common.errors import KtError
from libs.common.secret import Secret
from libs.common.transparency.merkle import HASH_BYTES, NotProven, verify_consistency
from libs.common.transparency.note import Note, VerifierKey, signature_of


@dataclass(frozen=True, slots=True)
class Head:
    """The newest tree of a log that was signed."""

    size: int
    root: bytes


def follow(head: Head | None, new: Head, old_size: int, proof: Sequence[bytes]) -> None:
    """See that ``new`` is ``head`` with entries appended. ``proof`` is the consistency proof from ``old_size``.

    Raises:
        KtError: ``conflict`` when the proof starts at another size than the head's, which ``extra.size`` tells;
            ``log_damaged`` when entries that were signed for were changed or removed.
    """
    if new.size < 1 or len(new.root) != HASH_BYTES:
        raise KtError("invalid_request", "The tree to sign has no entries, or its root is not 32 bytes.")
    if head is None or new == head:
        return
    if old_size != head.size or new.size < head.size:
        raise KtError(
            "conflict",
            f"A tree of {head.size} entries was signed already; expected a proof from there to a larger one.",
            "Make the consistency proof from that size.",
            extra={"size": head.size},
        )
    try:
        verify_consistency(head.size, head.root, new.size, new.root, proof)
    except NotProven as reason:
        raise KtError(
            "log_damaged",
            f"The tree to sign does not continue the one of {head.size} entries that was signed before: {reason}.",
            "The audit log was changed. `kt events verify` says where.",
        ) from None


def signed_note(name: str, text: str, keys: Iterable[tuple[Secret, bytes]]) -> Note:
    """A text signed under ``name``, which is its first line (C2SP signed-note), with each of the private and public
    keys."""
    return Note(
        text,
        tuple(
            signature_of(
                VerifierKey(name, public), Ed25519PrivateKey.from_private_bytes(private.reveal()).sign(text.encode())
            )
            for private, public in keys
        ),
    )
