"""From rows of the key service's schema to what they mean."""

from __future__ import annotations

from typing import Any, Final

from services.keys.domain.keyring import KeyringEntry
from services.keys.domain.sealed import Binding, SealedValue

DATABASE: Final = "The key service's database"
"""How errors call it."""


def entry_of(row: tuple[Any, ...]) -> KeyringEntry:
    key_id, org, purpose, algorithm, wrapped, public, fingerprint, created_at, retired_at = row
    return KeyringEntry(str(key_id), org, purpose, algorithm, wrapped, public, fingerprint, created_at, retired_at)


def value_of(row: tuple[Any, ...]) -> SealedValue:
    sealed_id, org, kind, name, key_id, wrapped_data_key, ciphertext = row
    return SealedValue(Binding(org, kind, name, sealed_id), key_id, wrapped_data_key, ciphertext)
