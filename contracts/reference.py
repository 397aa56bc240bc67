"""Reference pages that are written from the code, so that they can't drift from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from inspect import cleandoc
from pathlib import Path
from typing import Final

from libs.cli import reference as command_line
from libs.common.errors import CATALOGUE
from libs.common.events import REGISTRY
from libs.common.events.registry import EventType
from libs.common.subjects import ACCESS, EVENTS

CATEGORIES: Final[Mapping[str, str]] = {
    "secret_management": "Secrets and the keys that protect them: each change, each use, and what carries them out.",
    "access_management": "Who may do what: tokens, the keys that sign them, and who was refused.",
    "gateway_access": "Requests through gateways, as `log_all_access` in the policy config asks for them.",
    "audit": "The log itself: who read it, where a gateway's access log begins and ends, and what it lacks.",
}


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
    """Raises: KeyError for a category without a meaning."""
    kinds = sorted(REGISTRY.types().items())
    lines = [
        "# Events",
        "",
        "Everything that is in the audit log, by category and action: what a filter such as",
        "`category=secret_management AND action=rotate` finds. Every event is a CloudEvents 1.0 JSON document; what",
        "is particular to its type stands in `data.detail`. Schemas: `contracts/events/`, one sample of each",
        "version: `contracts/samples/`. Written from the registry.",
        "",
    ]
    for category in sorted({kind.category for _, kind in kinds}):
        lines += [
            f"## {category}",
            "",
            CATEGORIES[category],
            "",
            "| action | type | outcome | stream |",
            "|---|---|---|---|",
        ]
        chosen = [(name, kind) for name, kind in kinds if kind.category == category]
        for name, kind in sorted(chosen, key=lambda item: (item[1].action, item[0])):
            outcome = "failure" if kind.failure else "success"
            stream = ACCESS if kind.access else EVENTS
            lines.append(f"| {kind.action} | [`{name}`](#{_anchor(name)}) | {outcome} | `{stream}` |")
        lines.append("")
    lines += ["## Types", ""]
    for name, kind in kinds:
        lines += [f"### {name}", "", *_meaning(kind), _detail(kind), ""]
    return "\n".join(lines).rstrip() + "\n"


def _anchor(name: str) -> str:
    """As GitHub makes it of a heading."""
    return name.replace(".", "")


def _meaning(kind: EventType) -> Iterator[str]:
    """The docstring in one line for each paragraph; a dataclass without one gets a signature, which says nothing."""
    text = kind.model.__doc__ or ""
    if not text.startswith(f"{kind.model.__name__}("):
        for paragraph in cleandoc(text).replace("``", "`").split("\n\n"):
            yield " ".join(paragraph.split())
            yield ""


def _detail(kind: EventType) -> str:
    names = ", ".join(f"`{field.name}`" for field in fields(kind.model))
    return f"Detail: {names}." if names else "Without detail."
