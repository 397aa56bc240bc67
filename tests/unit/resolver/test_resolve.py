"""Resolving: who gets what, what is recorded, and that nothing is answered before it is on record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from libs.common.errors import KtError
from libs.common.events.secret import SealedRef
from libs.common.ids import Uuid7Factory
from libs.common.protocol.keys import OpenReply
from libs.common.protocol.parties import Caller
from libs.common.protocol.resolver import ResolveForCaller, ResolveForGateway, RevealRequest
from libs.common.subjects import GatewayIdentity
from services.resolver.application.recording import AccessEvents
from services.resolver.application.resolve import Resolver
from services.resolver.domain.entitlement import Entitled
from services.resolver.domain.secret import Known, SecretState, Unreadable

CALLER = Caller(org="acme", actor_type="machine", actor_id="ci", request_id="r1")


def variable(name: str, *, sensitive: bool = True, deleted: bool = False) -> SecretState:
    sealed = None if deleted else SealedRef(f"sealed-{name}", "d")
    return SecretState(name, 3, "", sensitive, sealed, 7, "2026", "2026")


class World:
    """A resolver among stand-ins that remember the order of what happened."""

    def __init__(self, *known: SecretState, unopenable: Sequence[str] = (), bus_down: bool = False) -> None:
        self.known: dict[str, Known] = {v.name: v for v in known}
        self.unopenable, self.bus_down = unopenable, bus_down
        self.gateways: dict[str, tuple[str, ...]] = {}
        self.records: list[dict[str, Any]] = []
        self.rows: dict[str, bool] = {}
        self.rows_down = False
        self.asked_rows: list[list[str]] = []
        self.after_open: Callable[[], None] = lambda: None
        self.opened: list[str] = []
        self.opened_ids: list[str] = []
        self.resolver = Resolver(self, self, self, AccessEvents(self, Uuid7Factory()), Uuid7Factory())

    def now(self) -> datetime:
        return datetime(2026, 11, 23, tzinfo=UTC)

    async def secrets(self, org: str, references: Sequence[str]) -> Mapping[str, Known]:
        return {reference: self.known.get(reference) if org == "acme" else None for reference in references}

    async def of_gateway(
        self, gateway: GatewayIdentity, references: Sequence[str]
    ) -> tuple[tuple[str, ...] | None, Mapping[str, Known]]:
        return self.gateways.get("/".join(gateway[:2])), await self.secrets(gateway.org, references)

    async def open(
        self,
        org: str,
        requester: str,
        recipient_key: bytes,
        entitled: Sequence[Entitled],
        legacy: Sequence[str] = (),
        *,
        reveal: bool = False,
    ) -> OpenReply:
        self.opened += [e.reference for e in entitled]
        self.opened_ids += [e.sealed.id for e in entitled]
        self.asked_rows.append(list(legacy))
        failed = {e.reference: "undecryptable" for e in entitled if e.reference in self.unopenable}
        failed |= {name: "unavailable" for name in legacy if self.rows_down}
        rows = [
            name for name in legacy if name in self.rows and not (reveal and self.rows[name]) and not self.rows_down
        ]
        self.after_open()
        return OpenReply(box=b"box" if rows or len(failed) < len(entitled) else None, failed=failed, legacy=rows)

    async def record(self, messages: Sequence[tuple[str, bytes]]) -> None:
        if self.bus_down:
            raise KtError("unavailable", "down")
        self.records += [{"stored_on": subject, **orjson.loads(body)} for subject, body in messages]

    async def resolve(self, *references: str, allowed: tuple[str, ...] = ("*",)) -> list[tuple[str, str]]:
        request = ResolveForCaller(
            caller=CALLER, references_allowed=allowed, references=list(references), recipient_key=b"k"
        )
        reply = await self.resolver.for_caller("", request)
        return [(r.reference, r.reason or f"v{r.version}") for r in reply.results]

    def recorded(self) -> list[tuple[str, str, str]]:
        return [
            (r["data"]["resource"]["id"], r["data"]["outcome"]["result"], r["data"]["outcome"].get("reason", ""))
            for r in self.records
        ]


async def test_each_reference_has_its_own_fate_and_its_own_record() -> None:
    world = World(variable("A"), variable("GONE", deleted=True), variable("B"), unopenable=["B"])
    world.known["TORN"] = Unreadable(5)
    fates = await world.resolve("A", "GONE", "B", "TORN")
    assert fates == [
        ("A", "v3"),
        ("GONE", "deleted"),
        ("B", "undecryptable"),
        ("TORN", "undecryptable"),
    ]
    assert world.recorded() == [
        ("A", "success", ""),
        ("GONE", "failure", "deleted"),
        ("B", "success", ""),
        ("TORN", "failure", "undecryptable"),
        ("B", "failure", "undecryptable"),
    ]


async def test_a_deletion_says_when_it_was_to_those_who_may_know() -> None:
    world = World(variable("GONE", deleted=True))
    world.gateways = {"acme/gw1": ("*",), "acme/gw2": ("OTHER",)}
    request = ResolveForGateway(references=["GONE"], recipient_key=b"k", purpose="rotation")
    told = [await world.resolver.for_gateway(f"kt.gw.v1.acme.{name}.t1.resolve", request) for name in ("gw1", "gw2")]
    assert [(r.results[0].reason, r.results[0].sequence) for r in told] == [("deleted", 7), ("not_permitted", 0)]


async def test_permission_is_decided_before_existence() -> None:
    world = World(variable("OPENAI_KEY"), variable("OTHER"))
    fates = await world.resolve("OPENAI_KEY", "OTHER", "MISSING", allowed=("OPENAI_*",))
    assert fates == [("OPENAI_KEY", "v3"), ("OTHER", "not_permitted"), ("MISSING", "not_permitted")]
    assert world.opened == ["OPENAI_KEY"]


async def test_without_a_durable_record_nothing_is_answered() -> None:
    with pytest.raises(KtError, match="down"):
        await World(variable("A"), bus_down=True).resolve("A")


async def test_what_is_no_name_is_refused_and_not_repeated_in_the_log() -> None:
    world = World()
    pasted = "sk-proj-abcdefghijklmnopqrstuvwxyz"
    assert await world.resolve(pasted, "a/b") == [(pasted, "invalid_reference"), ("a/b", "invalid_reference")]
    assert pasted not in str(world.records)
    assert [r[0] for r in world.recorded()] == ["(invalid)", "(invalid)"]


async def test_a_git_token_is_for_gateways_that_were_given_it_by_name() -> None:
    world = World(variable("A"))
    world.known["git_token/REPO"] = variable("REPO")
    world.gateways = {"acme/all": ("*",), "acme/given": ("*", "git_token/RE*")}
    request = ResolveForGateway(references=["A", "git_token/REPO"], recipient_key=b"k", purpose="startup")
    fates = [
        [r.reason for r in (await world.resolver.for_gateway(f"kt.gw.v1.acme.{name}.t1.resolve", request)).results]
        for name in ("all", "given")
    ]
    assert fates == [["", "not_permitted"], ["", ""]]
    assert [(r["type"], r["stored_on"]) for r in world.records if r["subject"] == "git_token/REPO"] == [
        ("kt.git_token.resolve_failed.v1", "kt.access.v1.acme.git_token.REPO"),
        ("kt.git_token.resolved.v1", "kt.access.v1.acme.git_token.REPO"),
    ]


async def test_a_machine_never_resolves_a_git_token() -> None:
    world = World()
    world.known["git_token/REPO"] = variable("REPO")
    assert await world.resolve("git_token/REPO", allowed=("git_token/*", "*")) == [
        ("git_token/REPO", "invalid_reference")
    ]
    assert world.opened == []


async def test_a_reference_asked_twice_is_resolved_once() -> None:
    world = World(variable("A"))
    assert await world.resolve("A", "A") == [("A", "v3")]
    assert len(world.records) == 1


async def test_a_gateway_is_who_its_subject_says_and_resolves_what_it_was_enrolled_for() -> None:
    world = World(variable("A"), variable("B"))
    world.gateways["acme/gw1"] = ("A",)
    request = ResolveForGateway(references=["A", "B"], recipient_key=b"k", purpose="startup")
    reply = await world.resolver.for_gateway("kt.gw.v1.acme.gw1.t1.resolve", request)
    assert [r.status for r in reply.results] == ["resolved", "failed"]
    assert {(r["data"]["actor"]["type"], r["data"]["actor"]["id"]) for r in world.records} == {("gateway", "gw1")}
    assert world.records[0]["stored_on"] == "kt.access.v1.acme.config_variable.A"
    stranger = await world.resolver.for_gateway("kt.gw.v1.acme.gw2.t1.resolve", request)
    assert [r.reason for r in stranger.results] == ["not_permitted", "not_permitted"]


async def test_a_sensitive_value_is_never_revealed() -> None:
    world = World(variable("SECRET"), variable("SHOWN", sensitive=False))
    with pytest.raises(KtError) as caught:
        await world.resolver.reveal("", RevealRequest(caller=CALLER, name="SECRET", recipient_key=b"k"))
    assert caught.value.code == "forbidden"
    assert world.opened == []
    reply = await world.resolver.reveal("", RevealRequest(caller=CALLER, name="SHOWN", recipient_key=b"k"))
    assert reply.box == b"box"


async def test_a_variable_that_becomes_sensitive_meanwhile_is_not_revealed_as_it_is_then() -> None:
    world = World(variable("A", sensitive=False))
    asked = world.secrets

    async def replaced_after_the_first_look(org: str, references: Sequence[str]) -> Mapping[str, Known]:
        seen = await asked(org, references)
        world.known["A"] = replace(variable("A"), sealed=SealedRef("sensitive", "d"))
        return seen

    world.secrets = replaced_after_the_first_look  # type: ignore[method-assign]
    await world.resolver.reveal("", RevealRequest(caller=CALLER, name="A", recipient_key=b"k"))
    assert world.opened_ids == ["sealed-A"]
    assert [r["type"] for r in world.records] == ["kt.config_variable.revealed.v1"]


def record_types(world: World) -> dict[str, str]:
    return {r["data"]["resource"]["id"]: r["type"].split(".")[2] for r in world.records}


async def test_a_name_without_history_is_looked_up_among_the_older_rows_and_recorded_as_such() -> None:
    world = World(variable("A"), variable("B"), unopenable=["B"])
    world.rows = {"OLD": True}
    fates = await world.resolve("A", "B", "OLD", "NONE")
    assert fates == [("A", "v3"), ("B", "undecryptable"), ("OLD", "v0"), ("NONE", "not_found")]
    assert record_types(world) == {
        "A": "resolved",
        "B": "resolve_failed",
        "OLD": "legacy_resolved",
        "NONE": "resolve_failed",
    }


async def test_names_with_a_history_are_never_looked_up_among_the_older_rows() -> None:
    world = World(variable("A"), variable("GONE", deleted=True))
    world.known["TORN"] = Unreadable(5)
    world.rows = {"A": True, "GONE": True, "TORN": True, "OTHER": True}
    assert await world.resolve("A", "GONE", "TORN") == [("A", "v3"), ("GONE", "deleted"), ("TORN", "undecryptable")]
    assert await world.resolve("OTHER", allowed=("A",)) == [("OTHER", "not_permitted")]
    assert [names for names in world.asked_rows if names] == []


async def test_a_row_is_not_handed_out_without_a_durable_record() -> None:
    world = World(bus_down=True)
    world.rows = {"OLD": True}
    with pytest.raises(KtError, match="down"):
        await world.resolve("OLD")


async def test_rows_that_can_not_be_looked_at_hold_up_nobody_else() -> None:
    world = World(variable("A"))
    world.rows_down = True
    assert await world.resolve("A", "OLD") == [("A", "v3"), ("OLD", "unavailable")]
    assert ("OLD", "failure", "unavailable") in world.recorded()


async def test_a_row_that_is_taken_over_between_the_two_looks_is_found_in_the_stream() -> None:
    world = World(variable("A"))

    def take_over() -> None:
        world.known["OLD"] = variable("OLD")

    world.after_open = take_over
    assert await world.resolve("OLD", "A") == [("OLD", "v3"), ("A", "v3")]
    assert record_types(world) == {"OLD": "resolved", "A": "resolved"}


async def test_a_row_is_revealed_unless_it_is_sensitive() -> None:
    world = World()
    world.rows = {"SHOWN": False, "HIDDEN": True}
    shown = await world.resolver.reveal("", RevealRequest(caller=CALLER, name="SHOWN", recipient_key=b"k"))
    hidden = await world.resolver.reveal("", RevealRequest(caller=CALLER, name="HIDDEN", recipient_key=b"k"))
    assert (shown.results[0].status, hidden.results[0].reason) == ("resolved", "not_found")
    assert record_types(world) == {"SHOWN": "legacy_revealed", "HIDDEN": "resolve_failed"}


async def test_a_row_that_becomes_a_sensitive_variable_meanwhile_is_not_revealed() -> None:
    world = World()
    world.after_open = lambda: world.known.update(OLD=variable("OLD"))
    with pytest.raises(KtError) as caught:
        await world.resolver.reveal("", RevealRequest(caller=CALLER, name="OLD", recipient_key=b"k"))
    assert caught.value.code == "forbidden"
