"""What sealing, opening and sweeping do, on any store."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta

import pytest

from libs.common.errors import KtError
from libs.common.hpke import BoxPrivateKey
from services.keys.application.destruction import SWEEP_AGE, Sweeper
from services.keys.application.opening import MAX_ITEMS, OpenItem, SealedReference
from services.keys.application.sealing import Sealed
from services.keys.domain.keyring import SYSTEM_WIDE, Purpose
from services.keys.domain.sealed import Binding
from tests.unit.keys.support import KIND, NAME, FixedClock, Instance, Stores, flipped, master, start

MASTER = master(1)


def new_id() -> str:
    return str(uuid.uuid4())


def binding(sealed_id: str, name: str = "OPENAI_API_KEY") -> Binding:
    return Binding.checked("default", KIND, name, sealed_id)


@pytest.fixture
async def instance(stores: Stores) -> Instance:
    return await start(stores, MASTER)


class SealingValues:
    @pytest.mark.parametrize("value", [b"x", b"sk-proj-1234", b"\x00\xff\n", b"v" * 65_536])
    async def test_what_was_sealed_opens_for_its_recipient(self, instance: Instance, value: bytes) -> None:
        sealed = await instance.seal(value)
        assert sealed.outcome == "sealed"
        assert await instance.open(sealed) == ({sealed.id: value}, {})

    async def test_repeating_a_request_finds_its_first_outcome(self, instance: Instance) -> None:
        first = await instance.seal(b"value")
        again = await instance.seal(b"value", sealed_id=first.id)
        assert (again.outcome, again.digest, again.key_id) == ("same", first.digest, first.key_id)

    async def test_many_repetitions_at_once_seal_once(self, instance: Instance) -> None:
        sealed_id = new_id()
        outcomes = await asyncio.gather(*(instance.seal(b"value", sealed_id=sealed_id) for _ in range(12)))
        assert sorted(o.outcome for o in outcomes) == ["same"] * 11 + ["sealed"]
        assert len({o.digest for o in outcomes}) == 1

    async def test_another_value_under_a_taken_id_is_refused_and_the_first_stays(self, instance: Instance) -> None:
        first = await instance.seal(b"value")
        with pytest.raises(KtError) as refused:
            await instance.seal(b"a-different-one", sealed_id=first.id)
        assert refused.value.code == "idempotency_mismatch"
        assert "a-different-one" not in str(refused.value)
        assert (await instance.open(first))[0] == {first.id: b"value"}

    @pytest.mark.parametrize("place", [{"name": "OTHER"}, {"org": "acme"}])
    async def test_a_taken_id_in_another_place_is_refused(self, instance: Instance, place: dict[str, str]) -> None:
        first = await instance.seal(b"value")
        with pytest.raises(KtError) as refused:
            await instance.seal(b"value", sealed_id=first.id, **place)
        assert refused.value.code == "idempotency_mismatch"

    async def test_a_taken_id_whose_value_is_damaged_is_refused_as_undecryptable(
        self, instance: Instance, stores: Stores
    ) -> None:
        first = await instance.seal(b"value")
        stored = (await stores.sealed.fetch([first.id]))[first.id]
        await stores.tamper.value(first.id, ciphertext=flipped(stored.ciphertext))
        with pytest.raises(KtError) as refused:
            await instance.seal(b"value", sealed_id=first.id)
        assert refused.value.code == "undecryptable"

    @pytest.mark.parametrize("value", [b"", b"v" * 65_537])
    async def test_an_empty_or_oversized_value_is_refused_and_not_stored(
        self, instance: Instance, stores: Stores, value: bytes
    ) -> None:
        sealed_id = new_id()
        with pytest.raises(KtError) as refused:
            await instance.seal(value, sealed_id=sealed_id)
        assert refused.value.code == "invalid_value"
        assert not await stores.sealed.fetch([sealed_id])

    async def test_a_box_made_for_another_place_does_not_open(self, instance: Instance, stores: Stores) -> None:
        sealed_id = new_id()
        with pytest.raises(KtError) as refused:
            await instance.sealing.seal(binding(sealed_id), *await instance.box(b"value", name="OTHER"))
        assert refused.value.code == "undecryptable"
        assert not await stores.sealed.fetch([sealed_id])

    @pytest.mark.parametrize("box", [b"", b"x", b"x" * 2000])
    async def test_a_broken_box_does_not_open(self, instance: Instance, box: bytes) -> None:
        with pytest.raises(KtError) as refused:
            await instance.sealing.seal(binding(new_id()), (await instance.keyring.transport()).id, box)
        assert refused.value.code == "undecryptable"

    async def test_a_box_for_another_instance_s_newer_transport_key_opens(
        self, instance: Instance, stores: Stores
    ) -> None:
        async with stores.keyring.writing() as keyring:
            old_id, old_box = await instance.box(b"old")
            await keyring.retire(old_id, instance.forge.clock.now())
            replacement = instance.forge.new_key(SYSTEM_WIDE, Purpose.TRANSPORT)
            await keyring.add(replacement.entry)
        newer = await (await start(stores, MASTER)).box(b"new")
        assert newer[0] == replacement.entry.id
        for box in (newer, (old_id, old_box)):
            assert (await instance.sealing.seal(binding(new_id()), *box)).outcome == "sealed"

    async def test_a_transport_key_that_does_not_exist_is_refused(self, instance: Instance) -> None:
        with pytest.raises(KtError, match="transport key") as refused:
            await instance.sealing.seal(binding(new_id()), new_id(), b"box")
        assert refused.value.code == "undecryptable"


class SealingAnew:
    async def reseal(self, instance: Instance, source: Sealed, name: str = "OPENAI_API_KEY") -> Sealed:
        return await instance.sealing.reseal(SealedReference(source.id, source.digest), binding(new_id(), name))

    async def test_an_older_value_is_sealed_anew_under_its_own_data_key(
        self, instance: Instance, stores: Stores
    ) -> None:
        old = await instance.seal(b"value")
        new = await self.reseal(instance, old)
        assert (new.outcome, new.digest != old.digest) == ("sealed", True)
        assert (await instance.open(old, new))[0] == {old.id: b"value", new.id: b"value"}

    async def test_repeating_the_request_finds_its_first_outcome(self, instance: Instance) -> None:
        old, to = await instance.seal(b"value"), binding(new_id())
        first = await instance.sealing.reseal(SealedReference(old.id, old.digest), to)
        again = await instance.sealing.reseal(SealedReference(old.id, old.digest), to)
        assert (again.outcome, again.digest) == ("same", first.digest)

    async def test_a_value_that_is_gone_can_not_be_sealed_anew(self, instance: Instance) -> None:
        with pytest.raises(KtError) as refused:
            await self.reseal(instance, Sealed(new_id(), "0" * 64, "", "sealed"))
        assert refused.value.code == "undecryptable"

    async def test_the_value_of_another_name_can_not_be_taken(self, instance: Instance) -> None:
        old = await instance.seal(b"value", name="OTHER")
        with pytest.raises(KtError) as refused:
            await self.reseal(instance, old)
        assert refused.value.code == "undecryptable"


class OpeningValues:
    async def test_many_are_opened_in_one_box(self, instance: Instance) -> None:
        sealed = [await instance.seal(f"value-{n}".encode(), name=f"KEY_{n}") for n in range(20)]
        values, failed = await instance.open(*sealed)
        assert values == {s.id: f"value-{n}".encode() for n, s in enumerate(sealed)}
        assert failed == {}

    @pytest.mark.parametrize("part", ["ciphertext", "wrapped_data_key"])
    @pytest.mark.parametrize("change", ["flip", "cut", "empty"])
    async def test_a_tampered_row_is_named_and_does_not_keep_the_others_back(
        self, instance: Instance, stores: Stores, part: str, change: str
    ) -> None:
        good, bad = await instance.seal(b"good"), await instance.seal(b"bad")
        raw = getattr((await stores.sealed.fetch([bad.id]))[bad.id], part)
        changed = {"flip": flipped(raw, 20), "cut": raw[:-1], "empty": b""}[change]
        await stores.tamper.value(bad.id, **{part: changed})
        assert await instance.open(bad, good) == ({good.id: b"good"}, {bad.id: "undecryptable"})

    async def test_rows_with_swapped_contents_are_refused(self, instance: Instance, stores: Stores) -> None:
        one, other = await instance.seal(b"one"), await instance.seal(b"other")
        rows = await stores.sealed.fetch([one.id, other.id])
        for to, source in ((one, other), (other, one)):
            row = rows[source.id]
            await stores.tamper.value(to.id, ciphertext=row.ciphertext, wrapped_data_key=row.wrapped_data_key)
        assert await instance.open(one, other) == ({}, {one.id: "undecryptable", other.id: "undecryptable"})

    @pytest.mark.parametrize("place", [{"org": "acme"}, {"name": "OTHER"}, {"kind": "git_token"}])
    async def test_a_row_moved_to_another_place_is_refused(
        self, instance: Instance, stores: Stores, place: dict[str, str]
    ) -> None:
        sealed = await instance.seal(b"value")
        await stores.tamper.value(sealed.id, **place)
        assert await instance.open(sealed) == ({}, {sealed.id: "undecryptable"})

    async def test_a_row_rolled_back_under_its_id_is_refused_by_the_digest(
        self, instance: Instance, stores: Stores
    ) -> None:
        old = await instance.seal(b"old")
        row = (await stores.sealed.fetch([old.id]))[old.id]
        other = await instance.forge_value(old.id, b"new")
        await stores.tamper.value(old.id, ciphertext=other.ciphertext, wrapped_data_key=other.wrapped_data_key)
        new = Sealed(old.id, other.digest, old.key_id, "sealed")
        assert (await instance.open(new))[0] == {old.id: b"new"}
        await stores.tamper.value(old.id, ciphertext=row.ciphertext, wrapped_data_key=row.wrapped_data_key)
        assert await instance.open(new) == ({}, {old.id: "undecryptable"})

    async def test_another_org_s_value_is_refused(self, instance: Instance) -> None:
        sealed = await instance.seal(b"value", org="acme")
        assert await instance.open(sealed, org="default") == ({}, {sealed.id: "undecryptable"})

    async def test_a_value_asked_for_under_another_name_is_refused(self, instance: Instance) -> None:
        sealed = await instance.seal(b"value", name="ANTHROPIC_API_KEY")
        assert await instance.open(sealed, name=NAME) == ({}, {sealed.id: "undecryptable"})
        assert await instance.open(sealed, name="ANTHROPIC_API_KEY") == ({sealed.id: b"value"}, {})

    @pytest.mark.parametrize(
        "sealed_id",
        ["", "not-a-uuid", "{00000000-0000-0000-0000-000000000000}", "2d92e3e0-6514-41c7-b5f1-4f493af66973"],
    )
    async def test_an_id_that_does_not_exist_is_named(self, instance: Instance, sealed_id: str) -> None:
        good = await instance.seal(b"good")
        missing = Sealed(sealed_id, "0" * 64, "", "sealed")
        assert await instance.open(good, missing) == ({good.id: b"good"}, {sealed_id: "undecryptable"})

    @pytest.mark.parametrize("digest", ["", "ä", "0" * 64])
    async def test_a_wrong_digest_is_named(self, instance: Instance, digest: str) -> None:
        sealed = await instance.seal(b"value")
        wrong = Sealed(sealed.id, digest, sealed.key_id, "sealed")
        assert await instance.open(wrong) == ({}, {sealed.id: "undecryptable"})

    async def test_a_box_opens_in_its_context_only(self, instance: Instance) -> None:
        sealed, recipient = await instance.seal(b"value"), BoxPrivateKey.generate()
        item = OpenItem("KEY", KIND, NAME, SealedReference(sealed.id, sealed.digest))
        opened = await instance.opening.open("default", [item], recipient.public, b"one context")
        assert opened.box is not None
        with pytest.raises(KtError):
            recipient.open(opened.box, b"another context")

    async def test_a_mebibyte_fits_a_box_and_more_is_refused_with_how_to_ask(self, instance: Instance) -> None:
        sealed = [await instance.seal(b"v" * 65_536) for _ in range(16)]
        assert len((await instance.open(*sealed))[0]) == 16
        with pytest.raises(KtError, match="Split") as refused:
            await instance.open(*sealed, await instance.seal(b"v"))
        assert refused.value.code == "invalid_request"

    async def test_one_value_asked_for_under_many_references_counts_as_often(self, instance: Instance) -> None:
        sealed = await instance.seal(b"v" * 65_536)
        reference = SealedReference(sealed.id, sealed.digest)
        items = [OpenItem(str(number), KIND, NAME, reference) for number in range(17)]
        with pytest.raises(KtError, match="Split"):
            await instance.opening.open("default", items, BoxPrivateKey.generate().public, b"")

    async def test_too_many_or_repeated_references_are_refused(self, instance: Instance) -> None:
        item = OpenItem("KEY", KIND, NAME, SealedReference(new_id(), "0" * 64))
        recipient = BoxPrivateKey.generate().public
        many = [OpenItem(str(n), KIND, item.name, item.sealed) for n in range(MAX_ITEMS + 1)]
        for items in ([item, item], many):
            with pytest.raises(KtError) as refused:
                await instance.opening.open("default", items, recipient, b"")
            assert refused.value.code == "invalid_request"

    async def test_failures_are_logged_by_sealed_id(
        self, instance: Instance, caplog: pytest.LogCaptureFixture
    ) -> None:
        sealed_id = new_id()
        await instance.open(Sealed(sealed_id, "0" * 64, "", "sealed"))
        records = [r for r in caplog.records if r.getMessage() == "sealed_value.undecryptable"]
        assert [vars(r)["sealed_id"] for r in records] == [sealed_id]


class Sweeping:
    async def test_only_old_values_without_an_event_are_swept(self, stores: Stores) -> None:
        clock = FixedClock()
        instance = await start(stores, MASTER, clock=clock)
        used, orphan = await instance.seal(b"used"), await instance.seal(b"orphan")
        retried = await instance.seal(b"retried")
        await stores.tamper.refer(binding(used.id), 1)
        clock.advance(SWEEP_AGE)
        young = await instance.seal(b"young")
        await instance.seal(b"retried", sealed_id=retried.id)
        clock.advance(timedelta(seconds=1))
        assert await self.sweeper(stores, clock).sweep() == 1
        left = await stores.sealed.fetch([used.id, orphan.id, young.id, retried.id])
        assert set(left) == {used.id, young.id, retried.id}

    async def test_a_reference_from_another_place_does_not_keep_a_value(self, stores: Stores) -> None:
        clock = FixedClock()
        orphan = await (await start(stores, MASTER, clock=clock)).seal(b"orphan")
        await stores.tamper.refer(binding(orphan.id, "OTHER"), 1)
        clock.advance(SWEEP_AGE * 2)
        assert await self.sweeper(stores, clock).sweep() == 1

    async def test_nothing_is_swept_while_events_may_be_missing(self, stores: Stores) -> None:
        clock = FixedClock()
        await (await start(stores, MASTER, clock=clock)).seal(b"orphan")
        clock.advance(SWEEP_AGE * 2)
        assert await self.sweeper(stores, clock, caught_up=False).sweep() == 0
        assert await self.sweeper(stores, clock).sweep() == 1

    def sweeper(self, stores: Stores, clock: FixedClock, *, caught_up: bool = True) -> Sweeper:
        async def is_caught_up() -> bool:
            return caught_up

        return Sweeper(stores.sealed, clock, is_caught_up)
