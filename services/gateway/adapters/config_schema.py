"""The configuration's JSON Schema (Draft 2020-12) and how its verdicts are told: never with the value in them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

from services.gateway.domain.config_rules import Finding

SCHEMA_FILE: Final = Path(__file__).parents[3] / "contracts" / "gateway-config.schema.json"
_TYPES = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "boolean": "true or false",
    "integer": "a number",
}
_PROBLEMS = {
    "type": "a value of another type",
    "enum": "a value that is not known",
    "const": "another value",
    "pattern": "text of another form",
    "minimum": "a number that is too small",
    "maximum": "a number that is too large",
    "minItems": "an empty list",
    "maxItems": "a list that is too long",
    "minLength": "text that is too short",
    "maxLength": "text that is too long",
    "uniqueItems": "a value that stands twice",
    "oneOf": "a value of another form",
}


def _property_names(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
        schema = list(schema.values())
    if isinstance(schema, list):
        for item in schema:
            yield from _property_names(item)


def _pattern(_validator: Any, pattern: str, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    # ECMA-262 lets `$` match only at the end; Python's `$` also before a final line break.
    if isinstance(instance, str) and not re.fullmatch(pattern, instance):
        yield ValidationError("the text has another form")


_SCHEMA: Final[dict[str, Any]] = orjson.loads(SCHEMA_FILE.read_bytes())
_VALIDATOR: Final = extend(Draft202012Validator, {"pattern": _pattern})(_SCHEMA)  # type: ignore[no-untyped-call]
FIELD_NAMES: Final = frozenset(_property_names(_SCHEMA))
"""Every name the schema knows. Another name is the author's text and is not repeated."""


def dotted(path: tuple[str | int, ...]) -> str:
    """``providers.targets[0].id``; a name that the schema does not know reads ``…``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if part in FIELD_NAMES else "…")
    return text


def check_structure(data: Any) -> list[Finding]:
    """Everything about ``data`` that does not fit the schema."""
    findings = [finding for error in _VALIDATOR.iter_errors(data) for finding in _findings(error)]
    # A value of another type is also none of the expected ones: one finding is enough.
    return list({(finding.path, finding.expected): finding for finding in reversed(findings)}.values())[::-1]


def _findings(error: ValidationError) -> Iterator[Finding]:
    path = tuple(error.absolute_path)
    instance: Any = error.instance
    expected: Any = error.validator_value
    if error.validator == "additionalProperties":
        yield from _unknown_fields(error, path)
    elif error.validator == "required":
        for name in expected:
            if name not in instance:
                yield Finding(path, f"the field {name} is missing", name)
    elif error.validator == "oneOf" and (branch := _meant_branch(error)):
        for inner in branch:
            yield from _findings(inner)
    else:
        problem = "nothing" if error.instance is None else _PROBLEMS.get(str(error.validator), "another value")
        yield Finding(path, problem, _expected(error))


def _unknown_fields(error: ValidationError, path: tuple[str | int, ...]) -> Iterator[Finding]:
    known = list(error.schema["properties"]) if isinstance(error.schema, Mapping) else []
    instance: Any = error.instance
    for name in instance:
        if name not in known:
            close = difflib.get_close_matches(str(name), known, n=1)
            expected = f"{close[0]} (did you mean that?)" if close else f"one of {', '.join(known)}"
            yield Finding((*path, name), "an unknown field", expected)


def _meant_branch(error: ValidationError) -> list[ValidationError]:
    """The alternative that fits at its top and fails further in, when there is exactly one such alternative."""
    branches: dict[Any, list[ValidationError]] = {}
    for inner in error.context or ():
        branches.setdefault(inner.relative_schema_path[0], []).append(inner)
    deeper = [errors for errors in branches.values() if all(inner.relative_path for inner in errors)]
    return deeper[0] if len(deeper) == 1 else []


def _expected(error: ValidationError) -> str:
    schema = error.schema if isinstance(error.schema, Mapping) else {}
    if "x-expected" in schema:
        return str(schema["x-expected"])
    if error.validator == "type":
        return _TYPES.get(str(error.validator_value), "another type")
    if error.validator == "enum":
        values: Any = error.validator_value
        return "one of " + ", ".join(str(value) for value in values if value is not None)
    return "a value that fits the schema"
