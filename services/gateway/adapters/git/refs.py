"""From what people call a branch, a tag or a commit to an object of the repository."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from libs.common.errors import KtError

_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_ABBREVIATED: Final = re.compile(r"[0-9a-f]{7,39}")


def candidates(ref: str) -> tuple[bytes, ...]:
    """The full names that a ref may have."""
    if not ref or ref == "HEAD":
        return (b"HEAD",)
    name = ref.encode()
    return (name,) if ref.startswith("refs/") else (b"refs/heads/" + name, b"refs/tags/" + name)


def prefixes(ref: str) -> list[bytes]:
    """What to ask the server for; it may send more."""
    return [b"HEAD"] if _COMMIT.fullmatch(ref) else list(candidates(ref))


def tip_of(ref: str, refs: Mapping[bytes, bytes]) -> bytes:
    """The object that the ref points to; a full commit id is its own.

    Raises:
        KtError: ``not_found``, also for a name that is both a branch and a tag.
    """
    if _COMMIT.fullmatch(ref):
        return ref.encode()
    found = {refs[name] for name in candidates(ref) if name in refs}
    if len(found) == 1:
        return found.pop()
    if found:
        raise KtError(
            "not_found",
            "The repository has a branch and a tag of that name, and they differ.",
            "Write @refs/heads/NAME or @refs/tags/NAME.",
        )
    if _ABBREVIATED.fullmatch(ref):
        raise KtError(
            "not_found", "The repository has no such branch or tag.", "A commit takes all of its 40 digits."
        )
    if not ref:
        raise KtError("not_found", "The repository has no HEAD: it is empty, or its default branch is gone.")
    raise KtError("not_found", "The repository has no such branch or tag.", "It may have been deleted or renamed.")
