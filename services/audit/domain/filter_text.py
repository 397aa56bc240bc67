"""The text form of a filter (docs/reference/event-filter.md).

::

    filter  = [ term *( 1*SP "AND" 1*SP term ) ]
    term    = field *SP ( "=" / "!=" ) *SP ( word / quoted ) [ "*" ]
            / "time" *SP ( ">=" / ">" / "<=" / "<" ) *SP ( word / quoted )
    word    = 1*( any character but white space, control characters and " \\ * = ! < > ( ) , )
    quoted  = DQUOTE *( any character but DQUOTE, "\\" and control characters / "\\" DQUOTE / "\\\\" ) DQUOTE
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, date, datetime, time
from typing import Final

from libs.common.errors import FieldProblem, KtError
from services.audit.domain.filter import ALIASES, TIME, Field, Filter, Match, Term, TimeBound, TimeOperator

MAX_LENGTH: Final = 4096
MAX_TERMS: Final = 32

_FIELDS: Final = {**{field.value: field for field in Field}, **ALIASES}
_NAME = re.compile(r"[A-Za-z_]+")
_OPERATOR = re.compile(r"[=!<>]+")
_WORD = re.compile(r"""[^\s"\\*=!<>(),]+""")
_SPACE = re.compile(r"[ \t\r\n]*")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOMENT = re.compile(
    _DATE.pattern + r"[Tt](?!24)[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_UNSTORABLE: Final = frozenset({"Cc", "Cs"})
"""Unicode categories that a value may not hold: controls, and surrogates, which have no UTF-8 form."""


def parse(text: str) -> Filter:
    """Read a filter.

    Raises:
        KtError: ``invalid_filter``; ``extra["position"]`` is the character, counted from 1, at which something else
            was expected. The text itself is not repeated.
    """
    if len(text) > MAX_LENGTH:
        raise _expected(MAX_LENGTH, f"at most {MAX_LENGTH:,} characters")
    scanner = _Scanner(text)
    scanner.skip_space()
    terms: list[Term] = []
    while not scanner.at_end():
        if terms:
            scanner.read_and()
        if len(terms) == MAX_TERMS:
            raise _expected(scanner.position, f"at most {MAX_TERMS} comparisons")
        terms.append(_term(scanner))
    return Filter(tuple(terms))


def render(filter_: Filter) -> str:
    """The text that :func:`parse` reads as this filter; one text for all spellings of the same terms."""
    return " AND ".join(_render_term(term) for term in filter_.terms)


def _render_term(term: Term) -> str:
    if isinstance(term, TimeBound):
        moment = term.moment.astimezone(UTC).replace(tzinfo=None)
        return f"{TIME}{term.operator}{moment.isoformat(timespec='microseconds')}Z"
    value = term.value
    if not _WORD.fullmatch(value):
        value = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{term.field}{'!=' if term.negated else '='}{value}{'*' if term.prefix else ''}"


def _term(scanner: _Scanner) -> Term:
    start = scanner.position
    name = scanner.take(_NAME).lower()
    if name != TIME and name not in _FIELDS:
        raise _expected(start, f"a field ({', '.join(sorted({TIME, *Field}))})")
    scanner.skip_space()
    at_operator = scanner.position
    operator = scanner.take(_OPERATOR)
    if name == TIME:
        if operator not in set(TimeOperator):
            raise _expected(at_operator, "one of >= > <= < after time")
        scanner.skip_space()
        return TimeBound(TimeOperator(operator), _moment(scanner))
    if operator not in {"=", "!="}:
        raise _expected(at_operator, "= or != after the field")
    scanner.skip_space()
    value, prefix = _value(scanner)
    return Match(_FIELDS[name], value, prefix, negated=operator == "!=")


def _value(scanner: _Scanner) -> tuple[str, bool]:
    start = scanner.position
    value = "" if scanner.sees("*") else scanner.read_text()
    prefix = scanner.skip("*")
    if prefix and not value:
        raise _expected(start, 'some text before *; `field!=""` finds entries in which the field is set')
    scanner.check_term_ends()
    return value, prefix


def _moment(scanner: _Scanner) -> datetime:
    start = scanner.position
    text = scanner.read_text()
    scanner.check_term_ends()
    try:
        if _DATE.fullmatch(text):
            return datetime.combine(date.fromisoformat(text), time(), UTC)
        if _MOMENT.fullmatch(text):
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise _expected(start, "a date and time of day that exist") from None
    raise _expected(start, "a date (2026-11-23) or an RFC 3339 time (2026-11-23T07:39:03Z, at most six decimals)")


class _Scanner:
    """The text and the place in it. ``position`` counts from 0."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.position = 0

    def at_end(self) -> bool:
        return self.position == len(self._text)

    def take(self, pattern: re.Pattern[str]) -> str:
        """The longest match here; empty when there is none."""
        found = pattern.match(self._text, self.position)
        if found is None:
            return ""
        self.position = found.end()
        return found.group()

    def sees(self, character: str) -> bool:
        return self._text.startswith(character, self.position)

    def skip(self, character: str) -> bool:
        found = self.sees(character)
        self.position += found
        return found

    def skip_space(self) -> None:
        self.take(_SPACE)

    def read_and(self) -> None:
        start = self.position
        if self.take(_NAME).upper() != "AND":
            raise _expected(start, "AND, or the end of the filter")
        before = self.position
        self.skip_space()
        if self.position == before or self.at_end():
            raise _expected(self.position, "a space and another comparison after AND")

    def read_text(self) -> str:
        """A word or a quoted text."""
        start = self.position
        if self.skip('"'):
            return self._rest_of_quoted(start)
        word = self.take(_WORD)
        if not word:
            raise _expected(start, 'a value; "double quotes" go around one that is empty or not of plain characters')
        for offset, character in enumerate(word):
            _check_storable(character, start + offset)
        return word

    def check_term_ends(self) -> None:
        """After a value only white space or the end may follow."""
        before = self.position
        self.skip_space()
        if self.position == before and not self.at_end():
            raise _expected(before, 'a space or the end; "double quotes" go around other than plain characters')

    def _rest_of_quoted(self, start: int) -> str:
        characters: list[str] = []
        while not self.at_end():
            character = self._text[self.position]
            if character == '"':
                self.position += 1
                return "".join(characters)
            if character == "\\":
                self.position += 1
                character = self._text[self.position : self.position + 1]
                if character not in {'"', "\\"}:
                    raise _expected(self.position, 'one of " and \\ after a backslash')
            _check_storable(character, self.position)
            characters.append(character)
            self.position += 1
        raise _expected(start, "a closing double quote for the one here")


def _check_storable(character: str, position: int) -> None:
    if unicodedata.category(character) in _UNSTORABLE:
        raise _expected(position, "no control characters in a value")


def _expected(position: int, expected: str) -> KtError:
    return KtError(
        "invalid_filter",
        f"The filter can't be read at character {position + 1}: expected {expected}.",
        "See docs/reference/event-filter.md; an example: category=secret_management AND time>=2026-11-01",
        (FieldProblem("filter", f"character {position + 1}", expected),),
        {"position": position + 1},
    )
