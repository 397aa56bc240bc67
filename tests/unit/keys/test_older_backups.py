"""What an older backup of the sealed store is worth, with the master key of now and with that of then."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import pytest

from libs.common.clock import rfc3339
from libs.common.errors import KtError
from services.keys.application.recovery import recover
from services.keys.application.sealing import Sealed
from services.keys.domain.master import MasterKey
from services.keys.domain.sealed import SealedValue
from tests.unit.keys.deep_rotation_spec import rotated
from tests.unit.keys.support import START, Memory, Stores, master, start

THEN, NOW = master(1), master(2)


async def keyring_rows(stores: Stores) -> list[dict[str, Any]]:
    return [
        {
            **{name: getattr(e, name) for name in ("id", "org", "purpose", "algorithm", "master_fingerprint")},
            "wrapped": base64.b64encode(e.wrapped).decode(),
            "public": base64.b64encode(e.public).decode(),
            "created_at": rfc3339(START),
        }
        for e in await stores.keyring.entries()
    ]


async def value_row(stores: Stores, sealed: Sealed) -> dict[str, Any]:
    value: SealedValue = (await stores.sealed.fetch([sealed.id]))[sealed.id]
    return {
        "id": sealed.id,
        "org": value.binding.org,
        "kind": value.binding.kind,
        "name": value.binding.name,
        "key_id": value.key_id,
        "wrapped_data_key": base64.b64encode(value.wrapped_data_key).decode(),
        "ciphertext": base64.b64encode(value.ciphertext).decode(),
    }


def outcome(value: dict[str, Any], sealed: Sealed, keyring: Sequence[dict[str, Any]], key: MasterKey) -> str:
    try:
        return recover(value, sealed.digest, keyring, [key]).reveal().decode()
    except KtError as error:
        return error.code


@pytest.mark.parametrize("deep", [False, True])
async def test_an_older_backup_is_worth_something_until_master_key_and_keyring_were_both_replaced(deep: bool) -> None:
    stores = Memory().stores()
    before = await start(stores, THEN)
    sealed = await before.seal(b"value")
    old_value, old_keyring = await value_row(stores, sealed), await keyring_rows(stores)
    if deep:
        await rotated(before)
    await start(stores, NOW, [THEN])
    keyring_of_now = await keyring_rows(stores)
    assert outcome(old_value, sealed, old_keyring, THEN) == "value"
    assert outcome(old_value, sealed, old_keyring, NOW) == "wrong_master_key"
    assert outcome(old_value, sealed, keyring_of_now, NOW) == ("undecryptable" if deep else "value")
    assert outcome(await value_row(stores, sealed), sealed, keyring_of_now, NOW) == "value"
