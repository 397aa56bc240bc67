"""Names: what may be called what, and how a name becomes a NATS subject token."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from libs.common.errors import KtError

MAX_NAME_LENGTH: Final = 128
_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9_.\-]")
_ORG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_IDENTITY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_KEY_SHAPES = re.compile(
    r"(?<![A-Za-z])sk-[A-Za-z0-9_-]{16,}|AIza[A-Za-z0-9_-]{30,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{18,}"
    r"|whsec_\S{16,}|AKIA[A-Z0-9]{16}|xox[abprs]-[A-Za-z0-9-]{10,}|hf_[A-Za-z0-9]{20,}|gsk_[A-Za-z0-9]{20,}|[0-9a-f]{32,}"
    r"|(?<![A-Za-z0-9])(?=[A-Za-z]*[0-9])(?=[A-Z0-9]*[a-z])[A-Za-z0-9]{84}(?![A-Za-z0-9])"
    r"|(?<![A-Za-z0-9])(?:(?:xai|csk)-[A-Za-z0-9]{20,}|fw_[A-Za-z0-9]{20,}|tgp_v1_[\w-]{20,}|kt[cg]_[\w-]{40,})"
    r"|eyJ[\w-]{8,}\.eyJ[\w-]{8,}|(?<![A-Z0-9])S[OAU][A-Z2-7]{56}(?![A-Z0-9])"
)


def looks_like_secret(text: str) -> bool:
    """True for the shapes provider keys have. Used to keep a key that was put in the wrong place out of the log."""
    return _KEY_SHAPES.search(text) is not None


def checked_variable_name(name: str) -> str:
    """A config variable's name: 1 to 128 of ASCII letters, digits, ``_``, ``-``, ``.``, not dots alone.

    Raises:
        KtError: ``invalid_name`` or ``name_looks_like_secret``; the name itself is not repeated.
    """
    rule = "ASCII letters, digits, underscores, hyphens and dots, 1 to 128 of them"
    if not name:
        raise KtError("invalid_name", f"The name is empty; expected {rule}.")
    if len(name) > MAX_NAME_LENGTH:
        raise KtError("invalid_name", f"The name has {len(name):,} characters; the limit is {MAX_NAME_LENGTH}.")
    wrong = _NOT_ALLOWED.search(name)
    if wrong:
        what = f"a {_describe(wrong.group())} at character {wrong.start() + 1}"
        raise KtError("invalid_name", f"The name contains {what}; expected {rule}.")
    if not name.strip("."):
        raise KtError("invalid_name", "The name consists of dots only; expected a letter or digit in it.")
    if looks_like_secret(name):
        raise KtError(
            "name_looks_like_secret",
            "The name has the shape of a provider key, and names are shown in logs and tables.",
            "If a key was pasted in the wrong place, treat it as leaked and replace it at the provider.",
        )
    return name


def checked_org(org: str) -> str:
    if not _ORG.fullmatch(org):
        raise KtError("invalid_name", "An org is 1 to 63 of lower-case letters, digits and hyphens.")
    return org


def checked_identity(name: str) -> str:
    """The name of a gateway, machine or person: 1 to 64 of ASCII letters, digits, ``_``, ``-``."""
    if not _IDENTITY.fullmatch(name):
        raise KtError(
            "invalid_name",
            "The name must be 1 to 64 ASCII letters, digits, underscores and hyphens, a letter or digit first.",
        )
    return name


def plain_token_id(jti: str) -> str:
    """The id of a token as it stands in subjects and tables: ``jti`` itself, or a digest of one that could not.

    Tokens that were issued here have an id of the first kind; others may be signed elsewhere with the same key.
    """
    return jti if _IDENTITY.fullmatch(jti) else f"jti-{hashlib.sha256(jti.encode(errors='replace')).hexdigest()[:40]}"


def subject_token(name: str) -> str:
    """A name as one NATS subject token; reversible, because ``~`` is not allowed in names."""
    return name.replace(".", "~")


def name_from_token(token: str) -> str:
    return token.replace("~", ".")


def _describe(character: str) -> str:
    known = {"/": "slash", " ": "space", "\t": "tab", "\n": "line break", "\r": "line break", "\0": "NUL"}
    if character in known:
        return known[character]
    if ord(character) < 32 or ord(character) == 127:  # noqa: PLR2004
        return "control character"
    return f"character that is not allowed (U+{ord(character):04X})"
