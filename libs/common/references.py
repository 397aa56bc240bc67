"""References to secrets: ``NAME`` is a config variable, ``git_token/NAME`` a Git access token.

Names hold no slash, so that no reference can mean two things. A glob speaks of one kind as well: ``*`` stands for
every config variable, and for nothing else.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from fnmatch import fnmatchcase
from typing import Final

from libs.common.errors import KtError
from libs.common.names import checked_variable_name

CONFIG_VARIABLE: Final = "config_variable"
GIT_TOKEN: Final = "git_token"  # noqa: S105 - the name of a kind
EVERY_CONFIG_VARIABLE: Final = "*"


def reference_to(kind: str, name: str) -> str:
    return name if kind == CONFIG_VARIABLE else f"{kind}/{name}"


def split_reference(reference: str) -> tuple[str, str]:
    """``(kind, name)`` of a reference or of a glob; neither is checked."""
    kind, slash, name = reference.partition("/")
    return (kind, name) if slash else (CONFIG_VARIABLE, reference)


def is_reference(reference: str, kinds: Container[str]) -> bool:
    """Whether it is well-formed and of one of these kinds."""
    kind, name = split_reference(reference)
    try:
        checked_variable_name(name)
    except KtError:
        return False
    return kind in kinds


def permitted(reference: str, globs: Iterable[str]) -> bool:
    """Whether one of the globs of a token matches."""
    if "/" not in reference:
        return any(fnmatchcase(reference, glob) for glob in globs if "/" not in glob)
    kind, name = split_reference(reference)
    return any(of == kind and fnmatchcase(name, glob) for of, glob in map(split_reference, globs))
