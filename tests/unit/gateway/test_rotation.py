"""Load, reload and rotation, against a data plane and a key source in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest

from libs.common.errors import KtError
from libs.common.secret import Secret
from services.gateway.application import rotation
from services.gateway.application.access_log import AccessLog, Batch
from services.gateway.application.client_keys import follow_client_keys
from services.gateway.application.gateway import Gateway
from services.gateway.application.keyring import Keyring
from services.gateway.application.ports import AuditPolicy, Report, ReportKind
from services.gateway.application.rotation import PendingChanges, RotationFollower
from services.gateway.domain.access import Epoch, Recording
from services.gateway.domain.client_auth import ClientAuth, ClientTokens
from services.gateway.domain.config import AuditLogger, GatewayConfig, Pack, Target
from services.gateway.domain.providers import PROVIDERS
from services.gateway.domain.references import (
    Purpose,
    Reason,
    Reference,
    ReferenceKind,
    Resolution,
    Resolved,
    Unresolved,
)
from services.gateway.domain.routing import RoutingPlan
from services.gateway.domain.upstreams import parse_base_url

A, B = Reference(ReferenceKind.STORE, "A"), Reference(ReferenceKind.STORE, "B")
ENV = Reference(ReferenceKind.ENV, "E")


class FixedClock:
    def now(self) -> datetime:
        return datetime(2026, 11, 23, tzinfo=UTC)


def config(*references: Reference, digest: str = "1" * 64) -> GatewayConfig:
    upstream = parse_base_url("https://example.com")
    targets = tuple(Target(f"t-{ref.name}", PROVIDERS["openai"], (), upstream, ref) for ref in references)
    return GatewayConfig(Pack("p", "1.0.0"), targets, None, digest)


@dataclass
class World:
    """Key source, feed, data plane, reporter and config source in one."""

    current: GatewayConfig = field(default_factory=lambda: config(A))
    values: dict[Reference, Resolution] = field(default_factory=dict)
    watched: tuple[Reference, ...] = ()
    asked: list[tuple[tuple[Reference, ...], Purpose]] = field(default_factory=list)
    served: dict[Reference, Secret | None] = field(default_factory=dict)
    plan: RoutingPlan | None = None
    reports: list[Report] = field(default_factory=list)
    policies: list[Report] = field(default_factory=list)
    auth: list[ClientAuth] = field(default_factory=list)
    changed_auth: asyncio.Event = field(default_factory=asyncio.Event)
    unreachable: bool = False
    refuse_plan: bool = False
    silent: bool = False
    answer: asyncio.Event | None = None
    connected: bool = True
    recording: Recording | None = None

    def put(self, reference: Reference, version: int, sequence: int | None = None) -> None:
        value = Secret.from_text(f"{reference.name}-{version}")
        self.values[reference] = Resolved(reference, value, version, sequence or version)

    def key(self, reference: Reference) -> str | None:
        value = self.served[reference]
        return value.reveal().decode() if value is not None else None

    async def load(self) -> GatewayConfig:
        return self.current

    def applied(self, config: GatewayConfig) -> None:
        pass

    def refused(self, error: KtError) -> None:
        pass

    @property
    def status(self) -> None:
        return None

    async def resolve(self, references: Sequence[Reference], purpose: Purpose) -> Sequence[Resolution]:
        self.asked.append((tuple(references), purpose))
        answers = [self.values.get(ref, Unresolved(ref, Reason.NOT_FOUND)) for ref in references]
        if self.answer is not None:
            await self.answer.wait()
        if self.unreachable:
            raise KtError("unreachable", "No.")
        return answers

    async def watch(self, references: Sequence[Reference]) -> None:
        self.watched = tuple(references)

    async def apply(self, plan: RoutingPlan, key_of: Callable[[Reference], Secret | None]) -> None:
        if self.refuse_plan:
            raise KtError("unavailable", "No.")
        self.plan = plan
        self.served = {**self.served, **{ref: key_of(ref) for ref in plan.references if ref not in self.served}}

    def set_key(self, reference: Reference, value: Secret | None) -> None:
        self.served[reference] = value

    def set_recording(self, recording: Recording) -> None:
        self.recording = recording

    async def acknowledgement(self, reference: Reference, timeout_s: float) -> None:
        if self.silent:
            await asyncio.sleep(0.01)
            raise KtError("unavailable", "No answer.")

    def acknowledged(self, reference: Reference) -> bool:
        return not self.silent

    async def set_client_auth(self, auth: ClientAuth) -> None:
        if self.refuse_plan:
            raise KtError("unavailable", "No.")
        self.auth.append(auth)
        self.changed_auth.set()

    def report(self, report: Report) -> None:
        (self.reports if report.policy is None else self.policies).append(report)


@dataclass
class Running:
    world: World
    gateway: Gateway
    keyring: Keyring
    changes: PendingChanges

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while True:
                if condition():
                    return
                await asyncio.sleep(0.001)


class Nowhere:
    """No system to record in."""

    known = False

    async def record_access(self, batch: Batch) -> int:
        raise AssertionError

    def last(self) -> Epoch | None:
        raise AssertionError

    def keep(self, epoch: Epoch) -> None:
        raise AssertionError


def access_log(keyring: Keyring) -> AccessLog:
    return AccessLog(
        sink=Nowhere(),
        epochs=Nowhere(),
        history_of=keyring.history_of,
        clock=FixedClock(),
        new_epoch=str,
        control="control",
    )


@asynccontextmanager
async def started(world: World) -> AsyncIterator[Running]:
    keyring, changes = Keyring(FixedClock()), PendingChanges()
    gateway = Gateway(
        name="g",
        client_auth="client_key",
        source=world,
        keys=world,
        feed=world,
        data_plane=world,
        reporter=world,
        keyring=keyring,
        access=access_log(keyring),
        clock=FixedClock(),
    )
    follower = RotationFollower(
        gateway=gateway, keys=world, data_plane=world, keyring=keyring, changes=changes, jitter=lambda: 0.0
    )
    await gateway.start(world.current)
    following = asyncio.create_task(follower.run())
    try:
        yield Running(world, gateway, keyring, changes)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


def world(*references: Reference) -> World:
    made = World(current=config(*references))
    for reference in references:
        made.put(reference, 1)
    return made


async def test_a_start_resolves_everything_in_one_question_and_reports_it() -> None:
    async with started(world(A, B)) as running:
        assert running.world.asked == [((A, B), Purpose.STARTUP)]
        assert (running.world.key(A), running.world.key(B)) == ("A-1", "B-1")
        (report,) = running.world.reports
        assert report.kind is ReportKind.CONFIG_LOADED
        assert [(t.target, t.reference, t.version) for t in report.targets] == [("t-A", A, 1), ("t-B", B, 1)]


async def test_a_start_reports_what_the_config_asks_of_the_audit_log() -> None:
    made = world(A)
    made.current = replace(made.current, audit_logger=AuditLogger(retention_days=730, log_all_access=True))
    async with started(made):
        (report,) = made.policies
        assert (report.kind, report.policy) == (
            ReportKind.AUDIT_POLICY_APPLIED,
            AuditPolicy(730, log_all_access=True),
        )


async def test_a_config_that_asks_for_nothing_takes_back_what_an_earlier_one_asked() -> None:
    async with started(world(A)) as running:
        assert [report.policy for report in running.world.policies] == [AuditPolicy(0, log_all_access=False)]


async def test_a_start_without_one_of_the_keys_is_refused_and_names_it() -> None:
    made = world(A)
    made.current = config(A, B)
    with pytest.raises(KtError) as error:
        async with started(made):
            pass
    assert error.value.code == "unresolved"
    assert "store:B (nothing is stored under this name)" in error.value.detail
    assert made.plan is None


async def test_only_variables_of_the_store_are_watched() -> None:
    made = world(A, ENV)
    async with started(made):
        assert made.watched == (A,)


async def test_a_status_before_the_start_is_unavailable() -> None:
    made = world(A)
    keyring = Keyring(FixedClock())
    gateway = Gateway(
        name="g",
        client_auth="client_key",
        source=made,
        keys=made,
        feed=made,
        data_plane=made,
        reporter=made,
        keyring=keyring,
        access=access_log(keyring),
        clock=FixedClock(),
    )
    with pytest.raises(KtError) as error:
        gateway.status()
    assert error.value.code == "unavailable"


async def test_an_adoption_names_all_targets_of_the_gateway() -> None:
    async with started(world(A, B)) as running:
        running.world.put(A, 2)
        running.changes.changed(Reference(ReferenceKind.STORE, "A"))
        await running.until(lambda: len(running.world.reports) == 2)
        report = running.world.reports[1]
        assert report.kind is ReportKind.VERSION_ADOPTED
        assert [(t.target, t.version) for t in report.targets] == [("t-A", 2), ("t-B", 1)]


async def test_what_changes_while_one_answer_is_awaited_makes_one_more_question() -> None:
    made = world(A, B)
    async with started(made) as running:
        made.answer = asyncio.Event()
        made.put(A, 2)
        running.changes.changed(Reference(ReferenceKind.STORE, "A"))
        await running.until(lambda: len(made.asked) == 2)
        for version in range(3, 50):
            made.put(A, version)
            running.changes.changed(Reference(ReferenceKind.STORE, "A"))
            running.changes.changed(Reference(ReferenceKind.STORE, "B"))
        made.answer.set()
        await running.until(lambda: made.key(A) == "A-49")
        assert len(made.asked) == 3


async def test_a_change_of_an_unknown_variable_asks_nothing() -> None:
    async with started(world(A)) as running:
        running.changes.changed(Reference(ReferenceKind.STORE, "other"))
        await asyncio.sleep(0.02)
        assert len(running.world.asked) == 1


async def test_an_older_answer_never_replaces_a_newer_key() -> None:
    made = world(A)
    made.put(A, 5)
    async with started(made) as running:
        made.put(A, 4)
        running.changes.changed(Reference(ReferenceKind.STORE, "A"))
        await running.until(lambda: len(made.asked) == 2)
        await asyncio.sleep(0.01)
        assert made.key(A) == "A-5"


async def test_a_system_that_is_away_is_asked_again_with_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation, "FIRST_RETRY_S", 0.01)
    made = world(A)
    async with started(made) as running:
        made.unreachable = True
        made.put(A, 2)
        running.changes.changed(Reference(ReferenceKind.STORE, "A"))
        await running.until(lambda: len(made.asked) >= 4)
        held = running.keyring[A]
        assert (held.stale, held.version, held.reason) == (True, 1, Reason.UNREACHABLE)
        assert made.key(A) == "A-1"
        made.unreachable = False
        await running.until(lambda: made.key(A) == "A-2")
        assert not running.keyring[A].stale


async def test_after_a_gap_every_stored_reference_is_asked_for_again() -> None:
    async with started(world(A, B, ENV)) as running:
        running.changes.missed()
        await running.until(lambda: len(running.world.asked) == 2)
        references, purpose = running.world.asked[1]
        assert (set(references), purpose) == ({A, B}, Purpose.RECONNECT)


async def test_a_version_is_reported_only_when_the_data_plane_has_confirmed_it() -> None:
    made = world(A)
    async with started(made) as running:
        made.silent = True
        made.put(A, 2)
        running.changes.changed(Reference(ReferenceKind.STORE, "A"))
        await running.until(lambda: made.key(A) == "A-2")
        await asyncio.sleep(0.05)
        assert len(made.reports) == 1
        assert running.gateway.status().targets[0].state == "pending"
        made.silent = False
        await running.until(lambda: len(made.reports) == 2)
        assert [t.version for t in made.reports[1].targets] == [2]


async def test_a_withdrawn_key_is_no_longer_reported() -> None:
    made = world(A, B)
    async with started(made) as running:
        made.values[A] = Unresolved(A, Reason.DELETED)
        running.changes.changed(Reference(ReferenceKind.STORE, "A"))
        await running.until(lambda: len(made.reports) == 2)
        assert made.key(A) is None
        assert [t.target for t in made.reports[1].targets] == ["t-B"]


async def test_a_refused_plan_leaves_keys_references_and_watches_as_they_were() -> None:
    made = world(A)
    async with started(made) as running:
        before = running.gateway.status()
        made.put(B, 1)
        made.current, made.refuse_plan = config(B, digest="2" * 64), True
        with pytest.raises(KtError):
            await running.gateway.reload()
        assert running.gateway.status() == before
        assert running.keyring.references == (A,)
        assert made.watched == (A,)
        assert (made.reports[-1].kind, made.reports[-1].reason) == (ReportKind.RELOAD_REFUSED, "unavailable")
        assert made.reports[-1].config_digest == "2" * 64


async def test_a_reload_takes_a_newer_version_along_and_forgets_what_it_no_longer_needs() -> None:
    made = world(A, B)
    async with started(made) as running:
        made.put(A, 2)
        made.current = config(A, digest="2" * 64)
        status = await running.gateway.reload()
        assert made.key(A) == "A-2"
        assert [t.key.version for t in status.targets] == [2]
        assert running.keyring.references == (A,)
        assert [t.version for t in made.reports[-1].targets] == [2]


async def test_client_keys_are_replaced_when_they_change_and_kept_while_nobody_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.gateway.application.client_keys.EVERY_S", 0.001)
    made = world(A)
    old, new = ClientTokens("default", "old"), ClientTokens("default", "new")

    @dataclass
    class Source:
        answers: list[ClientTokens | None]

        async def client_tokens(self) -> ClientTokens:
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if answer is None:
                raise KtError("unreachable", "No.")
            return answer

        async def token_revoked(self) -> None:
            await asyncio.Event().wait()

    following = asyncio.create_task(follow_client_keys(Source([old, None, old, new]), made, old))
    async with asyncio.timeout(5):
        await made.changed_auth.wait()
    await asyncio.sleep(0.02)
    following.cancel()
    assert made.auth == [new]
