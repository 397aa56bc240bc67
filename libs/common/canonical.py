"""Canonical JSON: the one byte sequence of a document.

Equal to RFC 8785 (JCS) for what events hold: objects with ASCII keys, strings, integers, booleans, null. Floats are
refused, because their text form is where canonicalisation schemes differ.
"""

from __future__ import annotations

from typing import Any

import orjson

_MAX_EXACT_INTEGER = 2**53 - 1


def canonical_json(document: dict[str, Any]) -> bytes:
    """Sorted keys, no white space, UTF-8.

    Raises:
        ValueError: a float, a non-ASCII key, or an integer beyond 2**53 - 1 (RFC 8785 section 3.2.2.3).
    """
    _check(document)
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def _check(value: Any) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str) or not key.isascii():
                raise ValueError("keys in canonical JSON are ASCII text")
            kind = type(item)  # a comparison of types decides nearly always, at a fifth of the cost
            if kind is not str and (kind is not int or not -_MAX_EXACT_INTEGER <= item <= _MAX_EXACT_INTEGER):
                _check(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _check(item)
    elif isinstance(value, float):
        raise ValueError("canonical JSON holds no floats")
    elif isinstance(value, int) and not isinstance(value, bool) and abs(value) > _MAX_EXACT_INTEGER:
        raise ValueError("an integer in canonical JSON has at most 53 bits")
