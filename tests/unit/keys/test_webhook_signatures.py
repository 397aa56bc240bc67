"""Signatures of deliveries, against the published vector and a verifier written from the specification alone."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.errors import KtError
from libs.common.secret import Secret
from services.keys.application.destruction import WEBHOOK_SECRET
from services.keys.application.opening import SealedReference
from services.keys.application.sealing import Sealed
from services.keys.application.webhook_signatures import WebhookSignatures
from services.keys.domain.webhook_signature import signature_header, signed_content
from tests.unit.keys.support import Instance, Memory, master, start

WEBHOOK = "8b0f2f7e-3c39-5d0f-9a51-5c1c5e3a7d10"


def verifies(secret: str, message_id: str, timestamp: int, payload: bytes, header: str) -> bool:
    """Standard Webhooks 1.0: one of the ``v1`` signatures is HMAC-SHA-256 over ``id.timestamp.payload``."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    expected = hmac.new(key, f"{message_id}.{timestamp}.".encode() + payload, hashlib.sha256).digest()
    versioned = [signature.split(",", 1) for signature in header.split(" ")]
    return any(v == "v1" and hmac.compare_digest(base64.b64decode(s), expected) for v, s in versioned)


def test_the_published_vector() -> None:
    """From the reference implementations (standard-webhooks, test of ``sign``)."""
    content = signed_content("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    header = signature_header([Secret(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")], content)
    assert header == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


KEYS = st.binary(min_size=24, max_size=64).filter(lambda key: len(set(key)) >= 12)


@given(st.lists(KEYS, min_size=1, max_size=4, unique=True), st.uuids().map(str), st.integers(0, 2**40), st.binary())
def test_every_secret_of_an_overlap_verifies_and_no_other(
    keys: list[bytes], message_id: str, timestamp: int, payload: bytes
) -> None:
    secrets = ["whsec_" + base64.b64encode(key).decode() for key in keys]
    header = signature_header(map(Secret.from_text, secrets), signed_content(message_id, timestamp, payload))
    assert len(header.split(" ")) == len(keys)
    for secret in secrets:
        assert verifies(secret, message_id, timestamp, payload, header)
        assert not verifies(secret, message_id, timestamp + 1, payload, header)
        assert not verifies(secret, message_id, timestamp, payload + b" ", header)
    other = "whsec_" + base64.b64encode(hashlib.sha256(b"".join(keys)).digest()).decode()
    assert not verifies(other, message_id, timestamp, payload, header)


def test_an_id_can_t_shift_what_is_signed() -> None:
    with pytest.raises(ValueError, match="full stop"):
        signed_content("id.1", 2, b"")


CONTENT = signed_content("m1", 1, b"{}")
FIRST, SECOND = (b"whsec_" + base64.b64encode(hashlib.sha256(s).digest()) for s in (b"1", b"2"))


def ref(sealed: Sealed) -> SealedReference:
    return SealedReference(sealed.id, sealed.digest)


async def sealed_by(instance: Instance, value: bytes, name: str = WEBHOOK, kind: str = WEBHOOK_SECRET) -> Sealed:
    return await instance.seal(value, name=name, kind=kind)


async def test_the_key_service_signs_with_what_is_sealed_and_gives_nothing_else_away() -> None:
    instance = await start(Memory().stores(), master(1))
    signer = WebhookSignatures(instance.unsealer, instance.damages)
    one, two = await sealed_by(instance, FIRST), await sealed_by(instance, SECOND)
    header = await signer.sign("default", WEBHOOK, [ref(two), ref(one)], CONTENT)
    assert header == signature_header([Secret(SECOND), Secret(FIRST)], CONTENT)
    only = await signer.sign("default", WEBHOOK, [ref(two)], CONTENT)
    assert only == header.split(" ")[0]


async def test_only_webhook_secrets_of_this_webhook_sign() -> None:
    instance = await start(Memory().stores(), master(1))
    signer = WebhookSignatures(instance.unsealer, instance.damages)
    own = await sealed_by(instance, FIRST)
    strangers = [
        await sealed_by(instance, SECOND, name="another"),
        await sealed_by(instance, SECOND, kind="config_variable"),
        own,
    ]
    for stranger, org in zip(strangers, ("default", "default", "acme"), strict=True):
        with pytest.raises(KtError) as caught:
            await signer.sign(org, WEBHOOK, [ref(stranger)], CONTENT)
        assert caught.value.code == "undecryptable"
    swapped = SealedReference(own.id, "0" * 64)
    with pytest.raises(KtError):
        await signer.sign("default", WEBHOOK, [swapped], CONTENT)


async def test_an_old_secret_that_is_gone_is_left_out_and_a_current_one_is_not() -> None:
    instance = await start(Memory().stores(), master(1))
    signer = WebhookSignatures(instance.unsealer, instance.damages)
    current = ref(await sealed_by(instance, FIRST))
    gone = SealedReference("0193a5c2-7b1e-7c4d-9f3a-2b6d8e0f1a3c", "0" * 64)
    assert len((await signer.sign("default", WEBHOOK, [current, gone], CONTENT)).split(" ")) == 1
    with pytest.raises(KtError):
        await signer.sign("default", WEBHOOK, [gone, current], CONTENT)
