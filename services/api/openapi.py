"""``python -m services.api.openapi`` writes the OpenAPI document to ``contracts/openapi.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import orjson

from services.api.adapters.http.app import bare_app
from services.api.adapters.http.document import build_document

PATH: Final = Path(__file__).parents[2] / "contracts" / "openapi.json"


def openapi_document() -> bytes:
    """The document as it is committed: sorted and indented, so that changes show line by line."""
    options = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps(build_document(bare_app()), option=options)


if __name__ == "__main__":
    PATH.write_bytes(openapi_document())
