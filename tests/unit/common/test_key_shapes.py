"""Which text counts as a key that was put in the wrong place."""

from __future__ import annotations

import jwt
import pytest

from libs.common.messaging.identities import NkeyKind, new_seed
from libs.common.names import looks_like_secret

WORD = "a1B2c3D4e5F6g7H8i9J0k1L2"


@pytest.mark.parametrize(
    "key",
    [
        f"sk-proj-{WORD}",
        f"sk-ant-api03-{WORD}",
        f"sk-or-v1-{WORD}",
        f"AIza{WORD}a1B2c3D4e5F",
        f"gsk_{WORD}",
        f"xai-{WORD}",
        f"csk-{WORD}",
        f"fw_{WORD}",
        f"tgp_v1_{WORD}",
        f"ktg_{WORD}{WORD}",
        f"ktc_{WORD}{WORD}",
        jwt.encode({"sub": "admin"}, "k" * 32),
        new_seed(NkeyKind.USER, bytes).reveal().decode(),
        new_seed(NkeyKind.ACCOUNT, bytes).reveal().decode(),
    ],
    ids=lambda key: key[:7],
)
def test_keys_of_the_known_providers_and_of_this_system_are_recognised(key: str) -> None:
    assert looks_like_secret(key)
    assert looks_like_secret(f"the key is '{key}'.")


@pytest.mark.parametrize(
    "text",
    [
        "OPENAI_API_KEY",
        "azure-openai-key-east-us",
        "anthropic.production.key",
        "xai-production-key-europe-west",
        "disk-encryption-key-of-production",
        "fw_key",
        "01a2079d-2239-78f5-8270-3e8a64e77d72",
        "keeptrusts-AAD7MZCKOKDZMUJJ",
    ],
)
def test_names_and_ids_are_not(text: str) -> None:
    assert not looks_like_secret(text)
