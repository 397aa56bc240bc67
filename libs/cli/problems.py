"""How failures are told: three lines on stderr for people, one JSON problem document (RFC 9457) for programs."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Final

from libs.cli.terminal import clean, styled
from libs.common.errors import Exit, KtError

_HINTS: Final[Mapping[str, str]] = {
    "invalid_name": "Choose a name such as OPENAI_API_KEY or anthropic.production.key.",
    "invalid_filter": "An example: 'category=secret_management AND outcome!=success AND time>=2026-11-01'.",
    "invalid_cursor": "Begin again without --cursor.",
    "unauthenticated": "Set KEEPTRUSTS_TOKEN, give --token-file, or run kt beside the home of the system.",
    "forbidden": "Ask an admin for a token with another role: `kt token issue --role …`.",
    "not_found": "`kt config-variables list` shows what there is.",
    "already_exists": "`kt config-variables rotate NAME` gives an existing variable a new value.",
    "conflict": "Look at it again with `kt config-variables get NAME`, then repeat the command.",
    "precondition_failed": "Get the current ETag with `kt config-variables get NAME`, then repeat the command.",
    "idempotency_mismatch": "Use a new --idempotency-key for a new request.",
    "unavailable": "`kt status` and `kt doctor` show which part; repeat the command when it is back.",
    "overloaded": "Repeat the command in a moment.",
    "outcome_unknown": "Look at the current state before you repeat it.",
    "unreachable": "`kt status` shows whether the system runs; `kt up` starts it.",
    "not_running": "Start it with `kt up`.",
    "already_running": "`kt status` shows it; `kt down` stops it.",
    "internal": "`kt doctor` looks for the cause; the logs are in the home of the system.",
}
_USAGE: Final = "Correct it and repeat the command."
_ELSE: Final = "`kt doctor` looks for the cause."
_MOST_FIELDS: Final = 10
_WIDEST: Final = 100


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for JSON; found without parsing it, so that it works for a broken one."""
    chosen = False
    for position, word in enumerate(arguments):
        if word == "--":
            break
        name, _, value = word.partition("=")
        if name in {"--output", "-o"}:
            following = arguments[position + 1] if position + 1 < len(arguments) else ""
            chosen = (value or following) == "json"
        elif word == "-ojson":
            chosen = True
    return chosen


def problem_document(error: KtError) -> dict[str, Any]:
    """As the API writes it, with the exit code of ``kt``."""
    document: dict[str, Any] = {
        "type": f"urn:keeptrusts:error:{error.code}",
        "title": error.kind.title,
        "status": error.kind.status,
        "detail": error.detail,
        "code": error.code,
        "hint": hint_of(error),
        "exit_code": int(error.kind.exit),
    }
    if error.fields:
        document["errors"] = [{"field": f.field, "problem": f.problem, "expected": f.expected} for f in error.fields]
    return document | dict(error.extra)


def hint_of(error: KtError) -> str:
    return error.hint or _HINTS.get(error.code) or (_USAGE if error.kind.exit is Exit.USAGE else _ELSE)


def report(error: KtError, *, as_json: bool) -> None:
    """Tell a failure on stderr: what happened, what was expected, what to do next."""
    if as_json:
        print(json.dumps(problem_document(error)), file=sys.stderr)
        return
    headline, lines = _headline(error)
    print(f"{styled('error:', 'red', sys.stderr)} {clean(headline)} ({error.code})", file=sys.stderr)
    untold = [field for field in error.fields if field.problem not in error.detail]
    for field in untold[:_MOST_FIELDS]:
        expected = f"; expected {field.expected}" if field.expected else ""
        lines.append(f"{field.field}: {field.problem}{expected}")
    if len(untold) > _MOST_FIELDS:
        lines.append(f"… and {len(untold) - _MOST_FIELDS} more")
    lines += hint_of(error).splitlines()
    if error.kind.status >= 500 and error.extra.get("request_id"):  # noqa: PLR2004
        lines.append(f"Request {error.extra['request_id']}, for the logs.")
    for line in lines:
        print(_indented(clean(line)), file=sys.stderr)


def _headline(error: KtError) -> tuple[str, list[str]]:
    """What happened, and the lines that follow. A mistake in the command line is its own headline."""
    if error.code != "usage":
        return error.kind.title, [line for line in error.detail.splitlines() if line.strip()]
    happened, _, expected = error.detail.partition("; expected ")
    return happened.rstrip("."), [f"Expected {expected}"] if expected else []


def _indented(line: str) -> str:
    """On a terminal, broken between words; elsewhere one line stays one line."""
    columns = min(shutil.get_terminal_size().columns, _WIDEST) if sys.stderr.isatty() else sys.maxsize
    return textwrap.fill(line, columns, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
