"""What is left of the older plaintext rows, as the API tells it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from libs.cli.client import HttpClient
from libs.cli.requests import VARIABLES, pages

ROWS: Final = "/v1/legacy-rows"


@dataclass(frozen=True, slots=True)
class OlderRows:
    """``left`` can be taken over. ``unusable`` can't; the first of them are ``named`` with their problem. ``hidden``
    have the name of a config variable and are not used. ``waiting`` are taken over and about to be deleted."""

    table: str
    left: int
    unusable: int
    hidden: int
    waiting: int
    may_delete: bool
    named: Sequence[Mapping[str, Any]]

    @property
    def any(self) -> bool:
        return bool(self.left or self.unusable or self.hidden or self.waiting)


def older_rows(client: HttpClient) -> OlderRows | None:
    """None where no table of older rows is configured."""
    found = client.get(ROWS).document
    if not found["configured"]:
        return None
    left = sum(1 for _ in names_left(client))
    return OlderRows(
        table=found["table"],
        left=left,
        unusable=found["unusable_rows"],
        hidden=max(0, found["usable_rows"] - left - found["waiting"]),
        waiting=found["waiting"],
        may_delete=found["may_delete"],
        named=found["unusable"],
    )


def names_left(client: HttpClient) -> Iterator[str]:
    """The names of the rows that can be taken over."""
    for page in pages(client, VARIABLES.url, {"legacy": "true"}, None):
        for item in page["items"]:
            yield str(item["name"])
