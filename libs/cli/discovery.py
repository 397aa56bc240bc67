"""Finding the API, and the token for it: what was said first, else what lies in the home.

A token that was found, not given, goes only where it belongs: to the address its home names, or to this machine.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from libs.cli.client import HttpClient, Token, checked_address
from libs.cli.session import Session
from libs.common.errors import KtError
from libs.common.secret import Secret

_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_WRITABLE_BY_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH
_MAX_FILE_BYTES: Final = 64 * 1024
_HOW_TO_GIVE_ONE: Final = "Set KEEPTRUSTS_TOKEN, give --token-file, or name the home with --home."


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send requests, and the token to send with them."""

    url: str
    token: Token


def connect(session: Session, *, timeout: float = 30.0, attempts: int = 3) -> HttpClient:
    """A client of this session's API. ``timeout`` in seconds, for one answer.

    Raises:
        KtError: as :func:`find_api`.
    """
    target = find_api(session)
    return HttpClient(target.url, target.token, timeout=timeout, attempts=attempts, trace=session.trace)


def find_api(session: Session) -> Target:
    """The API of this session.

    Raises:
        KtError: ``misconfigured`` without an address, ``unauthenticated`` without a token.
    """
    url = find_url(session)
    checked_address(url)
    token = given_token(session) or home_token(session, url, session.home / "admin.token")
    if token is None:
        raise KtError("unauthenticated", "No token was found; expected one for this address.", _HOW_TO_GIVE_ONE)
    warn_if_exposed(url)
    return Target(url, token)


def find_url(session: Session) -> str:
    """``--api-url``, the home given by ``--home``, ``KEEPTRUSTS_API_URL``, else the home that is here."""
    if session.api_url:
        return session.api_url
    named = os.environ.get("KEEPTRUSTS_API_URL")
    if named and session.home_option is None:
        return named
    url = read_state(session.home).get("api_url")
    if isinstance(url, str) and url:
        return url
    raise KtError(
        "misconfigured",
        f"No system is known here; expected one in {session.home}, or the address of its API.",
        "Start one with `kt up`, or set KEEPTRUSTS_API_URL (--api-url).",
    )


def given_token(session: Session) -> Token | None:
    """The token somebody gave: ``--token-file``, else ``KEEPTRUSTS_TOKEN`` unless ``--home`` names another place."""
    if session.token_file is not None:
        token = read_token(session.token_file)
        if token is None:
            raise KtError("unauthenticated", "The file given by --token-file does not exist.", _HOW_TO_GIVE_ONE)
        return token
    value = os.environ.get("KEEPTRUSTS_TOKEN", "").strip()
    return _checked_token(value, "KEEPTRUSTS_TOKEN") if value and session.home_option is None else None


def home_token(session: Session, url: str, path: Path) -> Token | None:
    """A token of the home, or None when there is none.

    Raises:
        KtError: ``unauthenticated`` when the token was only found here, and ``url`` is some other machine's.
    """
    if _distrust(session.home):
        return None
    token = read_token(path)
    if token is None or session.home_is_named or _is_loopback(url) or url == read_state(session.home).get("api_url"):
        return token
    raise KtError(
        "unauthenticated",
        f"No token was given for this address; the one in {session.home} belongs to the system of that home.",
        _HOW_TO_GIVE_ONE,
    )


def read_state(home: Path) -> dict[str, Any]:
    """``state.json`` of a home; empty when there is none."""
    return read_json(home, home / "state.json")


def read_json(home: Path, path: Path) -> dict[str, Any]:
    """A document of a home; empty when there is none.

    Raises:
        KtError: ``misconfigured`` when others could have written it, or it is damaged.
    """
    if not path.is_file():
        return {}
    reason = _distrust(home)
    if reason:
        raise KtError(
            "misconfigured",
            f"{home} {reason}; expected a home of your own that nobody else can change.",
            "Name your home with --home or KEEPTRUSTS_HOME, or make it yours (chmod 700).",
        )
    try:
        state = json.loads(path.read_bytes()[:_MAX_FILE_BYTES])
    except (OSError, ValueError):
        raise KtError(
            "misconfigured", f"{path} can't be read; expected a JSON object.", "`kt up` writes it anew."
        ) from None
    return state if isinstance(state, dict) else {}


def read_token(path: Path) -> Token | None:
    """The token in a file; None when there is no such file.

    Raises:
        KtError: ``unauthenticated`` when it can't be read or holds no token.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KtError(
            "unauthenticated", f"The token file {path} can't be read: {error.strerror}.", _HOW_TO_GIVE_ONE
        ) from None
    return _checked_token(content.decode("utf-8", "replace").strip(), str(path))


def warn_if_exposed(url: str) -> None:
    """Say on stderr that a token is about to cross a network in clear."""
    if urlsplit(url).scheme == "http" and not _is_loopback(url):
        print(
            "warning: the token travels unencrypted; use https:// for an address beyond this machine", file=sys.stderr
        )


def _checked_token(text: str, place: str) -> Token:
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise KtError(
            "unauthenticated", f"{place} holds no token; expected one line without spaces.", _HOW_TO_GIVE_ONE
        )
    return Token(Secret.from_text(text), place)


def _is_loopback(url: str) -> bool:
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return False
    return host in _LOOPBACK


def _distrust(home: Path) -> str:
    """Why a home must not be believed; empty when it may be. It says where keys are sent."""
    try:
        found = home.stat()
    except OSError:
        return "can't be looked at"
    if found.st_uid != os.geteuid():
        return "belongs to another user"
    return "can be changed by other users" if found.st_mode & _WRITABLE_BY_OTHERS else ""
