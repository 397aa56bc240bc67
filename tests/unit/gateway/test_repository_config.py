"""A configuration from a repository: the token, what is applied and refused, and what is then said of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from libs.common.errors import KtError
from services.gateway.application import following
from services.gateway.application.following import SourceFollower
from services.gateway.application.listeners import Listeners
from services.gateway.application.repository_config import RepositoryConfig
from services.gateway.domain.references import Purpose, Reason, Reference, ReferenceKind
from tests.unit.gateway.repository import ONE, THREE, TOKEN, TWO, World, commit

DOWN = KtError("unreachable", "The Git server did not answer in time.")


async def loaded(source: RepositoryConfig) -> RepositoryConfig:
    source.applied(await source.load())
    return source


async def refused(source: RepositoryConfig) -> str:
    with pytest.raises(KtError) as error:
        await source.load()
    source.refused(error.value)
    return error.value.code


# The token


async def test_a_token_is_resolved_once_and_used_until_it_changes() -> None:
    world = World()
    token = world.token()
    source = await loaded(world.source(token))
    assert not await source.moved()
    world.rotate("token-2", 2)
    world.accepted = "token-2"
    token.changed(Reference(ReferenceKind.STORE, TOKEN.name))
    with pytest.raises(KtError, match="does not accept"):
        await source.moved()
    token.changed(TOKEN)
    assert not await source.moved()
    assert world.shown == ["token-1", "token-1", "token-1", "token-2"]
    assert world.asked == [Purpose.STARTUP, Purpose.ROTATION]


async def test_a_token_that_the_server_refuses_is_asked_for_again() -> None:
    world = World(accepted="token-2")
    source = world.source(world.token())
    with pytest.raises(KtError):
        await source.load()
    world.rotate("token-2", 2)
    await source.load()
    assert world.asked == [Purpose.STARTUP, Purpose.RELOAD]


async def test_while_the_system_is_away_the_token_held_stays_in_use() -> None:
    world = World()
    token = world.token()
    source = await loaded(world.source(token))
    world.system_down = True
    token.missed()
    assert not await source.moved()
    world.system_down = False
    assert not await source.moved()
    assert world.asked == [Purpose.STARTUP, Purpose.RECONNECT, Purpose.RECONNECT]


@pytest.mark.parametrize(
    ("reason", "code", "hint"),
    [
        (Reason.DELETED, "unresolved", "kt git-tokens create"),
        (Reason.NOT_FOUND, "unresolved", "kt git-tokens create"),
        (Reason.NOT_PERMITTED, "forbidden", "--reference git_token/REPO"),
    ],
)
async def test_a_token_that_is_gone_is_not_used_any_more(reason: Reason, code: str, hint: str) -> None:
    world = World()
    token = world.token()
    source = await loaded(world.source(token))
    world.lose(reason)
    token.changed(TOKEN)
    for _ in range(2):
        with pytest.raises(KtError) as error:
            await source.moved()
        assert (error.value.code, hint in error.value.hint) == (code, True)
    assert world.shown == ["token-1"]
    assert source.status.failure is not None
    assert source.status.commit == ONE
    world.rotate("token-1", 10)
    assert not await source.moved()
    assert source.status.failure is None


async def test_a_gateway_whose_own_token_was_revoked_does_not_use_it_any_more() -> None:
    world = World()
    token = world.token()
    source = await loaded(world.source(token))
    world.lose(Reason.NOT_PERMITTED)
    token.missed()
    with pytest.raises(KtError, match="not allowed to use it"):
        await source.moved()
    assert world.shown == ["token-1"]


async def test_a_token_that_can_not_be_opened_for_now_stays_in_use() -> None:
    world = World()
    token = world.token()
    source = await loaded(world.source(token))
    world.lose(Reason.UNDECRYPTABLE)
    token.changed(TOKEN)
    assert not await source.moved()


async def test_a_public_repository_needs_no_token() -> None:
    world = World()
    await loaded(world.source())
    assert (world.shown, world.asked) == ([None], [])


# Commits


async def test_each_applied_commit_is_reported_once() -> None:
    world = World()
    source = await loaded(world.source())
    since = source.status.applied_at
    await loaded(source)
    assert source.status.applied_at == since
    world.current = commit(TWO)
    assert await source.moved()
    await loaded(source)
    assert not await source.moved()
    assert world.told() == [("config_source_applied", "1", ""), ("config_source_applied", "2", "")]
    assert [r.config_digest for r in world.reports] == ["good", "good"]


@pytest.mark.parametrize("bad", [commit(TWO, b"bad"), commit(TWO, problem="it is a symbolic link")])
async def test_a_bad_commit_is_refused_once_and_the_one_in_force_stays(bad: object) -> None:
    world = World()
    source = await loaded(world.source())
    world.current = bad  # type: ignore[assignment]
    assert await source.moved()
    assert await refused(source) == "invalid_config"
    assert not await source.moved()
    failure = source.status.failure
    assert failure is not None
    assert (source.status.commit, failure.commit, failure.error.code) == (ONE, TWO, "invalid_config")
    assert world.told() == [("config_source_applied", "1", ""), ("config_source_refused", "2", "invalid_config")]


async def test_a_refusal_is_over_when_the_branch_goes_back_or_on() -> None:
    world = World()
    source = await loaded(world.source())
    world.current = commit(TWO, b"bad")
    await refused(source)
    world.current = commit(ONE)
    assert not await source.moved()
    assert source.status.failure is None
    world.current = commit(TWO, b"bad")
    assert await source.moved()
    await refused(source)
    world.current = commit(THREE)
    assert await source.moved()
    await loaded(source)
    assert (source.status.commit, source.status.failure) == (THREE, None)


async def test_what_may_pass_is_tried_again_and_reported_once() -> None:
    world = World()
    source = await loaded(world.source())
    world.current = commit(TWO)
    for _ in range(3):
        assert await source.moved()
        await source.load()
        source.refused(KtError("unresolved", "The configuration refers to keys that can't be used."))
    assert world.told()[1:] == [("config_source_refused", "2", "unresolved")]
    assert await source.moved()
    await loaded(source)
    assert source.status.failure is None


async def test_a_look_that_fails_says_so_and_one_that_succeeds_takes_it_back() -> None:
    world = World()
    source = await loaded(world.source())
    checked = source.status.checked_at
    world.failure = DOWN
    with pytest.raises(KtError):
        await source.moved()
    status = source.status.as_document()
    assert (status["commit"], status["error"]["code"], status["error"]["commit"]) == (ONE, "unreachable", None)
    assert source.status.checked_at == checked
    assert await refused(source) == "unreachable"
    world.failure = None
    assert not await source.moved()
    assert source.status.failure is None
    assert source.status.checked_at != checked
    assert len(world.reports) == 1


async def test_a_refusal_is_shown_again_after_the_server_was_away() -> None:
    world = World()
    source = await loaded(world.source())
    world.current = commit(TWO, b"bad")
    await refused(source)
    world.failure = DOWN
    with pytest.raises(KtError):
        await source.moved()
    world.failure = None
    assert not await source.moved()
    assert source.status.failure is not None
    assert source.status.failure.error.code == "invalid_config"


# Following


class Gateway:
    """Reloads as the real one does."""

    def __init__(self, source: RepositoryConfig) -> None:
        self.source = source
        self.reloads = 0

    async def reload(self) -> None:
        self.reloads += 1
        try:
            config = await self.source.load()
        except KtError as error:
            self.source.refused(error)
            raise
        self.source.applied(config)


@asynccontextmanager
async def followed(
    world: World, interval_s: float, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[SourceFollower, Gateway, Callable[[Callable[[], bool]], Awaitable[None]]]]:
    monkeypatch.setattr(following, "MIN_GAP_S", 0.001)
    source = await loaded(world.source(world.token()))
    gateway = Gateway(source)
    follower = SourceFollower(gateway, source, interval_s, lambda: 0.5)  # type: ignore[arg-type]
    task = asyncio.create_task(follower.run())

    async def until(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while True:
                if condition():
                    return
                await asyncio.sleep(0.001)

    try:
        yield follower, gateway, until
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_new_commit_is_found_by_looking_and_nothing_is_reloaded_without_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    async with followed(world, 0.005, monkeypatch) as (_, gateway, until):
        await until(lambda: len(world.shown) > 4)
        assert gateway.reloads == 0
        world.current = commit(TWO)
        await until(lambda: gateway.source.status.commit == TWO)
        world.current = commit(THREE, b"bad")
        await until(lambda: gateway.source.status.failure is not None)
        seen = len(world.shown)
        await until(lambda: len(world.shown) > seen + 3)
        assert (gateway.reloads, gateway.source.status.commit) == (2, TWO)


async def test_without_an_interval_it_looks_when_it_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    async with followed(world, 0, monkeypatch) as (follower, gateway, until):
        world.current = commit(TWO)
        await asyncio.sleep(0.05)
        assert gateway.reloads == 0
        follower.look()
        await until(lambda: gateway.source.status.commit == TWO)


async def test_a_new_token_is_tried_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    async with followed(world, 600, monkeypatch) as (follower, _, until):
        seen = len(world.shown)
        listeners = Listeners(follower)
        listeners.missed()
        listeners.changed(Reference(ReferenceKind.STORE, "REPO"))
        await asyncio.sleep(0.02)
        assert len(world.shown) == seen
        listeners.changed(TOKEN)
        await until(lambda: len(world.shown) > seen)


async def test_failures_space_the_looks_out_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    async with followed(world, 60, monkeypatch) as (follower, _, until):
        assert [follower._pause(n) for n in range(6)] == [60, 120, 240, 480, 900, 900]
        world.failure = DOWN
        follower.look()
        seen = len(world.shown)
        await until(lambda: len(world.shown) > seen)
        follower.look()
        await until(lambda: len(world.shown) > seen + 1)
    never = SourceFollower(None, None, 0, lambda: 0.5)  # type: ignore[arg-type]
    assert (never._pause(0), never._pause(1)) == (None, 120)
    rarely = SourceFollower(None, None, 3600, lambda: 0.5)  # type: ignore[arg-type]
    assert rarely._pause(3) == 3600
