"""The keys of access tokens in a running process: replaced as a whole or not at all, and each change on record."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from libs.common.auth.token_keys import TokenKeys
from libs.common.auth.tokens import TokenVerifier
from libs.common.errors import KtError
from libs.common.ids import Uuid7Factory
from libs.common.protocol.command import SIGNING_KEYS, Recorded
from libs.common.secret import Secret
from services.api.application import signing_keys
from services.api.application.authentication import Authentication
from services.api.application.signing_keys import KeyChanges, SigningKeys
from services.api.settings import JWT_KEYS, token_keys_from_environment, token_keys_read_again
from tests.engines import eventually
from tests.unit.api.system import FakeBus, FixedClock, System
from tests.unit.api.test_authentication import NothingRevoked, claims

ONE, TWO, THREE = (Secret(letter * 32) for letter in (b"1", b"2", b"3"))
SECRET = "q8Zt-mWc5yRb2xNe7uJf4sLd9gPh1oTa6iVkK3v0Q_s"


@asynccontextmanager
async def following(keys: SigningKeys) -> AsyncIterator[None]:
    task = asyncio.create_task(keys.follow())
    try:
        yield
    finally:
        task.cancel()


def changing(*sets: TokenKeys | KtError) -> SigningKeys:
    """The first set is in force; each reading gives the next one."""
    first, *waiting = sets
    assert isinstance(first, TokenKeys)

    def read() -> TokenKeys:
        found = waiting.pop(0)
        if isinstance(found, KtError):
            raise found
        return found

    return SigningKeys(first, read, FixedClock())


async def test_a_new_set_is_in_force_once_it_was_asked_for() -> None:
    keys = changing(TokenKeys({"k1": ONE}), TokenKeys({"k1": ONE, "k2": TWO}), TokenKeys({"k2": TWO}))
    told: list[tuple[str, ...]] = []
    keys.changed = told.append
    async with following(keys):
        for expected in (("k1", "k2"), ("k2",)):
            keys.ask()
            await eventually(lambda expected=expected: keys.status.kids == expected)
    assert told == [("k1",), ("k1", "k2")]
    assert (keys.status.current, keys.status.refused) == ("k2", None)


async def test_keys_that_can_not_be_used_change_nothing_and_are_told_until_others_can(
    caplog: pytest.LogCaptureFixture,
) -> None:
    wrong = KtError("misconfigured", "The file can't be used: entry 2 repeats a key id.", "Make another.")
    before = TokenKeys({"k1": ONE})
    keys = changing(before, wrong, TokenKeys({"k1": ONE, "k2": TWO}))
    async with following(keys):
        keys.ask()
        await eventually(lambda: keys.status.refused)
        assert keys.keys is before
        assert keys.status.refused is not None
        assert keys.status.refused.detail == "The file can't be used: entry 2 repeats a key id. Make another."
        assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
            "signing_keys.refused"
        ]
        keys.ask()
        await eventually(lambda: keys.status.current == "k2")
    assert keys.status.refused is None


async def test_a_key_id_keeps_its_secret() -> None:
    keys = changing(TokenKeys({"k1": ONE}), TokenKeys({"k1": TWO}))
    async with following(keys):
        keys.ask()
        await eventually(lambda: keys.status.refused)
    assert keys.status.refused is not None
    assert "stands for another secret" in keys.status.refused.detail


async def test_a_token_that_was_accepted_is_refused_once_its_key_is_gone() -> None:
    old = TokenKeys({"k1": ONE})
    keys = changing(old, TokenKeys({"k1": ONE, "k2": TWO}), TokenKeys({"k2": TWO}))
    authentication = Authentication(TokenVerifier(lambda: keys.keys, FixedClock()), NothingRevoked())
    keys.changed = lambda _: authentication.forget()
    token = old.sign(claims())
    async with following(keys):
        for expected in (("k1", "k2"), ("k2",)):
            assert authentication.verify(token).subject == "alice"
            keys.ask()
            await eventually(lambda expected=expected: keys.status.kids == expected)
        with pytest.raises(KtError) as caught:
            authentication.verify(token)
    assert caught.value.extra == {"reason": "unknown_key"}


def test_keys_given_as_a_value_can_not_be_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(JWT_KEYS, f"k1:{SECRET}")
    assert token_keys_from_environment().kids == ("k1",)
    with pytest.raises(KtError, match="given as a value"):
        token_keys_read_again()


def test_keys_from_a_file_are_read_anew_and_errors_name_the_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "jwt.keys"
    monkeypatch.delenv(JWT_KEYS, raising=False)
    monkeypatch.setenv(f"{JWT_KEYS}_FILE", str(file))
    file.write_text(f"k1:{SECRET}\n")
    assert token_keys_from_environment().kids == token_keys_read_again().kids == ("k1",)
    for content, said in ((f'k1:"{SECRET}"', "entry 1 has quotes"), ("", "is empty"), (None, "can't be read")):
        file.unlink() if content is None else file.write_text(content)
        with pytest.raises(KtError) as caught:
            token_keys_read_again()
        assert caught.value.detail.startswith(f"The file named by {JWT_KEYS}_FILE")
        assert said in caught.value.detail
        assert SECRET not in str(caught.value)


async def test_readiness_names_the_key_ids_and_a_change_that_was_refused(system: System) -> None:
    from tests.unit.api.test_records import all_ready  # noqa: PLC0415

    all_ready(system)
    keys = {"current": "new", "kids": ["old", "new"], "read_at": "2026-11-23T07:39:03.000000Z", "refused": None}
    answer = await system.ask("GET", "/readyz", token="")
    assert (answer.status, answer.json()["signing_keys"]) == (200, keys)
    del system.bus.answers["kt.health.v1.keys"]
    system.elapsed += 1
    assert (await system.ask("GET", "/readyz", token="")).json()["signing_keys"] == keys


async def sent(changes: KeyChanges, done: Callable[[], bool]) -> None:
    task = asyncio.create_task(changes.send())
    try:
        await eventually(done)
    finally:
        task.cancel()


async def test_every_set_goes_on_record_in_order_also_when_nobody_answers_at_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(signing_keys, "FIRST_RETRY_S", 0.01)
    bus = FakeBus()
    changes = KeyChanges(bus, Uuid7Factory(), ("k1",))
    changes.add(("k1",), ("k1", "k2"))
    bus.on(SIGNING_KEYS, lambda _: Recorded(sequence=1))
    bus.fails(SIGNING_KEYS, KtError("unavailable", "Not yet."), KtError("unavailable", "Not yet."))

    await sent(changes, lambda: len(bus.requests(SIGNING_KEYS)) == 4)

    told = [(r.before, r.kids) for r in bus.requests(SIGNING_KEYS)]
    assert told == [((), ("k1",))] * 3 + [(("k1",), ("k1", "k2"))]
    assert {(r.caller.org, r.caller.actor_type, r.caller.actor_id) for r in bus.requests(SIGNING_KEYS)} == {
        ("default", "service", "api")
    }
