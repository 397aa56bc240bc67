"""Opening single values offline: from the rows of a backup and the master key, without store or keyring service."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from libs.common.errors import KtError
from libs.common.secret import Secret
from services.keys.domain.aead import NotAuthentic
from services.keys.domain.keyring import KeyringEntry, UnwrappedKey, unwrap
from services.keys.domain.master import MasterKey
from services.keys.domain.sealed import Binding, KeyEncryptionKey, SealedValue, unseal

Row = Mapping[str, Any]
"""A row of a backup: docs/reference/backup-format.md."""


def recover(value: Row, digest: str, keyring: Iterable[Row], masters: Sequence[MasterKey]) -> Secret:
    """The value of a row of ``sealed_values``, of which an event says that it has this digest.

    Raises:
        KtError: ``wrong_master_key``, naming the one that is needed; ``undecryptable`` for a row that was changed,
            moved or swapped, or whose key is missing.
    """
    sealed = _sealed_value(value)
    if digest and sealed.digest != digest:
        raise KtError("undecryptable", "The sealed value is not the one that the event refers to.")
    entry = next((_entry(row) for row in keyring if row["id"] == sealed.key_id), None)
    if entry is None:
        raise KtError("undecryptable", f"The key {sealed.key_id}, which wraps the value's data key, is not there.")
    key = _unwrapped(entry, masters)
    try:
        return unseal(sealed, KeyEncryptionKey(entry.id, key.material))
    except NotAuthentic as reason:
        raise KtError("undecryptable", f"The sealed value was changed or moved: {reason}.") from None


def _unwrapped(entry: KeyringEntry, masters: Sequence[MasterKey]) -> UnwrappedKey:
    for master in masters:
        try:
            return unwrap(entry, master)
        except NotAuthentic:
            continue
    if entry.master_fingerprint in {master.fingerprint for master in masters}:
        raise KtError("undecryptable", f"The key {entry.id} was changed and can't be opened.")
    given = " and ".join(master.fingerprint for master in masters)
    raise KtError(
        "wrong_master_key",
        f"The value can be read with the master key {entry.master_fingerprint}; the key given is {given}.",
        f"Give {entry.master_fingerprint}, the key that was in use when the backup was taken.",
        extra={"needed": [entry.master_fingerprint], "given": given},
    )


def _entry(row: Row) -> KeyringEntry:
    return KeyringEntry(
        id=row["id"],
        org=row["org"],
        purpose=row["purpose"],
        algorithm=row["algorithm"],
        wrapped=base64.b64decode(row["wrapped"]),
        public=base64.b64decode(row["public"]),
        master_fingerprint=row["master_fingerprint"],
        created_at=datetime.fromisoformat(row["created_at"]),
    )


def _sealed_value(row: Row) -> SealedValue:
    return SealedValue(
        Binding(row["org"], row["kind"], row["name"], row["id"]),
        row["key_id"],
        base64.b64decode(row["wrapped_data_key"]),
        base64.b64decode(row["ciphertext"]),
    )
