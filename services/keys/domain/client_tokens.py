"""Client tokens: JSON Web Tokens (RFC 7519) that a gateway can verify and could not mint (EdDSA, RFC 8037)."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from libs.common.secret import Secret

ALGORITHM: Final = "EdDSA"


def public_key(material: Secret) -> bytes:
    """The 32 bytes of Ed25519 public key that belong to 32 bytes of private key (RFC 8032 section 5.1.5)."""
    return Ed25519PrivateKey.from_private_bytes(material.reveal()).public_key().public_bytes_raw()


def sign(claims: Mapping[str, Any], material: Secret, key_id: str) -> str:
    """The token in compact form, its header naming ``key_id``."""
    key = Ed25519PrivateKey.from_private_bytes(material.reveal())
    return jwt.encode(dict(claims), key, algorithm=ALGORITHM, headers={"kid": key_id})


def json_web_key(public: bytes, key_id: str) -> dict[str, str]:
    """The public half as a member of a JWK set (RFC 7517; ``OKP`` keys: RFC 8037 section 2)."""
    x = base64.urlsafe_b64encode(public).rstrip(b"=").decode()
    return {"kty": "OKP", "crv": "Ed25519", "alg": ALGORITHM, "use": "sig", "kid": key_id, "x": x}
