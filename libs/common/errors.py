"""One error model for every service, the HTTP door and the command line.

A :class:`KtError` carries a stable ``code`` from :data:`CATALOGUE`. The code decides the HTTP status (RFC 9457
``status``) and the exit code of ``kt``; the sentence says what happened, what was expected and what to do next.
An error never holds a secret, and never echoes what the caller sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final, Self


class Exit(IntEnum):
    """Exit codes of ``kt``; scripts may rely on them."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    CONFLICT = 4
    DENIED = 5
    UNREACHABLE = 6


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """What a code means everywhere: its title, HTTP status and exit code."""

    title: str
    status: int
    exit: Exit


CATALOGUE: Final[Mapping[str, ErrorKind]] = {
    "invalid_request": ErrorKind("The request is not valid", 422, Exit.USAGE),
    "invalid_json": ErrorKind("The body is not valid JSON", 400, Exit.USAGE),
    "unsupported_media_type": ErrorKind("The body must be JSON", 415, Exit.USAGE),
    "body_too_large": ErrorKind("The body is too large", 413, Exit.USAGE),
    "request_timeout": ErrorKind("The request did not arrive in time", 408, Exit.UNREACHABLE),
    "invalid_name": ErrorKind("The name is not valid", 422, Exit.USAGE),
    "name_looks_like_secret": ErrorKind("The name looks like a key", 422, Exit.USAGE),
    "invalid_value": ErrorKind("The value is not valid", 422, Exit.USAGE),
    "redacted_value": ErrorKind("The value is a redaction placeholder", 422, Exit.USAGE),
    "invalid_filter": ErrorKind("The filter is not valid", 422, Exit.USAGE),
    "invalid_cursor": ErrorKind("The cursor is not valid", 422, Exit.USAGE),
    "invalid_config": ErrorKind("The gateway configuration is not valid", 422, Exit.USAGE),
    "usage": ErrorKind("The command is not complete", 422, Exit.USAGE),
    "unauthenticated": ErrorKind("The request carries no valid token", 401, Exit.DENIED),
    "forbidden": ErrorKind("The token does not allow this", 403, Exit.DENIED),
    "not_found": ErrorKind("There is no such thing", 404, Exit.NOT_FOUND),
    "method_not_allowed": ErrorKind("The method is not allowed here", 405, Exit.USAGE),
    "already_exists": ErrorKind("The name is taken", 409, Exit.CONFLICT),
    "conflict": ErrorKind("Somebody else changed it first", 409, Exit.CONFLICT),
    "precondition_failed": ErrorKind("The version is not the one expected", 412, Exit.CONFLICT),
    "idempotency_mismatch": ErrorKind("The Idempotency-Key was used for another request", 422, Exit.CONFLICT),
    "outcome_unknown": ErrorKind("The outcome is not known", 503, Exit.UNREACHABLE),
    "unavailable": ErrorKind("A part of the system does not answer", 503, Exit.UNREACHABLE),
    "overloaded": ErrorKind("Too many requests are waiting", 503, Exit.UNREACHABLE),
    "unreachable": ErrorKind("The system can't be reached", 503, Exit.UNREACHABLE),
    "unresolved": ErrorKind("A reference can't be resolved", 409, Exit.NOT_FOUND),
    "wrong_master_key": ErrorKind("The master key can't open the keyring", 500, Exit.DENIED),
    "weak_master_key": ErrorKind("The master key is not strong enough", 500, Exit.USAGE),
    "undecryptable": ErrorKind("A sealed value can't be opened", 500, Exit.FAILED),
    "already_running": ErrorKind("The system already runs from this home", 409, Exit.CONFLICT),
    "not_running": ErrorKind("The system does not run from this home", 503, Exit.UNREACHABLE),
    "engine_failed": ErrorKind("An engine did not start", 500, Exit.FAILED),
    "stream_damaged": ErrorKind("The stream and its projection disagree", 500, Exit.FAILED),
    "backup_damaged": ErrorKind("The backup can't be used", 500, Exit.FAILED),
    "log_damaged": ErrorKind("The audit log and its proofs disagree", 500, Exit.FAILED),
    "not_proven": ErrorKind("What was given is not proven", 422, Exit.FAILED),
    "misconfigured": ErrorKind("The configuration is not complete", 500, Exit.USAGE),
    "internal": ErrorKind("Something failed inside", 500, Exit.FAILED),
}


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One thing wrong with one field: where it is, what is wrong, what was expected. Never the value."""

    field: str
    problem: str
    expected: str = ""


@dataclass(slots=True)
class KtError(Exception):
    """An expected failure, told to the caller.

    ``detail`` says what happened and what was expected; ``hint`` what to do next. ``extra`` adds members to the
    problem document (RFC 9457 section 3.2).
    """

    code: str
    detail: str
    hint: str = ""
    fields: tuple[FieldProblem, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.code not in CATALOGUE:
            raise ValueError(f"{self.code} is not in the error catalogue")
        Exception.__init__(self, self.detail)

    def __str__(self) -> str:
        return f"{self.detail} {self.hint}".rstrip()

    @property
    def kind(self) -> ErrorKind:
        return CATALOGUE[self.code]

    def as_wire(self) -> dict[str, Any]:
        """The ``error`` member of a reply on the bus; :meth:`from_wire` reads it back."""
        return {
            "code": self.code,
            "detail": self.detail,
            "hint": self.hint,
            "errors": [{"field": f.field, "problem": f.problem, "expected": f.expected} for f in self.fields],
            "extra": dict(self.extra),
        }

    @classmethod
    def from_wire(cls, error: Mapping[str, Any]) -> Self:
        """Rebuild what a service answered. A code unknown here (a newer service) becomes ``internal``."""
        code = error.get("code", "")
        return cls(
            code=code if code in CATALOGUE else "internal",
            detail=error.get("detail", ""),
            hint=error.get("hint", ""),
            fields=tuple(
                FieldProblem(f["field"], f["problem"], f.get("expected", "")) for f in error.get("errors", ())
            ),
            extra=error.get("extra", {}),
        )
