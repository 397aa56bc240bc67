"""``kt reload``: have the running system read its JWT keys anew, and tell what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import jwt

from libs.cli.client import HttpClient
from libs.cli.discovery import read_token
from libs.cli.documents import print_json
from libs.cli.progress import Progress
from libs.cli.running import home_at, signing_keys_line
from libs.cli.session import Session
from libs.cli.terminal import clean, styled
from libs.common.errors import KtError
from libs.engines import control

_WITHIN_SECONDS: Final = 15.0
_LOOK_SECONDS: Final = 0.05

Keys = Mapping[str, Any]
Found = TypeVar("Found")


def reload_keys(session: Session) -> None:
    """Returns when the keys in force are those of the file, and the home's admin token is one they verify.

    Raises:
        KtError: ``not_running``; ``misconfigured`` with the reason when the keys can't be used: those before stay.
    """
    home = home_at(session.home)
    found = control.status(home)
    client = HttpClient(found.api_url, None, attempts=1, trace=session.trace)
    before = signing_keys(client)
    with Progress("reading the JWT keys anew"):
        control.reload(home)
        keys = _until(lambda: _news(client, before), "The api process did not say what came of it.")
        if keys["refused"] and keys["refused"] != before.get("refused"):
            raise KtError("misconfigured", str(keys["refused"].get("detail", "")), "The keys before stay in force.")
        _until(lambda: _is_verified(home.admin_token, keys), "The home's admin token was not made anew.")
    if session.json:
        print_json({"reloaded": True, "signing_keys": dict(keys)})
    else:
        print(f"{styled('reloaded', 'green')} {clean(signing_keys_line(keys))}")


def signing_keys(client: HttpClient) -> Keys:
    """The key ids that readiness names, also where something is not ready."""
    try:
        document = client.get("/readyz").document
    except KtError as error:
        if error.code != "unavailable":
            raise
        document = error.extra
    found = document.get("signing_keys") if isinstance(document, Mapping) else None
    if not isinstance(found, dict):
        raise KtError("unreachable", "The API does not name its keys.", "Is it of the same version as this kt?")
    return found


def _news(client: HttpClient, before: Keys) -> Keys | None:
    keys = signing_keys(client)
    return keys if keys != before else None


def _is_verified(token_file: Path, keys: Keys) -> bool:
    """Whether the key that signed the home's token is in the set; true without a token that can be looked at."""
    token = read_token(token_file)
    try:
        return token is None or jwt.get_unverified_header(token.secret.reveal())["kid"] in keys.get("kids", [])
    except (jwt.InvalidTokenError, KeyError):
        return True


def _until(look: Callable[[], Found | None], otherwise: str) -> Found:
    deadline = time.monotonic() + _WITHIN_SECONDS
    while not (found := look()):
        if time.monotonic() > deadline:
            raise KtError("unavailable", f"{otherwise} It was given {_WITHIN_SECONDS:.0f} s.", "See `kt doctor`.")
        time.sleep(_LOOK_SECONDS)
    return found
