"""Where copies of checkpoints go, and who cosigns them: read from settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

from libs.common.errors import KtError
from libs.common.transparency.merkle import NotProven
from libs.common.transparency.note import COSIGNATURE, VerifierKey

DEFAULT_BRANCH: Final = "main"
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_DIGITS: Final = 20


@dataclass(frozen=True, slots=True)
class Folder:
    """A directory of this machine, or one that is mounted."""

    path: str


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket of an S3-compatible store, addressed by path; ``prefix`` is empty or ends in a slash."""

    endpoint: str
    name: str
    prefix: str


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch of a Git repository over smart HTTP."""

    repository: str
    name: str


Target = Folder | Bucket | Branch


@dataclass(frozen=True, slots=True)
class Witness:
    """Who cosigns a checkpoint after it has seen that it continues the one before (C2SP tlog-witness)."""

    url: str
    key: VerifierKey


def parse_targets(text: str) -> dict[str, Target]:
    """By how each is written.

    Raises:
        KtError: ``misconfigured``.
    """
    return {word: _target(word) for word in _words(text)}


def parse_witnesses(text: str) -> dict[str, Witness]:
    """Each as its address, a space and its verifier key; by address.

    Raises:
        KtError: ``misconfigured``.
    """
    return {word.partition(" ")[0]: _witness(word) for word in _words(text)}


def file_name(stream: str, size: int) -> str:
    """Names sort as sizes do; one size has one name, so a copy never replaces another."""
    return f"{stream}/{size:0{_DIGITS}}.checkpoint"


def _words(text: str) -> list[str]:
    return [word for word in (part.strip() for part in text.split(",")) if word]


def _target(word: str) -> Target:
    if word.startswith("/"):
        return Folder(word)
    kind, plus, address = word.partition("+")
    parts = _checked(address) if plus else None
    if kind == "s3" and parts is not None:
        bucket, _, prefix = parts.path.strip("/").partition("/")
        if bucket:
            return Bucket(f"{parts.scheme}://{parts.netloc}", bucket, f"{prefix}/" if prefix else "")
    if kind == "git" and parts is not None and parts.path.strip("/"):
        return Branch(address.partition("#")[0], parts.fragment or DEFAULT_BRANCH)
    raise KtError(
        "misconfigured",
        "A place for copies of checkpoints is not understood; expected an absolute path, s3+https://HOST/BUCKET/PREFIX"
        " or git+https://HOST/REPOSITORY#BRANCH.",
        "See KEEPTRUSTS_AUDIT_CHECKPOINT_COPIES in docs/reference/settings.md.",
    )


def _witness(word: str) -> Witness:
    url, _, key = word.partition(" ")
    _checked(url)
    try:
        found = VerifierKey.parse(key.strip())
    except NotProven as reason:
        raise KtError("misconfigured", f"The key of a witness is not one: {reason}.") from None
    if found.algorithm != COSIGNATURE:
        raise KtError("misconfigured", "The key of a witness is not one for cosignatures (algorithm 4).")
    return Witness(url.rstrip("/"), found)


def _checked(address: str) -> SplitResult:
    """Raises: KtError ``misconfigured`` for what is not HTTPS, or holds a password."""
    try:
        parts = urlsplit(address)
        host, secret = parts.hostname or "", parts.username is not None or parts.password is not None
    except ValueError:
        parts, host, secret = urlsplit(""), "", False
    plain = parts.scheme == "http" and host in _LOOPBACK
    if not host or secret or not (parts.scheme == "https" or plain):
        raise KtError(
            "misconfigured",
            "The address of a place for checkpoints or of a witness is not https://…, or holds a password.",
            "Credentials have settings of their own; see docs/reference/settings.md.",
        )
    return parts
