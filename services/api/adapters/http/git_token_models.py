"""Bodies of the routes of Git access tokens. None of them ever holds a value on its way out."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.config import JsonDict

from libs.common.protocol.command import SecretOutcome
from libs.common.protocol.resolver import SecretView
from services.api.adapters.http.fields import Body, Description, GitTokenName, SecretValue
from services.api.adapters.http.secret_models import HistoryItem, RollBack, Rotate, refuse_value

_EXAMPLE: Final[JsonDict] = {
    "name": "CONFIG_REPO",
    "description": "Read access to the gateway configuration",
    "version": 1,
    "sequence": 43,
    "created_at": "2026-11-23T07:39:03.192164Z",
    "updated_at": "2026-11-23T07:39:03.192164Z",
}


class CreateGitToken(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "CONFIG_REPO",
                    "value": "github_pat_...",
                    "description": "Read access to the gateway configuration",
                }
            ]
        }
    )

    name: GitTokenName
    value: SecretValue
    description: Description = ""


class UpdateGitToken(Body):
    """A merge patch (RFC 7396): a null description is removed. The value stays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"description": "Read access, expires in March"}]})

    description: Description | None = None

    @model_validator(mode="before")
    @classmethod
    def _refuse_value(cls, document: Any) -> Any:
        return refuse_value(document, "description")


class RotateGitToken(Rotate):
    model_config = ConfigDict(json_schema_extra={"examples": [{"value": "github_pat_..."}]})


class RollBackGitToken(RollBack):
    pass


class GitToken(BaseModel):
    """A Git access token without its value, which is never shown. ``sequence`` is what its ETag holds."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    name: str
    description: str
    version: int
    sequence: int
    created_at: str
    updated_at: str

    @classmethod
    def of(cls, state: SecretView | SecretOutcome) -> GitToken:
        return cls(
            name=state.name,
            description=state.description,
            version=state.version,
            sequence=state.sequence,
            created_at=state.created_at,
            updated_at=state.updated_at,
        )


class GitTokenList(BaseModel):
    """In byte order of the names. ``next_cursor`` is null on the last page."""

    items: list[GitToken]
    next_cursor: str | None


class GitTokenHistory(BaseModel):
    """Every event of a name, oldest first, deletions included."""

    items: list[HistoryItem]
