"""The mark on a backup: whoever has the master key can tell that the archive is as this system made it."""

from __future__ import annotations

import hmac
from typing import Final

from services.keys.domain.aead import associated_data
from services.keys.domain.master import LABEL_BACKUP, MasterKey

ALGORITHM: Final = "HMAC-SHA-256"


def mark(manifest_sha256: str, master: MasterKey) -> str:
    """In hex, over label and digest of the archive's manifest (docs/reference/backup-format.md)."""
    message = associated_data(LABEL_BACKUP, bytes.fromhex(manifest_sha256))
    return hmac.digest(master.backup_key.reveal(), message, "sha256").hex()


def is_marked(manifest_sha256: str, given: str, master: MasterKey) -> bool:
    return hmac.compare_digest(mark(manifest_sha256, master), given)
