"""Lists: secrets of one kind and older plaintext rows, merged by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from libs.common.errors import KtError
from libs.common.protocol.keys import LegacyRow, LegacyRowsReply
from libs.common.protocol.resolver import ListSecrets, SecretList, SecretView
from libs.common.secret_kinds import KINDS
from services.resolver.application.ports import CurrentState, LegacyRows
from services.resolver.domain.secret import Known, SecretState

READ_MODEL_TIMEOUT_S: Final = 3.0
"""Less than what a caller waits for an answer, so that it gets one."""

ROUNDS: Final = 8
"""How often a page that is short, because names hide rows, is filled up. It may stay short."""

_NO_ROWS: Final = LegacyRowsReply(rows=[])


class Lists(Protocol):
    async def page(self, org: str, kind: str, prefix: str, after: str, limit: int) -> list[SecretView]: ...


@dataclass(frozen=True, slots=True)
class Round:
    """What lies behind a name: all of it up to ``until``, or to the end when that is empty."""

    items: Sequence[SecretView]
    until: str


@dataclass(frozen=True, slots=True)
class Listing:
    """``caught_up`` returns True once the lists show everything stored before it was called."""

    current: CurrentState
    lists: Lists
    rows: LegacyRows
    caught_up: Callable[[float], Awaitable[bool]]

    async def list(self, _subject: str, request: ListSecrets) -> SecretList:
        items: list[SecretView] = []
        after = request.after
        for _ in range(ROUNDS):
            found = await self._round(request, after)
            items += [item for item in found.items if item.legacy or not request.legacy]
            after = found.until
            if not after or len(items) > request.limit:
                break
        if len(items) > request.limit:
            items = items[: request.limit]
            after = items[-1].name
        return SecretList(items=items, more=bool(after), after=after)

    async def _round(self, request: ListSecrets, after: str) -> Round:
        """Rows are looked at before the stream: one that is taken over in between is then found in the stream."""
        org, prefix, limit = request.org, request.prefix, request.limit + 1
        rows = await self.rows.page(org, prefix, after, limit) if KINDS[request.kind].taken_over else _NO_ROWS
        if not await self.caught_up(READ_MODEL_TIMEOUT_S):
            raise KtError(
                "unavailable", "The list has not caught up with the event stream.", "Try again in a moment."
            )
        listed = await self.lists.page(org, request.kind, prefix, after, limit)
        views = {view.name: view for view in listed}
        until = [listed[-1].name] if len(listed) == limit else []
        until += [rows.after] if rows.more else []
        unlisted = [row for row in rows.rows if row.name not in views]
        known = await self.current.secrets(org, [row.name for row in unlisted]) if unlisted else {}
        for row in unlisted:
            view = _of_row(row, known)
            if view is not None:
                views[row.name] = view
        end = min(until, default="")
        return Round([views[name] for name in sorted(views) if not end or name <= end], end)


def view_of(secret: SecretState) -> SecretView:
    return SecretView(
        name=secret.name,
        description=secret.description,
        sensitive=secret.sensitive,
        version=secret.version,
        sequence=secret.sequence,
        created_at=secret.created_at,
        updated_at=secret.updated_at,
    )


def view_of_row(row: LegacyRow) -> SecretView:
    return SecretView(
        name=row.name,
        description=row.description,
        sensitive=row.sensitive,
        version=0,
        sequence=0,
        created_at="",
        updated_at="",
        legacy=True,
    )


def _of_row(row: LegacyRow, known: Mapping[str, Known]) -> SecretView | None:
    """What stands for a row in the list: itself, or what its name has become in the stream."""
    state = known[row.name]
    if state is None:
        return view_of_row(row)
    if isinstance(state, SecretState) and state.sealed is not None:
        return view_of(state)
    return None
