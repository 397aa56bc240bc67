"""References that can't be resolved, as errors that say why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from libs.common.errors import FieldProblem, KtError
from libs.common.protocol.resolver import Resolution

_ERRORS: Final[Mapping[str, tuple[str, str, str]]] = {
    "not_found": (
        "not_found",
        "There is no config variable of this name.",
        "`kt vars list` shows what there is.",
    ),
    "deleted": (
        "not_found",
        "The config variable was deleted.",
        "Create it again, or refer to another one.",
    ),
    "not_permitted": (
        "forbidden",
        "The token may not resolve this name.",
        "Ask for a token whose references match it.",
    ),
    "undecryptable": (
        "undecryptable",
        "The stored value can't be opened.",
        "Store it anew with rotate; `kt doctor` looks for the cause.",
    ),
    "unavailable": (
        "unavailable",
        "Whether an older plaintext row has this name can't be found out at the moment.",
        "Try again; `kt doctor` looks for the cause.",
    ),
    "invalid_reference": ("invalid_name", "The reference is not the name of a config variable.", ""),
}


def unresolved(reason: str) -> KtError:
    """The error for one reference. Its ``reason`` member is the resolver's."""
    code, detail, hint = _ERRORS.get(reason, ("unresolved", "The reference can't be resolved.", ""))
    return KtError(code, detail, hint, extra={"reason": reason})


def all_resolved(references: Sequence[str], results: Sequence[Resolution]) -> None:
    """Raises: KtError ``unresolved``, naming by position what failed and why."""
    reasons = {result.reference: result.reason for result in results if result.status != "resolved"}
    failed = [(number, reasons[name]) for number, name in enumerate(references) if name in reasons]
    if failed:
        raise KtError(
            "unresolved",
            f"{len(failed)} of {len(references)} references can't be resolved; no value was handed out.",
            "`errors` names them by position. Correct them, or ask for the others alone.",
            tuple(FieldProblem(f"references.{number}", reason) for number, reason in failed),
        )
