"""Backups and restores on record: as told, once, and by an id that the archive itself gives."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.errors import KtError
from libs.common.events import Actor, decode
from libs.common.events.backup import BackupCreated, BackupEvent, BackupRestored, StreamEnd
from libs.common.ids import Uuid7Factory
from libs.common.protocol.backups import (
    ArchiveEnd,
    AuthenticateBackup,
    RecordBackup,
    RecordRestore,
    archive_id,
)
from libs.common.protocol.parties import Caller
from services.command.application.aggregates import Aggregates
from services.command.application.backups import Backups
from services.command.domain import backup
from tests.unit.common.stores import MemoryStore

DIGEST, ID = "c2" * 32, archive_id("c2" * 32)
TAKEN, RESTORED = "2026-11-22T08:00:00.000000Z", "2026-11-23T08:00:00.000000Z"
CREATED = BackupCreated(DIGEST, TAKEN, (StreamEnd("KT_EVENTS", 52),), 17, ("mk-1",))
BACK = BackupRestored(DIGEST, TAKEN, RESTORED, "home")
events = st.sampled_from([CREATED, BACK, replace(BACK, restored_at=TAKEN), replace(BACK, into="engines")])

MADE = AuthenticateBackup(
    manifest_sha256=DIGEST,
    taken_at=TAKEN,
    streams=(ArchiveEnd(stream="KT_EVENTS", last=52),),
    values=17,
    master_fingerprints=("mk-1",),
)


class At:
    def now(self) -> datetime:
        return datetime(2026, 11, 23, tzinfo=UTC)


def caller(identity: str, org: str = "default") -> Caller:
    return Caller(org=org, actor_type="service", actor_id=identity, request_id="r1")


def decided(*told: BackupEvent) -> list[BackupEvent]:
    history: list[BackupEvent] = []
    for event in told:
        history += backup.BACKUP.decide(backup.RecordBackup(event), backup.BACKUP.fold(history))
    return history


@given(st.lists(events, max_size=12))
def test_an_archive_is_made_once_and_each_restore_is_recorded_once(told: list[BackupEvent]) -> None:
    assert decided(*told) == list(dict.fromkeys(told))


async def test_both_are_stored_under_the_archive_s_id_with_who_did_it() -> None:
    store = MemoryStore()
    backups = Backups(Aggregates(store, At(), Uuid7Factory()))
    made = RecordBackup(command_id="c1", caller=caller("backup", "acme"), archive_id=ID, made=MADE)
    back = RecordRestore(
        command_id="c2",
        caller=caller("provisioner", "acme"),
        archive_id=ID,
        manifest_sha256=DIGEST,
        taken_at=TAKEN,
        restored_at=RESTORED,
        into="home",
    )
    for _ in range(2):
        await backups.record_backup("", made)
        await backups.record_restore("", back)
    assert [subject for subject, _ in store.messages] == [f"kt.evt.v1.acme.backup.{ID}"] * 2
    read = [decode(body, 1) for _, body in store.messages]
    assert [event.event for event in read] == [CREATED, BACK]
    assert [event.metadata.actor for event in read] == [Actor("service", "backup"), Actor("service", "provisioner")]


async def test_an_id_that_could_not_be_one_is_refused() -> None:
    store = MemoryStore()
    request = RecordBackup(command_id="c1", caller=caller("backup"), archive_id="a.b", made=MADE)
    with pytest.raises(KtError):
        await Backups(Aggregates(store, At(), Uuid7Factory())).record_backup("", request)
    assert store.messages == []
