"""Bodies of the config-variable routes."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from libs.common.protocol.command import SecretOutcome
from libs.common.protocol.resolver import SecretView
from libs.common.secret import REDACTED
from services.api.adapters.http.fields import Body, Description, SecretValue, VariableName
from services.api.adapters.http.secret_models import HistoryItem, RollBack, Rotate, refuse_value

_EXAMPLE: Final[JsonDict] = {
    "name": "OPENAI_API_KEY",
    "value": REDACTED,
    "description": "OpenAI production API key",
    "sensitive": True,
    "version": 1,
    "sequence": 42,
    "created_at": "2026-11-23T07:39:03.192164Z",
    "updated_at": "2026-11-23T07:39:03.192164Z",
    "legacy": False,
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
        return refuse_value(document, "description, sensitive or both")

    @property
    def new_description(self) -> str | None:
        return (self.description or "") if "description" in self.model_fields_set else None

    @property
    def new_sensitive(self) -> bool | None:
        return self.sensitive if "sensitive" in self.model_fields_set else None


class RotateConfigVariable(Rotate):
    model_config = ConfigDict(json_schema_extra={"examples": [{"value": "sk-proj-new-..."}]})


class RollBackConfigVariable(RollBack):
    pass


class ConfigVariable(BaseModel):
    """A config variable. ``sequence`` is what its ETag holds.

    ``value`` is ``********`` for a sensitive variable. That of another is shown by GET of the single variable and is
    null elsewhere.

    ``legacy``: the variable is still an older plaintext row. It has no history, so version and sequence are 0, the
    times null, and there is no ETag; the first change of it encrypts the value and removes the row.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    name: str
    value: str | None
    description: str
    sensitive: bool
    version: int
    sequence: int
    created_at: str | None
    updated_at: str | None
    legacy: bool

    @classmethod
    def of(cls, state: SecretView | SecretOutcome, value: str | None = None) -> ConfigVariable:
        """``value`` is that of a variable that is not sensitive, where it is shown."""
        return cls(
            name=state.name,
            value=REDACTED if state.sensitive else value,
            description=state.description,
            sensitive=state.sensitive,
            version=state.version,
            sequence=state.sequence,
            created_at=state.created_at or None,
            updated_at=state.updated_at or None,
            legacy=isinstance(state, SecretView) and state.legacy,
        )


class ConfigVariableList(BaseModel):
    """In byte order of the names. ``next_cursor`` is null on the last page."""

    items: list[ConfigVariable]
    next_cursor: str | None


class ConfigVariableHistory(BaseModel):
    """Every event of a name, oldest first, deletions included."""

    items: list[HistoryItem]
