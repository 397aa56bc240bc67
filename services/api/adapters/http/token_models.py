"""Bodies of the routes that list and revoke tokens."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

from libs.common.clock import rfc3339
from libs.common.protocol.tokens import TokenState, TokenView
from services.api.adapters.http.fields import Body, IdentityName, named, problem
from services.api.adapters.http.models import Role
from services.api.application.known_tokens import Revoked, TokenQuery

MAX_ID: Final = 256


def _token_id(token_id: str) -> str:
    expected = f"its id (jti), 1 to {MAX_ID} characters"
    if token_id.startswith("eyJ") and "." in token_id:
        raise problem("invalid_request", "id", "is a token instead of the id of one", expected)
    if not 0 < len(token_id) <= MAX_ID or not token_id.isprintable():
        raise problem("invalid_request", "id", "is not the id of a token", expected)
    return token_id


TokenId = Annotated[
    str,
    AfterValidator(named(_token_id)),
    WithJsonSchema(
        {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_ID,
            "examples": ["019aaf9c-6b1e-7c3a-9a53-0d7d3a2f4b11"],
        }
    ),
]
Kid = Annotated[str, Field(max_length=64, description="Only tokens signed with the key of this id")]


class TokensQuery(Body):
    model_config = ConfigDict(strict=False)

    name: IdentityName | None = None
    role: Role | None = None
    kid: Kid = ""
    state: TokenState | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: Annotated[str, Field(max_length=1024, description="`next_cursor` of the page before")] = ""

    @property
    def conditions(self) -> TokenQuery:
        return TokenQuery(self.name or "", self.role or "", self.kid, self.state)


class TokenActor(BaseModel):
    type: str
    id: str


class KnownToken(BaseModel):
    """A token that was issued here or revoked here; never the token itself.

    Of one that was signed elsewhere only ``id``, ``state`` and the revocation are known.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "019aaf9c-6b1e-7c3a-9a53-0d7d3a2f4b11",
                    "role": "machine",
                    "name": "ci-runner",
                    "references": ["OPENAI_*"],
                    "kid": "2026b",
                    "state": "revoked",
                    "issued_at": "2026-11-23T07:39:03.192164Z",
                    "issued_by": {"type": "admin", "id": "alice"},
                    "expires_at": "2027-02-21T07:39:03.000000Z",
                    "revoked_at": "2026-11-24T08:12:44.018275Z",
                    "revoked_by": {"type": "admin", "id": "alice"},
                }
            ]
        }
    )

    id: str
    role: str | None
    name: str | None
    references: list[str]
    kid: str | None
    state: TokenState
    issued_at: str | None
    issued_by: TokenActor | None
    expires_at: str | None
    revoked_at: str | None
    revoked_by: TokenActor | None

    @classmethod
    def of(cls, token: TokenView) -> KnownToken:
        expires = rfc3339(datetime.fromtimestamp(token.expires_at, UTC)) if token.expires_at else None
        return cls(
            id=token.id,
            role=token.role or None,
            name=token.name or None,
            references=token.references,
            kid=token.key_id or None,
            state=token.state,
            issued_at=token.issued_at or None,
            issued_by=_actor(token.issued_by_type, token.issued_by_id),
            expires_at=expires,
            revoked_at=token.revoked_at or None,
            revoked_by=_actor(token.revoked_by_type, token.revoked_by_id),
        )


def _actor(kind: str, name: str) -> TokenActor | None:
    return TokenActor(type=kind, id=name) if kind else None


class KnownTokenList(BaseModel):
    items: list[KnownToken]
    next_cursor: str | None


class RevokeTokens(Body):
    """One token by ``id``, or all active ones of a ``name``."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "ci-runner"}]})

    id: TokenId | None = None
    name: IdentityName | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.id is None) == (self.name is None):
            raise problem("invalid_request", "the request", "does not say which tokens", "either id or name")
        return self


class RevokedToken(BaseModel):
    """``issued_here`` is false for an id that no token of this system has; one that was signed elsewhere may have it.

    ``repeated``: it had been revoked before.
    """

    id: str
    role: str | None
    name: str | None
    issued_here: bool
    repeated: bool

    @classmethod
    def of(cls, revoked: Revoked) -> RevokedToken:
        return cls(
            id=revoked.token_id,
            role=revoked.role or None,
            name=revoked.name or None,
            issued_here=bool(revoked.role),
            repeated=revoked.repeated,
        )


class RevokedTokens(BaseModel):
    """``more``: there are further active tokens of the name; repeat the request."""

    items: list[RevokedToken]
    more: bool
