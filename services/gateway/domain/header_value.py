"""May a value become an HTTP header field (RFC 9110 section 5.5)?"""

from __future__ import annotations

from libs.common.secret import Secret

_FIRST_PRINTABLE, _LAST_PRINTABLE = 0x20, 0x7E


def header_problem(value: Secret) -> str:
    """What keeps ``value`` from being sent as a header, or an empty text. The value is never repeated."""
    raw = value.reveal()
    if not raw:
        return "is empty"
    if b"\n" in raw or b"\r" in raw:
        return "contains a line break"
    if b"\0" in raw:
        return "contains a NUL byte"
    if any(not _FIRST_PRINTABLE <= byte <= _LAST_PRINTABLE for byte in raw):
        return "contains a character that is not printable ASCII"
    if raw != raw.strip():
        return "begins or ends with a space"
    return ""
