"""Importing through the normal path of the API, so that a repeated import changes nothing.

The ``Idempotency-Key`` of each request follows from the name and a number, and numbers are tried in turn. A key that
was used for another value is answered with ``idempotency_mismatch``, one that was used for this value with the
version it made: so the system itself, which alone can compare values, says whether it is the current one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from libs.cli.answers import Answer
from libs.cli.client import HttpClient
from libs.cli.importing.found import Found
from libs.cli.outcomes import Outcome
from libs.cli.requests import VARIABLES, pages
from libs.common.errors import Exit, KtError
from libs.common.ids import derived_id

OnConflict = Literal["fail", "skip", "rotate"]

CREATED: Final = "created"
ROTATED: Final = "rotated"
UNCHANGED: Final = "unchanged"
SKIPPED: Final = "skipped"
ENDINGS: Final = (CREATED, ROTATED, UNCHANGED, SKIPPED)
TO_CREATE: Final = "to create"
IF_IT_EXISTS: Final[Mapping[OnConflict, str]] = {
    "fail": "to refuse if changed",
    "skip": "to skip",
    "rotate": "to rotate if changed",
}
PLANNED: Final = (TO_CREATE, *IF_IT_EXISTS.values())

_ATTEMPTS: Final = 100


class Importer:
    def __init__(self, client: HttpClient, on_conflict: OnConflict) -> None:
        self._client = client
        self._on_conflict = on_conflict

    def take(self, found: Found) -> Outcome:
        """
        Raises:
            KtError: the system is away, or the token may not do this: the other rows would fare no better.
        """
        if found.error is not None:
            return Outcome.of_failure(found.name, found.error, found.place)
        try:
            return Outcome(found.name, self._create(found), found.place)
        except KtError as error:
            if error.kind.exit in (Exit.UNREACHABLE, Exit.DENIED):
                raise
            return Outcome.of_failure(found.name, error, found.place)

    def _create(self, found: Found) -> str:
        for number in range(_ATTEMPTS):
            try:
                answer = self._send(found.name, "create", number, VARIABLES.url, found.as_body())
            except KtError as error:
                if error.code == "already_exists":
                    return self._conflict(found)
                if error.code != "idempotency_mismatch":
                    raise
                continue
            if not answer.replayed:
                return CREATED
            current = self._current(found.name)
            if current and current["version"] == answer.document["version"]:
                return UNCHANGED
        raise _exhausted()

    def _conflict(self, found: Found) -> str:
        if self._on_conflict == "skip":
            return SKIPPED
        current = self._current(found.name) or {}
        if self._on_conflict == "fail":
            raise _exists(legacy=bool(current.get("legacy")))
        body = {"value": found.as_body()["value"]}
        for number in range(_ATTEMPTS):
            try:
                answer = self._send(found.name, "rotate", number, VARIABLES.path(found.name, "/rotate"), body)
            except KtError as error:
                if error.code != "idempotency_mismatch":
                    raise
                continue
            if not answer.replayed:
                return ROTATED
            if answer.document["version"] == current.get("version"):
                return UNCHANGED
        raise _exhausted()

    def _send(self, name: str, what: str, number: int, path: str, body: Mapping[str, Any]) -> Answer:
        key = derived_id("kt legacy import", what, name, str(number))
        return self._client.request("POST", path, body=body, headers={"Idempotency-Key": key})

    def _current(self, name: str) -> Mapping[str, Any] | None:
        try:
            document: Mapping[str, Any] = self._client.get(VARIABLES.path(name)).document
        except KtError as error:
            if error.code == "not_found":
                return None
            raise
        return document


def planner(client: HttpClient, on_conflict: OnConflict) -> Callable[[Found], Outcome]:
    """What an import would do with each row, as far as names tell: comparing values means sending them."""
    existing = {str(item["name"]) for page in pages(client, VARIABLES.url, {}, None) for item in page["items"]}

    def plan(found: Found) -> Outcome:
        if found.error is not None:
            return Outcome.of_failure(found.name, found.error, found.place)
        ending = IF_IT_EXISTS[on_conflict] if found.name in existing else TO_CREATE
        return Outcome(found.name, ending, found.place)

    return plan


def _exists(*, legacy: bool) -> KtError:
    if legacy:
        return KtError("already_exists", "An older plaintext row has this name; `kt legacy migrate` takes it over.")
    return KtError("already_exists", "A config variable of this name exists, with another value or of other origin.")


def _exhausted() -> KtError:
    return KtError("conflict", f"The name was imported with more than {_ATTEMPTS} values; rotate it by hand.")
