"""Reference pages that are written from the code, so that they can't drift from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from libs.cli import reference as command_line
from libs.common.errors import CATALOGUE
from libs.common.events import REGISTRY
from libs.common.subjects import ACCESS, EVENTS


def pages() -> Iterator[tuple[Path, str]]:
    yield Path("docs/reference/errors.md"), errors_page()
    yield Path("docs/reference/events.md"), events_page()
    yield Path("docs/reference/cli.md"), command_line.render()


def errors_page() -> str:
    lines = [
        "# Errors",
        "",
        "Every failure carries a stable `code`. Over HTTP it comes as a problem document (RFC 9457) with that",
        "`code`; `kt` ends with the exit code beside it. Written from `libs/common/errors.py`.",
        "",
        "| code | HTTP status | exit code | meaning |",
        "|---|---|---|---|",
        *(
            f"| `{code}` | {kind.status} | {int(kind.exit)} {kind.exit.name.lower()} | {kind.title} |"
            for code, kind in sorted(CATALOGUE.items())
        ),
    ]
    return "\n".join(lines) + "\n"


def events_page() -> str:
    lines = [
        "# Events",
        "",
        "Every event is a CloudEvents 1.0 JSON document; what is particular to its type stands in `data.detail`.",
        "Schemas: `contracts/events/`, one sample of each version: `contracts/samples/`. Written from the registry.",
        "",
        "| type | stream | category | action | outcome | detail |",
        "|---|---|---|---|---|---|",
    ]
    for name, kind in sorted(REGISTRY.types().items()):
        detail = ", ".join(f"`{field.name}`" for field in fields(kind.model))
        outcome = "failure" if kind.failure else "success"
        stream = ACCESS if kind.access else EVENTS
        lines.append(f"| `{name}` | `{stream}` | {kind.category} | {kind.action} | {outcome} | {detail} |")
    return "\n".join(lines) + "\n"
