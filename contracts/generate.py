"""Write the contracts from the code, or check (``--check``) that what is committed is what the code says.

Golden samples are written once: an existing one is never changed, because its bytes are in somebody's stream.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson

from contracts import asyncapi, reference
from contracts.examples import EXAMPLES, METADATA
from libs.common.events import REGISTRY, encode
from services.api.openapi import openapi_document

ROOT = Path(__file__).resolve().parent.parent


def documents() -> Iterator[tuple[Path, bytes]]:
    """Every generated file with its content."""
    for name, kind in sorted(REGISTRY.types().items()):
        schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": f"urn:keeptrusts:event:{name}"}
        yield Path("contracts/events") / f"{name}.schema.json", _pretty(schema | kind.adapter.json_schema())
    yield Path("contracts/asyncapi.json"), _pretty(asyncapi.document())
    yield Path("contracts/openapi.json"), openapi_document()
    for path, text in reference.pages():
        yield path, text.encode()


def samples() -> Iterator[tuple[Path, bytes]]:
    for event, resource in EXAMPLES:
        name, body = encode(event, resource, METADATA)
        yield Path("contracts/samples") / f"{name}.json", body


def _pretty(document: object) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n"


def stale() -> list[str]:
    """Paths whose content differs from what the code says."""
    wanted = [*documents(), *samples()]
    return [str(path) for path, body in wanted if not (ROOT / path).is_file() or (ROOT / path).read_bytes() != body]


def write() -> None:
    for path, body in samples():
        target = ROOT / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and target.read_bytes() != body:
            sys.exit(f"{path} would change. A written event version is permanent: add a new version and an upcaster.")
        target.write_bytes(body)
    for path, body in documents():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_bytes(body)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say what is out of date")
    if not parser.parse_args().check:
        write()
    elif out_of_date := stale():
        sys.exit("Out of date, run `make contracts`:\n  " + "\n  ".join(out_of_date))


if __name__ == "__main__":
    main()
