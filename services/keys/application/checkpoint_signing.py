"""The signature that makes a checkpoint one. What was signed is remembered, and nothing is signed against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from libs.common.clock import Clock
from libs.common.transparency.manifest import digest_text
from libs.common.transparency.note import Checkpoint, Note
from libs.common.transparency.origin import ALL_ORGS, LogOrigin, export_origin
from services.keys.application.keyring import Keyring
from services.keys.application.ports import KeyringStore, SignedHeads
from services.keys.domain.checkpoint_signing import Head, follow, signed_note
from services.keys.domain.keyring import SYSTEM_WIDE, KeyringEntry, Purpose, UnwrappedKey

OVERLAP: Final = timedelta(days=30)
"""How long a retired key signs beside the current one."""


@dataclass(frozen=True, slots=True)
class Signed:
    note: Note
    key_id: str


@dataclass(frozen=True, slots=True)
class CheckpointSigner:
    """Signs for every log of this installation: with the current key, and for a while also with the one before, so
    that who kept only that learns in time which key follows it."""

    keyring: Keyring
    store: KeyringStore
    heads: SignedHeads
    clock: Clock

    async def sign(self, stream: str, tree: Head, old_size: int, proof: Sequence[bytes]) -> Signed:
        """
        Raises:
            KtError: as :func:`services.keys.domain.checkpoint_signing.follow`.
        """
        entries = await self.keys()
        keys = await self._signing()
        checkpoint = Checkpoint(self.origin(entries, stream), tree.size, tree.root)
        async with self.heads.locked(checkpoint.origin) as head:
            follow(head.value, tree, old_size, proof)
            await head.move(tree)
        return _signed(checkpoint.origin, checkpoint.text, keys)

    async def sign_export(self, manifest_sha256: str) -> Signed:
        """Sign the manifest of an export, under a name that is no log's."""
        entries = await self.keys()
        keys = await self._signing()
        installation = self.installation(entries)
        return _signed(export_origin(installation), digest_text(installation, manifest_sha256), keys)

    async def keys(self) -> Sequence[KeyringEntry]:
        """All keys that ever signed, oldest first; the first is made here."""
        await self.keyring.current(SYSTEM_WIDE, Purpose.CHECKPOINT_SIGNING)
        return [entry for entry in await self.store.entries() if entry.purpose == Purpose.CHECKPOINT_SIGNING]

    async def _signing(self) -> Sequence[UnwrappedKey]:
        await self.keyring.reload()  # another instance may have replaced the key
        current = await self.keyring.current(SYSTEM_WIDE, Purpose.CHECKPOINT_SIGNING)
        since = self.clock.now() - OVERLAP
        return [current, *self.keyring.retired(SYSTEM_WIDE, Purpose.CHECKPOINT_SIGNING, since)]

    @staticmethod
    def installation(entries: Sequence[KeyringEntry]) -> str:
        """What tells this installation's logs from all others: the id of the first key, which outlives the key."""
        return entries[0].id

    def origin(self, entries: Sequence[KeyringEntry], stream: str) -> str:
        return str(LogOrigin(self.installation(entries), ALL_ORGS, stream))


def _signed(name: str, text: str, keys: Sequence[UnwrappedKey]) -> Signed:
    """``keys`` with the current one first."""
    pairs = [(key.material, key.entry.public) for key in keys]
    return Signed(signed_note(name, text, pairs), keys[0].entry.id)
