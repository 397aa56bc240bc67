"""Entity tags (RFC 9110 section 8.8.3): the sequence of a variable's last event, in quotes."""

from __future__ import annotations

import re

from libs.common.errors import FieldProblem, KtError

_STRONG = re.compile(r'"([1-9][0-9]{0,18})"')


def etag(sequence: int) -> str:
    return f'"{sequence}"'


def expected_sequence(if_match: str | None) -> int | None:
    """The sequence that ``If-Match`` asks for; None for no header and for ``*``, which any existing variable meets.

    Raises:
        KtError: ``invalid_request`` for a weak tag, a list, or anything that no response of this API carried.
    """
    if if_match is None or if_match.strip() == "*":
        return None
    match = _STRONG.fullmatch(if_match.strip())
    if match is None:
        expected = 'one strong ETag as it was received, such as "42", or *'
        raise KtError(
            "invalid_request",
            f"If-Match can't be used; expected {expected}.",
            "Read the variable, and send its ETag header back unchanged.",
            (FieldProblem("If-Match", "is not an ETag of this API", expected),),
        )
    return int(match.group(1))


def is_unchanged(if_none_match: str | None, sequence: int) -> bool:
    """Whether ``If-None-Match`` names the current state. Weak comparison (RFC 9110 section 13.1.2)."""
    if if_none_match is None:
        return False
    tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return "*" in tags or etag(sequence) in tags
