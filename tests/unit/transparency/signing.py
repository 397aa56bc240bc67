"""A log and a witness that sign, for tests."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from libs.common.transparency.note import COSIGNATURE, ED25519, Checkpoint, Note, Signature, VerifierKey

ORIGIN = "keeptrusts/019aaf9c-6b1e-7c3a-9a53-0d7d3a2f4b11/*/KT_EVENTS"


class Signer:
    def __init__(self, name: str = ORIGIN, seed: int = 1, algorithm: int = ED25519) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
        self.key = VerifierKey(name, self._private.public_key().public_bytes_raw(), algorithm)

    def sign(self, text: str, at: int = 1_679_315_147) -> Signature:
        if self.key.algorithm == COSIGNATURE:
            message = f"cosignature/v1\ntime {at}\n{text}".encode()
            return Signature(self.key.name, self.key.key_id, at.to_bytes(8, "big") + self._private.sign(message))
        return Signature(self.key.name, self.key.key_id, self._private.sign(text.encode()))

    def checkpoint(self, size: int, root: bytes) -> Note:
        text = Checkpoint(self.key.name, size, root).text
        return Note(text, (self.sign(text),))
