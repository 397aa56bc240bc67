"""What gateways report, and what is then known of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from libs.common.errors import KtError
from libs.common.events import RecordedEvent, decode
from libs.common.ids import Uuid7Factory
from libs.common.names import MAX_NAME_LENGTH
from libs.common.protocol.resolver import (
    MAX_REPORT_TARGETS,
    GatewayBootstrap,
    GatewayReport,
    GatewayTarget,
    GatewayView,
    ListGateways,
)
from libs.common.subjects import GatewayIdentity
from services.resolver.application.gateways import Gateways
from services.resolver.domain.secret import Known


class World:
    def __init__(self, *enrolled: str) -> None:
        self.enrolled = enrolled
        self.stored: list[tuple[str, bytes]] = []
        self.revoked: set[str] = set()
        self.gateways_use_case = Gateways(self, self, self, self, self, self, self, Uuid7Factory())

    def now(self) -> datetime:
        return datetime(2026, 11, 23, tzinfo=UTC)

    async def secrets(self, org: str, references: Sequence[str]) -> Mapping[str, Known]:
        return {}

    async def of_gateway(
        self, gateway: GatewayIdentity, references: Sequence[str]
    ) -> tuple[tuple[str, ...] | None, Mapping[str, Known]]:
        return None if gateway.token_id in self.revoked else ("*",), {}

    async def revoked_clients(self, org: str) -> list[str]:
        return [f"lost-in-{org}"]

    async def client_jwks(self, org: str) -> dict[str, Any]:
        return {"keys": [org]}

    async def gateways(self, org: str) -> list[tuple[str, list[str]]]:
        return [(name, ["*"]) for name in self.enrolled]

    async def last(self, subject: str) -> RecordedEvent | None:
        return next((decode(body, n) for n, (s, body) in enumerate(self.stored, 1) if s == subject), None)

    async def record(self, messages: Sequence[tuple[str, bytes]]) -> None:
        self.stored = [*messages, *self.stored]

    async def report(self, name: str, **fields: Any) -> None:
        await self.gateways_use_case.report(f"kt.gw.v1.acme.{name}.t1.report", GatewayReport(**fields))

    async def view(self) -> GatewayView:
        (view,) = (await self.gateways_use_case.list("", ListGateways(org="acme"))).items
        return view


def targets(count: int, version: int = 1, start: int = 0) -> list[GatewayTarget]:
    return [
        GatewayTarget(target=f"t{n}", store="store", reference=f"KEY_{n}", version=version)
        for n in range(start, start + count)
    ]


async def test_a_gateway_that_never_reported_is_known_by_name() -> None:
    view = await World("gw").view()
    assert (view.name, view.targets, view.seen_at) == ("gw", [], "")


async def test_the_last_report_is_what_a_gateway_serves() -> None:
    world = World("gw")
    await world.report("gw", kind="config_loaded", config_digest="a", targets=targets(2))
    await world.report("gw", kind="version_adopted", config_digest="a", targets=targets(2, version=2))
    assert [t.version for t in (await world.view()).targets] == [2, 2]


async def test_with_a_revoked_token_nothing_is_reported_and_nothing_begun() -> None:
    world = World("gw")
    world.revoked.add("t1")
    for ask in (
        world.gateways_use_case.bootstrap("kt.gw.v1.acme.gw.t1.bootstrap", GatewayBootstrap()),
        world.report("gw", kind="config_loaded", config_digest="a"),
    ):
        with pytest.raises(KtError) as refused:
            await ask
        assert refused.value.code == "forbidden"
    assert not world.stored
    reply = await world.gateways_use_case.bootstrap("kt.gw.v1.acme.gw.t2.bootstrap", GatewayBootstrap())
    assert (reply.client_jwks, reply.revoked_clients) == ({"keys": ["acme"]}, ["lost-in-acme"])


async def test_a_refused_reload_does_not_hide_what_is_served() -> None:
    world = World("gw")
    await world.report("gw", kind="config_loaded", config_digest="a", targets=targets(1))
    await world.report("gw", kind="reload_refused", config_digest="b", reason="unresolved")
    view = await world.view()
    assert (view.config_digest, len(view.targets)) == ("a", 1)


SOURCE = {"repository": "https://git.example.com/c.git", "path": "c.yaml", "ref": "main", "commit": "5e" * 20}


async def test_the_commit_that_a_gateway_serves_is_known_and_on_record() -> None:
    world = World("gw")
    await world.report("gw", kind="config_loaded", config_digest="a", targets=targets(1))
    await world.report("gw", kind="config_source_applied", config_digest="a", source=SOURCE)
    await world.report(
        "gw", kind="config_source_refused", reason="invalid_config", source=SOURCE | {"commit": "6f" * 20}
    )
    view = await world.view()
    assert view.source is not None
    assert (view.source.commit, view.source.applied_at, len(view.targets)) == (
        "5e" * 20,
        "2026-11-23T00:00:00.000000Z",
        1,
    )
    recorded = [decode(body, 1) for _, body in world.stored[:2]]
    assert [(e.metadata.actor.id, e.event.commit[:2]) for e in recorded] == [("gw", "6f"), ("gw", "5e")]


async def test_a_gateway_that_went_back_to_a_file_is_not_shown_with_a_commit() -> None:
    world = World("gw")
    await world.report("gw", kind="config_source_applied", config_digest="a", source=SOURCE)
    await world.report("gw", kind="config_loaded", config_digest="b", targets=targets(1))
    assert (await world.view()).source is None


async def test_a_report_of_a_source_names_it() -> None:
    world = World("gw")
    for kind in ("config_source_applied", "config_source_refused"):
        with pytest.raises(KtError, match="names the source"):
            await world.report("gw", kind=kind)
    assert world.stored == []


async def test_many_targets_come_in_parts_and_are_shown_whole() -> None:
    world = World("gw")
    for part in range(3):
        chunk = targets(MAX_REPORT_TARGETS, start=part * MAX_REPORT_TARGETS)
        await world.report("gw", kind="config_loaded", config_digest="a", part=part, parts=3, targets=chunk)
    assert [t.target for t in (await world.view()).targets] == [f"t{n}" for n in range(3 * MAX_REPORT_TARGETS)]
    await world.report("gw", kind="config_reloaded", config_digest="b", targets=targets(1))
    assert len((await world.view()).targets) == 1


async def test_a_full_part_with_the_longest_names_fits_an_event() -> None:
    world = World("gw")
    longest = [
        GatewayTarget(target=f"{n:064}", store="store", reference=f"{n:0{MAX_NAME_LENGTH}}", version=999_999)
        for n in range(MAX_REPORT_TARGETS)
    ]
    await world.report("gw", kind="config_loaded", config_digest="a" * 64, part=16, parts=17, targets=longest)
    assert len(world.stored) == 1


async def test_what_a_gateway_s_config_asks_of_the_audit_log_is_on_record_beside_its_targets() -> None:
    world = World("gw")
    await world.report("gw", kind="config_loaded", config_digest="a", targets=targets(1))
    policy = {"retention_days": 730, "log_all_access": True}
    await world.report("gw", kind="audit_policy_applied", config_digest="a", policy=policy)
    recorded = decode(world.stored[0][1], 1)
    assert (recorded.event.retention_days, recorded.event.log_all_access) == (730, True)
    assert len((await world.view()).targets) == 1
