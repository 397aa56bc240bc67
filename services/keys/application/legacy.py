"""Rows of the earlier system: read where they lie, sealed when they are changed, deleted behind the event.

No value leaves this service but in a box. A row is deleted only if it still is what was sealed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from libs.common.errors import KtError
from libs.common.legacy_rows import LegacyRow, UnusableRow
from libs.common.secret import Secret
from services.keys.application.ports import DueClaim, LegacyClaims, LegacyTable
from services.keys.application.sealing import Sealed, Sealing
from services.keys.domain.sealed import Binding

log = logging.getLogger(__name__)

KIND: Final = "config_variable"
UNAVAILABLE: Final = "unavailable"
REMOVE_EVERY_S: Final = 0.5
RETRY_S: Final = 5.0
REMOVE_BATCH: Final = 100


@dataclass(frozen=True, slots=True)
class LegacyValues:
    """``failed`` maps names to a reason; names in neither have no usable row."""

    values: Mapping[str, Secret] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LegacyPage:
    """``after`` is the last name that was looked at when there may be ``more`` behind it."""

    rows: Sequence[LegacyRow] = ()
    after: str = ""
    more: bool = False


@dataclass(frozen=True, slots=True)
class TakenOver:
    row: LegacyRow
    sealed: Sealed


@dataclass(frozen=True, slots=True)
class LegacyStatus:
    """``usable`` and ``unusable`` count rows; ``waiting`` counts rows that are sealed and not deleted yet."""

    table: str
    usable: int
    unusable: int
    examples: Sequence[UnusableRow]
    waiting: int
    may_delete: bool


class LegacyRows:
    """Rows of one org; for every other there are none. ``table`` is None where no such table is configured."""

    def __init__(self, org: str, table: LegacyTable | None, claims: LegacyClaims, sealing: Sealing) -> None:
        self._org = org
        self._table = table
        self._claims = claims
        self._sealing = sealing

    async def values(self, org: str, names: Sequence[str], *, reveal: bool) -> LegacyValues:
        """The values of rows, with ``reveal`` only of those that are not sensitive."""
        table = self._of(org)
        if table is None or not names:
            return LegacyValues()
        try:
            rows = await table.find(names)
        except KtError as error:
            log.warning("legacy.unreadable", extra={"code": error.code, "why": error.detail})
            return LegacyValues(failed=dict.fromkeys(names, UNAVAILABLE))
        usable = [row for row in rows if isinstance(row, LegacyRow) and not (reveal and row.sensitive)]
        return LegacyValues({row.name: row.value for row in usable})

    async def named(self, org: str, names: Sequence[str]) -> LegacyPage:
        table = self._of(org)
        rows = [] if table is None else await table.find(names)
        return LegacyPage([row for row in rows if isinstance(row, LegacyRow)])

    async def page(self, org: str, prefix: str, after: str, limit: int) -> LegacyPage:
        """Usable rows in byte order of their names; fewer than ``limit`` where unusable ones lie between."""
        table = self._of(org)
        if table is None:
            return LegacyPage()
        rows, last = await table.page(prefix, after, limit)
        return LegacyPage([row for row in rows if isinstance(row, LegacyRow)], last, more=bool(last))

    async def check_free(self, org: str, name: str) -> None:
        """
        Raises:
            KtError: ``already_exists`` when a usable row has this name.
        """
        if (await self.named(org, [name])).rows:
            raise KtError(
                "already_exists",
                "A config variable of this name exists, as an older plaintext row.",
                "Rotate it to give it a new value, or choose another name.",
            )

    async def take_over(self, binding: Binding) -> TakenOver | None:
        """Seal the value of the row of this name; None without one. The row stays until an event refers to it.

        Raises:
            KtError: ``not_found`` when there is a row and it can't be used, saying why.
        """
        table = self._of(binding.org)
        rows = [] if table is None else await table.find([binding.name])
        if not rows:
            return None
        row = rows[0]
        if isinstance(row, UnusableRow):
            raise KtError(
                "not_found",
                f"There is no config variable of this name, only an older row that can't be used: {row.problem}",
                "Correct the row in its table, or delete it there; `kt legacy status` lists such rows.",
            )
        await self._claims.claim(binding, row.version)
        return TakenOver(row, await self._sealing.seal_value(binding, row.value))

    async def status(self, org: str, examples: int) -> LegacyStatus | None:
        """None where no table is configured for the org."""
        table = self._of(org)
        if table is None:
            return None
        found = await table.survey(examples)
        waiting = await self._claims.count_due(org)
        return LegacyStatus(
            str(table), found.usable, found.unusable, found.examples, waiting, await table.may_delete()
        )

    def _of(self, org: str) -> LegacyTable | None:
        return self._table if org == self._org else None


class RowRemover:
    """Deletes rows whose event is in the stream. What is killed in between happens again, to no further effect."""

    def __init__(self, table: LegacyTable, claims: LegacyClaims) -> None:
        self._table = table
        self._claims = claims

    async def remove(self) -> int:
        """How many claims were settled.

        Raises:
            KtError: ``conflict`` when rows can't be deleted, behind all that can; ``unavailable``, ``misconfigured``.
        """
        settled, after = 0, ""
        refusal: KtError | None = None
        while due := await self._claims.due(REMOVE_BATCH, after):
            for claim in due:
                try:
                    await self._settle(claim)
                except KtError as error:
                    if error.code != "conflict":
                        raise
                    refusal = error
                else:
                    settled += 1
            after = due[-1].sealed_id
        if refusal is not None:
            raise refusal
        return settled

    async def _settle(self, claim: DueClaim) -> None:
        if not await self._table.delete(claim.name, claim.row_version):
            log.info("legacy.row_not_deleted", extra={"variable": claim.name, "why": "gone, or changed since"})
        await self._claims.done(claim.sealed_id)

    async def run(self, every_s: float = REMOVE_EVERY_S, retry_s: float = RETRY_S) -> None:
        """Remove until cancelled."""
        while True:
            try:
                await self.remove()
            except KtError as error:
                log.warning("legacy.not_deleted", extra={"code": error.code, "why": error.detail})
                await asyncio.sleep(retry_s)
            else:
                await asyncio.sleep(every_s)
