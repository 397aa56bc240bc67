"""What commands that write have in common: preconditions, idempotency keys, and pages of lists."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import quote

import click
from click.shell_completion import CompletionItem

from libs.cli.client import HttpClient
from libs.cli.discovery import connect
from libs.cli.session import Session
from libs.common.errors import KtError
from libs.common.names import checked_variable_name

PAGE_ITEMS: Final = 200
_LONGEST_HEADER: Final = 255

_COMPLETION_SECONDS: Final = 1.0

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class SecretResource:
    """A kind of secret: where it is at the API, and how people call it."""

    url: str
    noun: str
    command: str

    def path(self, name: str, action: str = "") -> str:
        return f"{self.url}/{quote(name, safe='')}{action}"

    def name_argument(self, command: _Command) -> _Command:
        """Decorator: the NAME of one, checked before anything is sent, completed by a shell."""
        return click.argument("name", callback=_name, shell_complete=self._names)(command)

    def _names(self, ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
        """Names that begin like this; fails when the API does not answer at once."""
        client = connect(ctx.find_root().ensure_object(Session), timeout=_COMPLETION_SECONDS, attempts=1)
        page = client.get(self.url, {"prefix": incomplete, "limit": str(PAGE_ITEMS)}).document
        client.close()
        return [CompletionItem(str(item["name"])) for item in page["items"]]


VARIABLES: Final = SecretResource("/v1/config-variables", "config variable", "kt vars")
GIT_TOKENS: Final = SecretResource("/v1/git-tokens", "Git access token", "kt git-tokens")


def _name(_: click.Context, __: click.Parameter, value: str) -> str:
    return checked_variable_name(value)


if_match_option = click.option(
    "--if-match",
    metavar="ETAG",
    help="Change it only if this is still its ETag (shown by `get`); else exit with 4.",
)
idempotency_option = click.option(
    "--idempotency-key",
    metavar="KEY",
    help="Makes a repeated command harmless. One is made up for each command otherwise.",
)


def write_headers(idempotency_key: str | None, if_match: str | None = None) -> dict[str, str]:
    """Headers of a request that changes something.

    Raises:
        KtError: ``usage`` when one of them can't be a header.
    """
    headers = {"Idempotency-Key": _header(idempotency_key or str(uuid.uuid4()), "--idempotency-key")}
    if if_match is not None:
        tag = _header(if_match, "--if-match")
        headers["If-Match"] = tag if tag == "*" or tag.endswith('"') else f'"{tag}"'
    return headers


def _header(text: str, option: str) -> str:
    if not text or not text.isascii() or not text.isprintable() or " " in text or len(text) > _LONGEST_HEADER:
        raise KtError("usage", f"{option} is not valid; expected 1 to {_LONGEST_HEADER} visible ASCII characters.")
    return text


def pages(client: HttpClient, path: str, query: Mapping[str, str], limit: int | None) -> Iterator[dict[str, Any]]:
    """Pages of a list as the API answers them. ``limit`` bounds the items of all pages together."""
    cursor, left = query.get("cursor", ""), limit
    while True:
        size = PAGE_ITEMS if left is None else min(PAGE_ITEMS, left)
        page = client.get(path, {**query, "limit": str(size), "cursor": cursor}).document
        cursor = page["next_cursor"] or ""
        if left is not None:
            left -= len(page["items"])
        yield page
        if not cursor or (left is not None and left <= 0):
            return
