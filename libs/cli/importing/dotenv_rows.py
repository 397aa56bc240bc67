r"""``.env`` files: ``NAME=value`` lines, as shells and the usual libraries read them.

``export`` before a name, blank lines and comments are passed over. A value may stand in single quotes or backticks
(taken as it is), in double quotes (``\n``, ``\r``, ``\t``, ``\"``, ``\\``, ``\$`` are read), or bare (up to the end
of the line or a blank and ``#``). Quoted values may go over several lines. Nothing is expanded: a ``$`` in a key is
a ``$``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from libs.cli.importing.found import Found, broken, found, without_copies
from libs.common.errors import KtError

_BLANK: Final = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
_NAME: Final = re.compile(r"[ \t]*(?:export[ \t]+)?([^\s=#'\"`]+)[ \t]*=[ \t]*")
_QUOTED: Final = {
    "'": re.compile(r"'([^']*)'"),
    "`": re.compile(r"`([^`]*)`"),
    '"': re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL),
}
_BARE: Final = re.compile(r"[^\n]*")
_COMMENT: Final = re.compile(r"(?:^|[ \t]+)#.*")
_ESCAPE: Final = re.compile(r'\\([nrt"\\$])')
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$"}


def dotenv_rows(text: str, sensitive: bool) -> Sequence[Found]:
    """
    Raises:
        KtError: ``usage`` for a quote that never closes: nothing behind it can be told apart.
    """
    return without_copies(_rows(text.replace("\r\n", "\n"), sensitive))


def _rows(text: str, sensitive: bool) -> Iterator[Found]:
    at = 0
    while at < len(text):
        blank = _BLANK.match(text, at)
        if blank:
            at = blank.end()
            continue
        place = f"line {text.count(chr(10), 0, at) + 1}"
        name = _NAME.match(text, at)
        if name is None:
            yield broken(place, "", KtError("invalid_request", "The line is not NAME=value."))
            at = _line_end(text, at)
            continue
        value, at, rest = _value(text, name.end(), place)
        if rest:
            what = "There is text behind the closing quote."
            yield broken(place, name.group(1), KtError("invalid_request", what))
        else:
            yield found(place, name.group(1), value, sensitive=sensitive)


def _value(text: str, at: int, place: str) -> tuple[str, int, bool]:
    """The value, where the next line begins, and whether something stands between the two that should not."""
    quote = text[at : at + 1]
    if quote not in _QUOTED:
        bare = _BARE.match(text, at)
        line = bare.group() if bare else ""
        return _COMMENT.sub("", line).strip(), _line_end(text, at), False
    quoted = _QUOTED[quote].match(text, at)
    if quoted is None:
        raise KtError("usage", f"The quote that opens in {place} never closes; expected one.", "Nothing was sent.")
    value = quoted.group(1)
    if quote == '"':
        value = _ESCAPE.sub(lambda escape: _ESCAPES[escape.group(1)], value)
    end = quoted.end()
    return value, _line_end(text, end), _BLANK.match(text, end) is None


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1
