"""Bodies of the config-variable routes."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from libs.common.errors import KtError
from libs.common.protocol.command import ConfigVariableOutcome
from libs.common.protocol.resolver import HistoryEntry, VariableView
from libs.common.secret import REDACTED, checked_value
from services.api.adapters.http.fields import (
    Body,
    Description,
    NamePrefix,
    SecretValue,
    VariableName,
    VersionNumber,
    problem,
)

_EXAMPLE: Final[JsonDict] = {
    "name": "OPENAI_API_KEY",
    "value": REDACTED,
    "description": "OpenAI production API key",
    "sensitive": True,
    "version": 1,
    "sequence": 42,
    "created_at": "2026-11-23T07:39:03.192164Z",
    "updated_at": "2026-11-23T07:39:03.192164Z",
}


class CreateConfigVariable(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "OPENAI_API_KEY",
                    "value": "sk-proj-...",
                    "description": "OpenAI production API key",
                    "sensitive": True,
                }
            ]
        }
    )

    name: VariableName
    value: SecretValue
    description: Description = ""
    sensitive: bool = Field(
        default=True, description="Whether the value is redacted in every response. It is encrypted either way."
    )


class UpdateConfigVariable(Body):
    """A merge patch (RFC 7396): what is left out stays, a null description is removed. The value stays, too."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"description": "OpenAI, production and staging"}]})

    description: Description | None = None
    sensitive: bool = Field(default=True, description="False is refused for a variable that is sensitive.")

    @model_validator(mode="before")
    @classmethod
    def _refuse_value(cls, document: Any) -> Any:
        if isinstance(document, dict) and "value" in document:
            raise _value_in_patch(document["value"])
        if document == {}:
            raise problem("invalid_request", "the request", "changes nothing", "description, sensitive or both")
        return document

    @property
    def new_description(self) -> str | None:
        return (self.description or "") if "description" in self.model_fields_set else None

    @property
    def new_sensitive(self) -> bool | None:
        return self.sensitive if "sensitive" in self.model_fields_set else None


class RotateConfigVariable(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"value": "sk-proj-new-..."}]})

    value: SecretValue


class RollBackConfigVariable(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"version": 1}]})

    version: VersionNumber


class ListQuery(Body):
    model_config = ConfigDict(strict=False)

    prefix: NamePrefix = ""
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: Annotated[str, Field(max_length=1024, description="`next_cursor` of the page before")] = ""


class ConfigVariable(BaseModel):
    """A config variable. ``sequence`` is what its ETag holds.

    ``value`` is ``********`` for a sensitive variable. That of another is shown by GET of the single variable and is
    null elsewhere.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    name: str
    value: str | None
    description: str
    sensitive: bool
    version: int
    sequence: int
    created_at: str
    updated_at: str

    @classmethod
    def of(cls, state: VariableView | ConfigVariableOutcome, value: str | None = None) -> ConfigVariable:
        """``value`` is that of a variable that is not sensitive, where it is shown."""
        return cls(
            name=state.name,
            value=REDACTED if state.sensitive else value,
            description=state.description,
            sensitive=state.sensitive,
            version=state.version,
            sequence=state.sequence,
            created_at=state.created_at,
            updated_at=state.updated_at,
        )


class ConfigVariableList(BaseModel):
    """In byte order of the names. ``next_cursor`` is null on the last page."""

    items: list[ConfigVariable]
    next_cursor: str | None


class HistoryActor(BaseModel):
    type: str
    id: str


class HistoryItem(BaseModel):
    """One event. ``from_version`` is set for a rollback, ``value_state`` where the event brought a value: what became
    of it. A kept value can be rolled back to, a destroyed one is gone."""

    sequence: int
    event_id: str
    type: str
    time: str
    action: str
    version: int
    from_version: int | None
    value_state: Literal["current", "kept", "destroyed"] | None
    actor: HistoryActor

    @classmethod
    def of(cls, entry: HistoryEntry) -> HistoryItem:
        return cls(
            sequence=entry.sequence,
            event_id=entry.event_id,
            type=entry.type,
            time=entry.time,
            action=entry.action,
            version=entry.version,
            from_version=entry.from_version or None,
            value_state=entry.value_state or None,
            actor=HistoryActor(type=entry.actor_type, id=entry.actor_id),
        )


class ConfigVariableHistory(BaseModel):
    """Every event of a name, oldest first, deletions included."""

    items: list[HistoryItem]


def _value_in_patch(value: Any) -> KtError:
    if isinstance(value, str):
        try:
            checked_value(value)
        except KtError as error:
            if error.code == "redacted_value":
                return error
    return problem(
        "invalid_request", "value", "can't be changed by PATCH", "a POST to the variable's /rotate for a new value"
    )
