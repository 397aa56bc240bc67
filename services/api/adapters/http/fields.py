"""Types of fields, shared by bodies, paths and queries. Each refuses with a stable code and without an echo."""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Final, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from libs.common.errors import FieldProblem, KtError
from libs.common.hpke import PUBLIC_KEY_BYTES, BoxPublicKey
from libs.common.names import MAX_NAME_LENGTH, checked_identity, checked_variable_name, looks_like_secret
from libs.common.references import GIT_TOKEN
from libs.common.secret import MAX_VALUE_BYTES, Secret, checked_value

MAX_DESCRIPTION: Final = 1024
_PREFIX = re.compile(rf"[A-Za-z0-9_.\-]{{0,{MAX_NAME_LENGTH}}}")
_GLOB = re.compile(rf"(?:{GIT_TOKEN}/)?[A-Za-z0-9_.\-*?]{{1,{MAX_NAME_LENGTH}}}")
_GLOB_EXPECTED: Final = f"letters, digits, _, -, ., * and ?; for Git access tokens behind {GIT_TOKEN}/"

T = TypeVar("T")
V = TypeVar("V")


def problem(code: str, field: str, what: str, expected: str) -> KtError:
    """An error about one field."""
    detail = f"The request is not valid: {field} {what}; expected {expected}."
    return KtError(code, detail, fields=(FieldProblem(field, what, expected),))


def named(check: Callable[[T], V]) -> Callable[[T, ValidationInfo], V]:
    """``check`` as a validator: its error names the field it came from."""

    def validate(value: T, info: ValidationInfo) -> V:
        try:
            return check(value)
        except KtError as error:
            if error.fields:
                raise
            raise replace(error, fields=(FieldProblem(info.field_name or "", error.detail),)) from None

    return validate


def _text(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise problem("invalid_request", field, "is not text", "text")
    return value


def _value(value: Any) -> Secret:
    return checked_value(_text(value, "value"))


def _token(value: Any) -> Secret:
    return Secret.from_text(_text(value, "token"))


def _identity(name: str) -> str:
    if looks_like_secret(name):
        raise KtError("name_looks_like_secret", "The name has the shape of a key, and names are shown in logs.")
    return checked_identity(name)


def _description(text: str) -> str:
    if len(text) > MAX_DESCRIPTION:
        raise problem("invalid_request", "description", "is too long", f"at most {MAX_DESCRIPTION:,} characters")
    if any(unicodedata.category(c) == "Cc" and c not in "\n\t" for c in text):
        raise problem("invalid_request", "description", "contains a control character", "text")
    if looks_like_secret(text):
        # An event is for ever: what a description holds can't be destroyed afterwards, as a value can.
        expected = "text without one, because descriptions are shown and never erased"
        raise problem("invalid_request", "description", "contains something in the shape of a key", expected)
    return text


def _prefix(prefix: str) -> str:
    if not _PREFIX.fullmatch(prefix):
        raise problem("invalid_name", "prefix", "can't begin a name", "ASCII letters, digits, _, - and .")
    return prefix


def _globs(globs: list[str]) -> list[str]:
    for position, glob in enumerate(globs):
        field = f"references.{position}"
        if not _GLOB.fullmatch(glob):
            raise problem("invalid_name", field, "is not a pattern of names", _GLOB_EXPECTED)
        if looks_like_secret(glob):
            raise problem("name_looks_like_secret", field, "has the shape of a key", "a pattern of names")
    return globs


def _names(names: list[str]) -> list[str]:
    for position, name in enumerate(names):
        try:
            checked_variable_name(name)
        except KtError as error:
            raise replace(error, fields=(FieldProblem(f"references.{position}", error.detail),)) from None
    return names


def _recipient_key(value: Any) -> bytes:
    expected = f"base64 of {PUBLIC_KEY_BYTES} bytes: ML-KEM-768 and X25519 public keys, one after the other"
    try:
        raw = base64.b64decode(_text(value, "recipient_key"), validate=True)
        return BoxPublicKey(raw).encoded
    except (binascii.Error, ValueError):
        raise problem("invalid_request", "recipient_key", "is not base64", expected) from None
    except KtError as error:
        if error.fields:
            raise
        raise problem("invalid_request", "recipient_key", "is not a public key", expected) from None


def _name_schema(example: str) -> WithJsonSchema:
    return WithJsonSchema(
        {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_NAME_LENGTH,
            "pattern": r"^(?!\.+$)[A-Za-z0-9_.\-]+$",
            "examples": [example],
        }
    )


VariableName = Annotated[str, AfterValidator(named(checked_variable_name)), _name_schema("OPENAI_API_KEY")]
"""1 to 128 of ASCII letters, digits, underscores, hyphens and dots; not dots alone."""

GitTokenName = Annotated[str, AfterValidator(named(checked_variable_name)), _name_schema("CONFIG_REPO")]

VersionNumber = Annotated[int, Field(ge=1, le=2**53, description="An older version, from the history")]

SecretValue = Annotated[
    Secret,
    PlainValidator(named(_value)),
    WithJsonSchema(
        {
            "type": "string",
            "format": "password",
            "writeOnly": True,
            "minLength": 1,
            "description": f"UTF-8 text of 1 to {MAX_VALUE_BYTES:,} bytes, without NUL. Never shown again.",
        }
    ),
]
BearerToken = Annotated[
    Secret,
    PlainValidator(named(_token)),
    WithJsonSchema({"type": "string", "format": "password", "writeOnly": True}),
]
RecipientKey = Annotated[
    bytes,
    PlainValidator(_recipient_key),
    WithJsonSchema({"type": "string", "contentEncoding": "base64"}),
]
Description = Annotated[
    str,
    AfterValidator(_description),
    WithJsonSchema({"type": "string", "maxLength": MAX_DESCRIPTION}),
]
IdentityName = Annotated[
    str,
    AfterValidator(named(_identity)),
    WithJsonSchema({"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$", "examples": ["ci-runner"]}),
]
NamePrefix = Annotated[str, AfterValidator(_prefix)]
ReferenceGlobs = Annotated[list[str], AfterValidator(_globs)]
References = Annotated[list[str], AfterValidator(_names)]


class Body(BaseModel):
    """Base of request bodies and query strings: exact types, and no member that is not known."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, document: Any) -> Any:
        if isinstance(document, dict) and not document.keys() <= cls.model_fields.keys():
            unknown = len(document.keys() - cls.model_fields.keys())
            what = "has a member that is not known" if unknown == 1 else f"has {unknown} members that are not known"
            raise problem("invalid_request", "the request", what, f"only {', '.join(cls.model_fields)}")
        return document
