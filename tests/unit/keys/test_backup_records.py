"""No archive is marked and no restored system answers before that is on record in every org's log."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from libs.common.errors import KtError
from libs.common.protocol.backups import AuthenticateBackup
from services.keys.application.backups import Backups
from services.keys.application.ports import RestoreNotice
from services.keys.domain.keyring import Purpose
from tests.unit.keys.support import Memory, master, start

MADE = AuthenticateBackup(
    manifest_sha256="c2" * 32, taken_at="then", streams=(), values=3, master_fingerprints=("mk-1",)
)
NOTICE = RestoreNotice("n1", "c2" * 32, "then", "now", "home")


@dataclass
class Recorder:
    """Implements ``BackupRecorder``; fails ``failures`` times first."""

    failures: int = 0
    stored: list[tuple[str, object]] = field(default_factory=list)

    async def record_backup(self, org: str, made: AuthenticateBackup) -> None:
        await self._store(org, made)

    async def record_restore(self, org: str, notice: RestoreNotice) -> None:
        await self._store(org, notice)

    async def _store(self, org: str, what: object) -> None:
        if self.failures:
            self.failures -= 1
            raise KtError("outcome_unknown", "not sure")
        if (org, what) not in self.stored:
            self.stored.append((org, what))


@dataclass
class Notices:
    """Implements ``RestoreNotices``."""

    pending: list[RestoreNotice] = field(default_factory=list)

    async def pending_restores(self) -> list[RestoreNotice]:
        return list(self.pending)

    async def restore_recorded(self, notice_id: str) -> None:
        self.pending = [notice for notice in self.pending if notice.id != notice_id]


async def with_keys_for(*orgs: str) -> Memory:
    memory = Memory()
    instance = await start(memory.stores(), master(1))
    for org in orgs:
        await instance.keyring.current(org, Purpose.KEY_ENCRYPTION)
    return memory


@pytest.mark.parametrize(
    ("orgs", "told"), [((), ["default"]), (("default",), ["default"]), (("umbrella", "acme"), ["acme", "umbrella"])]
)
async def test_every_org_with_keys_is_told_or_the_first_one(orgs: tuple[str, ...], told: list[str]) -> None:
    recorder = Recorder()
    await Backups(await with_keys_for(*orgs), Notices(), recorder).record_made(MADE)
    assert recorder.stored == [(org, MADE) for org in told]


async def test_who_asks_for_a_mark_is_refused_when_the_record_is_not_sure() -> None:
    recorder = Recorder(failures=1)
    backups = Backups(await with_keys_for("default"), Notices(), recorder)
    with pytest.raises(KtError):
        await backups.record_made(MADE)
    assert recorder.stored == []


async def test_a_restore_is_told_until_it_is_stored_and_then_forgotten() -> None:
    recorder, notices = Recorder(failures=3), Notices([NOTICE])
    await Backups(await with_keys_for("acme", "umbrella"), notices, recorder).record_restores(retry_s=0)
    assert recorder.stored == [("acme", NOTICE), ("umbrella", NOTICE)]
    assert notices.pending == []


async def test_a_system_that_was_not_restored_tells_nothing() -> None:
    recorder = Recorder()
    await Backups(await with_keys_for("acme"), Notices(), recorder).record_restores()
    assert recorder.stored == []
