"""docs/reference/sealed-format.md is true: its example is what the service writes, and it can be read by the page."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from libs.common.secret import Secret
from services.keys.domain.keyring import Purpose, new_key
from services.keys.domain.master import parse_master_key
from services.keys.domain.sealed import Binding, Fresh, KeyEncryptionKey, seal

PAGE = Path(__file__).parents[3] / "docs/reference/sealed-format.md"


@pytest.fixture
def example() -> Any:
    return json.loads(PAGE.read_text(encoding="utf-8").split("```json\n")[1].split("```")[0])


def test_the_example_can_be_read_by_the_page_alone(example: Any) -> None:
    def fields(*parts: bytes) -> bytes:
        return b"".join(len(part).to_bytes(4, "big") + part for part in parts)

    def decrypt(key: bytes, raw: bytes, associated: bytes) -> bytes:
        assert raw[0] == 1
        return AESGCMSIV(key).decrypt(raw[1:13], raw[13:], associated)

    def hkdf(info: bytes, length: int) -> bytes:
        extracted = hmac.digest(bytes(32), base64.b64decode(example["master_key"]), "sha256")
        return hmac.digest(extracted, info + b"\x01", "sha256")[:length]

    key, row = example["keyring"], example["sealed_value"]
    wrapping_key = hkdf(b"keeptrusts/v1/wrap", 32)
    assert wrapping_key.hex() == example["wrapping_key"]
    assert "mk-" + hkdf(b"keeptrusts/v1/fingerprint", 8).hex() == example["master_fingerprint"]

    place = [key[name].encode() for name in ("id", "org", "purpose", "algorithm", "public")]
    associated = fields(b"keeptrusts/v1/keyring", *place)
    assert associated.hex() == example["keyring_associated_data"]
    key_encryption_key = decrypt(wrapping_key, bytes.fromhex(key["wrapped"]), associated)
    assert key_encryption_key.hex() == example["key_encryption_key"]

    place = [row[name].encode() for name in ("org", "kind", "name", "id")]
    associated = fields(b"keeptrusts/v1/data-key", *place, row["key_id"].encode())
    assert associated.hex() == example["data_key_associated_data"]
    data_key = decrypt(key_encryption_key, bytes.fromhex(row["wrapped_data_key"]), associated)
    assert data_key.hex() == example["data_key"]

    associated, ciphertext = fields(b"keeptrusts/v1/value", *place), bytes.fromhex(row["ciphertext"])
    assert associated.hex() == example["value_associated_data"]
    assert decrypt(data_key, ciphertext, associated).decode() == example["value"]
    digest = hashlib.sha256(fields(b"keeptrusts/v1/digest", associated, ciphertext))
    assert digest.hexdigest() == example["digest"]


def test_the_service_writes_the_example_byte_for_byte(example: Any) -> None:
    key, row = example["keyring"], example["sealed_value"]
    master = parse_master_key(Secret.from_text(example["master_key"]))
    nonces = {name: bytes.fromhex(raw)[1:13] for name, raw in (*key.items(), *row.items()) if _is_encrypted(name)}
    entry = new_key(
        Purpose(key["purpose"]),
        key_id=key["id"],
        org=key["org"],
        material=Secret(bytes.fromhex(example["key_encryption_key"])),
        nonce=nonces["wrapped"],
        master=master,
        now=datetime(2026, 11, 23, tzinfo=UTC),
    ).entry
    assert entry.wrapped.hex() == key["wrapped"]
    assert entry.algorithm == key["algorithm"]
    assert entry.master_fingerprint == example["master_fingerprint"]

    sealed = seal(
        Secret.from_text(example["value"]),
        Binding(row["org"], row["kind"], row["name"], row["id"]),
        KeyEncryptionKey(row["key_id"], Secret(bytes.fromhex(example["key_encryption_key"]))),
        Fresh(Secret(bytes.fromhex(example["data_key"])), nonces["ciphertext"], nonces["wrapped_data_key"]),
    )
    assert sealed.wrapped_data_key.hex() == row["wrapped_data_key"]
    assert sealed.ciphertext.hex() == row["ciphertext"]
    assert sealed.digest == example["digest"]


def _is_encrypted(name: str) -> bool:
    return name in {"wrapped", "wrapped_data_key", "ciphertext"}
