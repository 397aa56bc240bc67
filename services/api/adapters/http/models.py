"""Bodies of the other routes."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from libs.common.clock import rfc3339
from libs.common.protocol.resolver import MAX_REFERENCES, GatewayView
from libs.common.secret import REDACTED
from services.api.adapters.http.fields import (
    BearerToken,
    Body,
    IdentityName,
    RecipientKey,
    ReferenceGlobs,
    References,
)
from services.api.application import signing_keys
from services.api.application.gateways import BusIdentity
from services.api.application.machine import Resolved
from services.api.application.tokens import Issued

MAX_GLOBS: Final = 32
Role = Literal["admin", "operator", "auditor", "gateway", "machine", "client"]


class ResolveReferences(Body):
    """``recipient_key`` makes the answer a box that only its holder can open (HPKE, RFC 9180)."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"references": ["OPENAI_API_KEY", "ANTHROPIC_API_KEY"]}]}
    )

    references: Annotated[References, Field(min_length=1, max_length=MAX_REFERENCES)]
    recipient_key: RecipientKey | None = None


class ResolvedValue(BaseModel):
    """``value`` is left out of boxed answers."""

    reference: str
    version: int
    sequence: int
    value: str | None = None

    @classmethod
    def of(cls, resolved: Resolved) -> ResolvedValue:
        return cls(
            reference=resolved.reference,
            version=resolved.version,
            sequence=resolved.sequence,
            value=resolved.value.reveal().decode(),
        )


class ResolvedReferences(BaseModel):
    """Every reference that was asked for.

    ``box`` is base64 of an HPKE message with ``kt/resolve/v1``, org, ``requester`` and the SHA-256 of the recipient
    key, joined by NUL, as its info; it holds JSON ``{reference: base64 value}``.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"results": [{"reference": "OPENAI_API_KEY", "version": 2, "sequence": 57, "value": REDACTED}]}
            ]
        }
    )

    results: list[ResolvedValue]
    box: str | None = None
    org: str | None = None
    requester: str | None = None


class MachineValue(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "OPENAI_API_KEY", "value": REDACTED, "version": 2}]}
    )

    name: str
    value: str
    version: int


class RequestBusIdentity(Body):
    """``name`` is for tokens that are not a gateway's; a gateway's own token names it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"user_public_key": "UB6FN4ZX4PQE6RIZXUD3NRCO3MHWIZNW44UJJDLAD2WE2CQH6GOE7KUF"}]
        }
    )

    user_public_key: Annotated[str, Field(max_length=128, description="Public user nkey of the gateway, U…")]
    name: IdentityName | None = None


class GrantedBusIdentity(BaseModel):
    """A NATS user JWT, bound to the token that asked. ``expires_at`` is RFC 3339; ask again well before."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "nats_url": "nats://127.0.0.1:4222",
                    "user_jwt": "eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ...",
                    "expires_at": "2026-11-23T07:54:03.000000Z",
                    "org": "default",
                    "name": "keeptrusts-proxy",
                    "token_id": "01a2078d-0810-7c91-b94a-2972a91e460c",
                }
            ]
        }
    )

    nats_url: str
    user_jwt: str
    expires_at: str
    org: str
    name: str
    token_id: str

    @classmethod
    def of(cls, identity: BusIdentity, nats_url: str) -> GrantedBusIdentity:
        return cls(
            nats_url=nats_url,
            user_jwt=identity.user_jwt,
            expires_at=rfc3339(identity.expires),
            org=identity.gateway.org,
            name=identity.gateway.name,
            token_id=identity.gateway.token_id,
        )


class IssueToken(Body):
    """A role, whom it is for, and how long: ``ttl`` such as ``90d`` or ``ttl_seconds``; 30 days without either.

    ``references`` are the names a gateway or machine may resolve, with ``*`` and ``?``.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"role": "machine", "name": "ci-runner", "ttl": "90d", "references": ["OPENAI_*"]}]
        }
    )

    role: Role
    name: IdentityName
    ttl: Annotated[str, Field(max_length=16)] | None = None
    ttl_seconds: int | None = None
    references: Annotated[ReferenceGlobs, Field(min_length=1, max_length=MAX_GLOBS)] = Field(default=["*"])


class IssuedToken(BaseModel):
    """``token`` is shown once. ``expires_at`` is RFC 3339."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "token": "eyJhbGciOiJIUzI1NiIsImtpZCI6ImtpZDEi...",
                    "token_id": "019aaf9c-6b1e-7c3a-9a53-0d7d3a2f4b11",
                    "role": "machine",
                    "name": "ci-runner",
                    "expires_at": "2027-02-21T07:39:03.000000Z",
                }
            ]
        }
    )

    token: str
    token_id: str
    role: str
    name: str
    expires_at: str

    @classmethod
    def of(cls, issued: Issued, role: str, name: str) -> IssuedToken:
        return cls(
            token=issued.token.reveal().decode(),
            token_id=issued.token_id,
            role=role,
            name=name,
            expires_at=rfc3339(issued.expires),
        )


class IntrospectToken(Body):
    token: BearerToken


class Introspection(BaseModel):
    """What an access token of the caller's org is good for (after RFC 7662). Nothing but ``active`` for others."""

    active: bool
    subject: str | None = None
    org: str | None = None
    role: str | None = None
    scopes: list[str] | None = None


class JsonWebKeySet(BaseModel):
    """A JWK set (RFC 7517) of Ed25519 public keys (RFC 8037)."""

    keys: list[dict[str, Any]]


class Gateways(BaseModel):
    items: list[GatewayView]


class EventsQuery(Body):
    model_config = ConfigDict(strict=False)

    filter: Annotated[
        str,
        Field(
            max_length=4096,
            description="Conditions `key=value`, `key!=value`, `time>=…`, joined by AND; `*` ends a prefix.",
            examples=["category=secret_management"],
        ),
    ] = ""
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: Annotated[str, Field(max_length=1024, description="`next_cursor` of the page before")] = ""
    follow: Annotated[bool, Field(description="What came after the cursor, oldest first")] = False


class EventPosition(BaseModel):
    stream: str
    sequence: int


class Events(BaseModel):
    """CloudEvents 1.0 documents as they were stored; ``positions`` are theirs, in the same order."""

    items: list[dict[str, Any]]
    positions: list[EventPosition]
    next_cursor: str | None


class RefusedKeys(BaseModel):
    """Keys that were to come into force and could not be used: why, and when that was found."""

    detail: str
    at: str


class SigningKeySet(BaseModel):
    """The keys of access tokens in force, by key id: all of ``kids`` verify, ``current`` signs.

    ``refused`` tells of a later attempt to read them that changed nothing.
    """

    current: str
    kids: list[str]
    read_at: str
    refused: RefusedKeys | None

    @classmethod
    def of(cls, status: signing_keys.Status) -> SigningKeySet:
        refused = status.refused
        return cls(
            current=status.current,
            kids=list(status.kids),
            read_at=status.read_at,
            refused=None if refused is None else RefusedKeys(detail=refused.detail, at=refused.at),
        )


class Ready(BaseModel):
    ready: bool
    services: dict[str, bool]
    signing_keys: SigningKeySet
