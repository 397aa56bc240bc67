"""Lists: config variables and older plaintext rows, one list, however it is cut into pages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.errors import KtError
from libs.common.events import RecordedEvent
from libs.common.events.secret import SealedRef
from libs.common.protocol.keys import LegacyRow, LegacyRowsReply
from libs.common.protocol.resolver import GetSecret, ListSecrets, SecretList, SecretView
from libs.common.subjects import GatewayIdentity
from services.resolver.application.listing import Listing, view_of
from services.resolver.application.queries import Queries
from services.resolver.domain.secret import Known, SecretState

Entries = list[tuple[str, bool]]


def variable(name: str, *, deleted: bool = False) -> SecretState:
    return SecretState(name, 1, "", True, None if deleted else SealedRef("s", "d"), 7, "2026", "2026")


@dataclass
class World:
    """``between`` happens after the rows were looked at; ``batch`` is how many rows a look gives at most."""

    variables_: dict[str, SecretState] = field(default_factory=dict)
    rows: set[str] = field(default_factory=set)
    batch: int = 1000
    between: Callable[[], None] = lambda: None
    ready: bool = True

    @property
    def listing(self) -> Listing:
        return Listing(self, self, Rows(self), self.caught_up)

    async def caught_up(self, _: float) -> bool:
        return self.ready

    async def page(self, org: str, kind: str, prefix: str, after: str, limit: int) -> list[SecretView]:
        names = sorted(n for n, v in self.variables_.items() if v.sealed and n > after and n.startswith(prefix))
        return [view_of(self.variables_[name]) for name in names[:limit]]

    async def secrets(self, org: str, references: Sequence[str]) -> Mapping[str, Known]:
        return {name: self.variables_.get(name) for name in references}

    async def of_gateway(
        self, gateway: GatewayIdentity, references: Sequence[str]
    ) -> tuple[tuple[str, ...] | None, Mapping[str, Known]]:
        raise NotImplementedError

    async def load(self, subject: str, after: int = 0) -> list[RecordedEvent]:
        return []

    async def list(self, **request: object) -> SecretList:
        return await self.listing.list("", ListSecrets.model_validate({"org": "acme", **request}))

    async def names(self, limit: int, **request: object) -> Entries:
        found: Entries = []
        after = ""
        while True:
            page = await self.list(limit=limit, after=after, **request)
            assert len(page.items) <= limit
            found += [(item.name, item.legacy) for item in page.items]
            if not page.more:
                return found
            assert page.after > after
            after = page.after


@dataclass
class Rows:
    world: World

    async def page(self, org: str, prefix: str, after: str, limit: int) -> LegacyRowsReply:
        size = min(limit, self.world.batch)
        names = sorted(name for name in self.world.rows if name > after and name.startswith(prefix))
        more = len(names) > size
        shown = names[:size]
        rows = [LegacyRow(name=name, description="", sensitive=True) for name in shown]
        self.world.between()
        return LegacyRowsReply(rows=rows, after=shown[-1] if more else "", more=more)

    async def named(self, org: str, names: Sequence[str]) -> LegacyRowsReply:
        rows = [LegacyRow(name=n, description="", sensitive=True) for n in names if n in self.world.rows]
        self.world.between()
        return LegacyRowsReply(rows=rows)


NAMES = st.sets(st.text("AB.", min_size=1, max_size=4), max_size=12)


@given(
    live=NAMES,
    deleted=NAMES,
    rows=NAMES,
    sizes=st.tuples(st.integers(1, 5), st.integers(1, 4)),
    prefix=st.text("A", max_size=1),
)
def test_every_name_is_on_one_page_in_order_and_the_stream_hides_the_rows(
    live: set[str], deleted: set[str], rows: set[str], sizes: tuple[int, int], prefix: str
) -> None:
    limit, batch = sizes
    deleted -= live
    world = World({n: variable(n, deleted=n in deleted) for n in live | deleted}, rows, batch)
    expected = sorted([(name, False) for name in live] + [(name, True) for name in rows - live - deleted])
    expected = [entry for entry in expected if entry[0].startswith(prefix)]
    assert asyncio.run(world.names(limit, prefix=prefix)) == expected
    legacy = [entry for entry in expected if entry[1]]
    assert asyncio.run(world.names(limit, prefix=prefix, legacy=True)) == legacy


async def test_a_row_that_is_taken_over_while_it_is_listed_is_listed_once() -> None:
    world = World({"B": variable("B")}, {"A", "C"})

    def take_over() -> None:
        world.variables_["A"] = variable("A")
        world.rows.discard("A")

    world.between = take_over
    assert await world.names(10) == [("A", False), ("B", False), ("C", True)]


async def test_a_row_that_is_deleted_while_it_is_listed_is_gone() -> None:
    world = World({}, {"A", "C"})
    world.between = lambda: world.variables_.update(A=variable("A", deleted=True))
    assert await world.names(10) == [("C", True)]


async def test_a_list_that_lags_behind_is_not_shown() -> None:
    with pytest.raises(KtError, match="caught up"):
        await World(ready=False).list()


async def test_one_variable_is_looked_up_in_the_stream_then_among_the_rows() -> None:
    world = World({"A": variable("A"), "GONE": variable("GONE", deleted=True)}, {"A", "GONE", "OLD"})
    queries = Queries(world, Rows(world), world)
    assert not (await queries.get("", GetSecret(org="acme", name="A"))).legacy
    old = await queries.get("", GetSecret(org="acme", name="OLD"))
    assert (old.legacy, old.version, old.sequence, old.created_at) == (True, 0, 0, "")
    assert (await queries.history("", GetSecret(org="acme", name="OLD"))).items == []
    for name in ("GONE", "NONE"):
        with pytest.raises(KtError) as caught:
            await queries.get("", GetSecret(org="acme", name=name))
        assert caught.value.code == "not_found"


async def test_one_variable_that_is_taken_over_between_the_two_looks_is_found() -> None:
    world = World()
    world.between = lambda: world.variables_.update(OLD=variable("OLD"))
    found = await Queries(world, Rows(world), world).get("", GetSecret(org="acme", name="OLD"))
    assert (found.legacy, found.version) == (False, 1)
