"""The OpenAPI document, for ``make contracts``."""

from __future__ import annotations

import orjson

from services.api.adapters.http.app import bare_app
from services.api.adapters.http.document import build_document


def openapi_document() -> bytes:
    """The document as it is committed: sorted and indented, so that changes show line by line."""
    options = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps(build_document(bare_app()), option=options)
