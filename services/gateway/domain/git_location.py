"""``git+https://host/repository#path@ref``: a configuration in a Git repository.

The text may hold what was pasted by mistake, so that no error repeats any of it: errors count characters instead.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from libs.common.names import looks_like_secret

PREFIX: Final = "git+"
FORM: Final = "git+https://HOST/REPOSITORY#PATH or …#PATH@REF"
MAX_LENGTH: Final = 2048

_SCHEMES: Final = ("git+https://", "git+http://")
_REMOTE: Final = re.compile(r"(?:git\+)?(?:https?|ssh|git|file|ftps?)://|git@", re.IGNORECASE)
_HOST: Final = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*\.?")
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}")
_LAST_PORT: Final = 65535
_NOT_IN_REF: Final = re.compile(r"[ ~^:?*\[\\\x00-\x20\x7f]|\.\.|@\{|//|/\.|\.lock(?=/|$)")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


class GitLocationError(ValueError):
    """What is wrong with a location, at which character (from 1), and what was expected there."""

    def __init__(self, position: int, problem: str, expected: str) -> None:
        super().__init__(f"at character {position}: {problem}; expected {expected}")


@dataclass(frozen=True, slots=True)
class GitLocation:
    """``repository`` is an ``https`` or ``http`` URL. An empty ``ref`` is what the repository's HEAD points to."""

    repository: str
    host: str
    path: str
    ref: str

    @property
    def pinned(self) -> bool:
        """Whether the ref is a commit: such a location never shows anything new."""
        return _COMMIT.fullmatch(self.ref) is not None

    @property
    def clear_text(self) -> bool:
        """Whether token and configuration would cross a network unencrypted."""
        return self.repository.startswith("http://") and not _is_loopback(self.host)

    def __str__(self) -> str:
        return f"{PREFIX}{self.repository}#{quote(self.path)}" + (f"@{self.ref}" if self.ref else "")


def is_remote(text: str) -> bool:
    """Whether a policy config is named by something other than the path of a file."""
    return _REMOTE.match(text) is not None or text.startswith(PREFIX)


def parse_git_location(text: str) -> GitLocation:
    """Raises: GitLocationError."""
    _check_characters(text)
    scheme = next((scheme for scheme in _SCHEMES if text.startswith(scheme)), None)
    if scheme is None:
        raise GitLocationError(1, "a scheme that is not known", FORM)
    repository, hash_sign, fragment = text.partition("#")
    authority, slash, path = repository.removeprefix(scheme).partition("/")
    at = len(scheme) + 1
    host = _host(authority, at)
    _check_repository(slash + path, at + len(authority))
    if not hash_sign or not fragment:
        raise GitLocationError(len(repository) + 1, "no file is named", "# and the path of a file in the repository")
    at = len(repository) + 2
    file, at_sign, ref = fragment.partition("@")
    return GitLocation(
        repository=repository.removeprefix(PREFIX).rstrip("/"),
        host=host,
        path=_path(file, at),
        ref=_ref(ref, at + len(file) + 1) if at_sign else "",
    )


def _check_characters(text: str) -> None:
    if len(text) > MAX_LENGTH:
        raise GitLocationError(MAX_LENGTH + 1, "the URL is too long", f"at most {MAX_LENGTH:,} characters")
    wrong = next((n for n, c in enumerate(text, 1) if not c.isascii() or not c.isprintable() or c == " "), None)
    if wrong:
        raise GitLocationError(wrong, "a character that has no place in a URL", "visible ASCII, others as %XX")
    if looks_like_secret(re.sub(_COMMIT, "", text)):
        raise GitLocationError(1, "something in it has the shape of a key", _HOW_TO_AUTHENTICATE)


_HOW_TO_AUTHENTICATE: Final = (
    "a URL without credentials: store the token with `kt git-tokens create` and name it with --git-token"
)


def _host(authority: str, at: int) -> str:
    if "@" in authority:
        raise GitLocationError(at, "a user name or password", _HOW_TO_AUTHENTICATE)
    host, colon, port = authority, "", ""
    bracketed = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](?:(:)(.*))?", authority)
    if bracketed:
        host, colon, port = bracketed[1], bracketed[2] or "", bracketed[3] or ""
        if not _is_address(host):
            raise GitLocationError(at, "no IP address in brackets", "the name of a host")
    else:
        host, colon, port = authority.partition(":")
        if not _HOST.fullmatch(host):
            raise GitLocationError(at, "no name of a host", FORM)
    if colon and not (_PORT.fullmatch(port) and int(port) <= _LAST_PORT):
        raise GitLocationError(at + authority.rindex(":") + 1, "no port", "a number from 1 to 65535")
    return host


def _check_repository(path: str, at: int) -> None:
    if "?" in path:
        raise GitLocationError(at + path.index("?"), "a query", "# and the path of a file in the repository")
    if not path.strip("/"):
        raise GitLocationError(at, "no repository is named", "/ and the path of the repository")
    if any(segment in (".", "..") for segment in path.replace("%2e", ".").replace("%2E", ".").split("/")):
        raise GitLocationError(at, "a path with . or .. in it", "the path of the repository")


def _path(text: str, at: int) -> str:
    try:
        path = unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise GitLocationError(at, "a path that is not UTF-8", "the path of a file in the repository") from None
    if not path or any(segment in ("", ".", "..") for segment in path.split("/")) or "\0" in path:
        problem = "no path of a file in a repository"
        raise GitLocationError(at, problem, "one such as gateways/policy-config.yaml, without . and ..")
    return path


def _ref(text: str, at: int) -> str:
    """A branch, a tag, a full ref or a commit, by the rules of ``git check-ref-format``."""
    if not text:
        raise GitLocationError(at, "no ref behind @", "a branch, a tag or a commit")
    wrong = _NOT_IN_REF.search(text)
    if wrong:
        raise GitLocationError(at + wrong.start(), "a character no ref can have there", "a branch, a tag or a commit")
    if text[0] in "-/." or text[-1] in "/." or text == "@":
        raise GitLocationError(at, "no name of a ref", "a branch, a tag or a commit")
    return text


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host.lower() == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)
