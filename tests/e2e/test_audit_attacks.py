"""Whoever can write to the database and the bus changes what was done; an auditor with kept keys sees each change named."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import nats
import orjson
import psycopg
import pytest
from nats.aio.client import Client

from demo.stage import eventually
from libs.common.messaging.identities import read_credentials
from libs.common.subjects import ACCESS, EVENTS
from libs.engines.home import Home
from libs.engines.postgres_server import PostgresServer
from tests.e2e.conftest import System

# ruff: noqa: S608, ISC004 - the statements of an attacker

PLACE = "stream = 1 AND sequence"


class Attacker:
    """Has the superuser's password of the database and the identity that may make streams anew."""

    def __init__(self, system: System, folder: Path) -> None:
        self.system = system
        self.home = Home(system.stage.home)
        self.keys = folder / "keys.txt"
        self.keys.write_text(system.kt("events", "keys"))

    def sql(self, *statements: str) -> list[tuple[Any, ...]]:
        dsn = PostgresServer(self.home.postgres, self.home.path / "unused.log").conninfo(database="keeptrusts")
        with psycopg.connect(dsn, autocommit=True) as admin:
            admin.execute("SET search_path TO audit")
            found: list[tuple[Any, ...]] = []
            for statement in statements:
                cursor = admin.execute(statement.encode())
                found = cursor.fetchall() if cursor.description else []
            return found

    def on_bus(self, work: Callable[[Client], Awaitable[Any]], identity: str = "provisioner") -> Any:
        async def run() -> Any:
            state = json.loads((self.home.path / "state.json").read_text())
            creds = read_credentials(self.home.identities / f"{identity}.creds")
            nc = await nats.connect(state["nats_url"], **creds.connect_options())
            try:
                return await work(nc)
            finally:
                await nc.close()

        return asyncio.run(run())

    def verify(self, *words: str, code: int = 1) -> dict[str, Any]:
        text = self.system.kt("events", "verify", "--key", str(self.keys), *words, "-o", "json", code=code)
        document: dict[str, Any] = json.loads(text)
        assert document["verified"] is (code == 0)
        return document

    def named(self, stream: str = EVENTS) -> set[tuple[str, int, int]]:
        document = self.verify("--stream", stream)
        return {(f["kind"], f["first"], f["last"]) for f in document["streams"][0]["findings"]}

    def repair(self, stream: str = EVENTS, code: int = 0) -> dict[str, str]:
        text = self.system.kt(
            "events", "repair", "--key", str(self.keys), "--stream", stream, "-o", "json", code=code
        )
        return {f["kind"]: f["outcome"] for f in json.loads(text)["streams"][0]["findings"]}


@pytest.fixture(scope="module")
def attacker(system: System, tmp_path_factory: pytest.TempPathFactory) -> Attacker:
    for number in range(12):
        assert system.create(f"VARIABLE_{number}", "a-value-of-some-length").status == 201
    found = Attacker(system, tmp_path_factory.mktemp("auditor"))

    def on_record() -> bool:
        return int(found.sql("SELECT count(*) FROM entries WHERE stream = 1")[0][0]) >= 12

    eventually(on_record, "the log holds what was done")
    covering = system.http("GET", "/v1/events/checkpoint?stream=KT_EVENTS&covering=11")
    assert covering.status == 200
    return found


def test_what_is_whole_verifies_and_one_event_is_proven_offline(attacker: Attacker, tmp_path: Path) -> None:
    kt, keys = attacker.system.kt, str(attacker.keys)
    document = attacker.verify(code=0)
    assert [stream["findings"] for stream in document["streams"]] == [[], []]
    item = json.loads(kt("events", "list", "--filter", "action=create", "--limit", "1", "-o", "json"))["items"][0]
    kt("events", "prove", item["id"], "--out", str(tmp_path / "event.proof"))
    kt("events", "prove", "KT_EVENTS:3", "--out", str(tmp_path / "third.proof"))
    (tmp_path / "older.checkpoint").write_text(kt("events", "checkpoint"))
    said = kt("events", "verify", str(tmp_path / "event.proof"), str(tmp_path / "older.checkpoint"), "--key", keys)
    assert item["id"] in said
    assert "a checkpoint of keeptrusts/" in said
    attacker.system.create("ONE_MORE", "a-value-of-some-length")
    assert "continues" in kt(
        "events", "verify", "--key", keys, "--stream", EVENTS, "--checkpoint", str(tmp_path / "older.checkpoint")
    )
    proof = (tmp_path / "event.proof").read_bytes()
    for damaged in (proof + b"\n", proof[:-1], proof.replace(b"index ", b"index 1")):
        (tmp_path / "damaged.proof").write_bytes(damaged)
        kt("events", "verify", str(tmp_path / "damaged.proof"), "--key", keys, code=1)


def test_a_checkpoint_signed_by_a_stranger_is_refused(attacker: Attacker, tmp_path: Path) -> None:
    note = attacker.system.kt("events", "checkpoint")
    head, signature = note.rsplit(" ", 1)
    (tmp_path / "forged").write_text(f"{head} {signature[:20]}{'A' * 8}{signature[28:]}")
    attacker.system.kt("events", "verify", "--key", str(attacker.keys), str(tmp_path / "forged"), code=1)
    attacker.system.kt(
        "events", "verify", "--key", str(attacker.keys), "--checkpoint", str(tmp_path / "forged"), code=1
    )


ATTACKS = {
    "a row's body": (
        "UPDATE entries SET body = convert_to(replace(convert_from(body, 'UTF8'), 'admin', 'nimda'), 'UTF8')"
        f" WHERE {PLACE} = 4",
        {("row_changed", 4, 4)},
    ),
    "what a row is found by": (
        f"UPDATE entries SET actor = 'somebody', category = 'nothing' WHERE {PLACE} = 5",
        {("columns_changed", 5, 5)},
    ),
    "when a row was recorded": (
        f"UPDATE entries SET recorded_at = recorded_at + interval '1 second' WHERE {PLACE} = 5",
        {("columns_changed", 5, 5)},
    ),
    "rows in the middle": (f"DELETE FROM entries WHERE {PLACE} BETWEEN 6 AND 8", {("row_missing", 6, 8)}),
    "the last rows": (
        f"DELETE FROM entries WHERE {PLACE} > (SELECT max(sequence) - 2 FROM entries WHERE stream = 1)",
        None,
    ),
    "the order of rows": (
        "UPDATE entries e SET body = o.body FROM entries o WHERE e.stream = 1 AND o.stream = 1"
        " AND (e.sequence, o.sequence) IN ((2, 3), (3, 2))",
        {("row_moved", 2, 2), ("row_moved", 3, 3)},
    ),
    "a sequence twice": (
        "INSERT INTO entries SELECT stream, sequence, recorded_at + interval '1 second', event_id, org, type, category,"
        " action, outcome, actor, resource_type, resource_id, gateway, correlation, 'x' FROM entries"
        f" WHERE {PLACE} = 9",
        {("row_duplicated", 9, 9)},
    ),
    "a row behind the end": (
        "INSERT INTO entries SELECT stream, sequence + 1, recorded_at, event_id, org, type, category, action, outcome,"
        " actor, resource_type, resource_id, gateway, correlation, body FROM entries WHERE stream = 1"
        " ORDER BY sequence DESC LIMIT 1",
        None,
    ),
}


@pytest.mark.parametrize("what", ATTACKS)
def test_a_change_of_the_log_is_named_and_repaired_from_the_stream(attacker: Attacker, what: str) -> None:
    statement, expected = ATTACKS[what]
    last = attacker.sql("SELECT max(sequence) FROM entries WHERE stream = 1")[0][0]
    before = attacker.sql("SELECT * FROM entries WHERE stream = 1 ORDER BY sequence")
    attacker.sql(statement)
    wanted = {
        "the last rows": {("row_missing", last - 1, last)},
        "a row behind the end": {("row_added", last + 1, last + 1)},
    }
    assert attacker.named() == (expected or wanted[what])
    assert set(attacker.repair().values()) == {"repaired"}
    attacker.verify(code=0)
    assert attacker.sql("SELECT * FROM entries WHERE stream = 1 ORDER BY sequence") == before
    repairs = attacker.system.http("GET", "/v1/events?filter=action%3Drepair&limit=1").body["items"]
    assert repairs[0]["data"]["detail"]["findings"][0]["outcome"] == "repaired"


def test_a_row_that_is_damaged_gets_no_proof(attacker: Attacker) -> None:
    attacker.sql(f"UPDATE entries SET body = 'x' WHERE {PLACE} = 4")
    assert attacker.system.http("GET", "/v1/events/KT_EVENTS:4/proof").body["code"] in {"log_damaged", "not_found"}
    attacker.repair()
    assert attacker.system.http("GET", "/v1/events/KT_EVENTS:4/proof").status == 200


def test_a_log_written_anew_with_its_tree_does_not_continue_a_kept_checkpoint(
    attacker: Attacker, tmp_path: Path
) -> None:
    """Row, tree and stored checkpoints changed together, as only the owner of everything can."""
    (tmp_path / "kept").write_text(attacker.system.kt("events", "checkpoint"))
    tiles = attacker.sql("SELECT hashes FROM tiles WHERE stream = 1 AND level = 0")[0][0]
    forged = tiles[:96] + bytes(32) + tiles[128:]
    attacker.sql(
        "ALTER TABLE tiles DISABLE TRIGGER tile_only_grows",
        f"UPDATE tiles SET hashes = '\\x{forged.hex()}' WHERE stream = 1 AND level = 0",
        "ALTER TABLE tiles ENABLE TRIGGER tile_only_grows",
    )
    document = attacker.verify("--stream", EVENTS, "--checkpoint", str(tmp_path / "kept"))
    kinds = {f["kind"] for f in document["streams"][0]["findings"]}
    assert kinds & {"history_rewritten", "tree_changed"}
    attacker.sql(
        "ALTER TABLE tiles DISABLE TRIGGER tile_only_grows",
        f"UPDATE tiles SET hashes = '\\x{tiles.hex()}' WHERE stream = 1 AND level = 0",
        "ALTER TABLE tiles ENABLE TRIGGER tile_only_grows",
    )
    attacker.verify("--stream", EVENTS, code=0)


async def api(nc: Client, subject: str, body: Any) -> Any:
    reply = orjson.loads((await nc.request(f"$JS.API.{subject}", orjson.dumps(body), timeout=10)).data)
    assert "error" not in reply, reply
    return reply


def written_anew(
    attacker: Attacker, stream: str, writer: str, change: Callable[[list[Any]], list[Any]], **config: Any
) -> list[Any]:
    """Delete a stream, make it anew and put other messages in; returns those it held."""

    async def take(nc: Client) -> list[Any]:
        info = await api(nc, f"STREAM.INFO.{stream}", {})
        numbers = range(1, info["state"]["last_seq"] + 1)
        gone = config.get("deny_delete") is None and not info["config"]["deny_delete"]
        found = [] if gone else [(await api(nc, f"STREAM.MSG.GET.{stream}", {"seq": n}))["message"] for n in numbers]
        await api(nc, f"STREAM.DELETE.{stream}", {})
        await api(nc, f"STREAM.CREATE.{stream}", {**info["config"], "deny_delete": True, **config})
        return found

    async def put(nc: Client) -> None:
        for message in change(list(held)):
            headers = {"Kt-Type": "x"} if stream == EVENTS else None
            await nc.jetstream().publish(message["subject"], base64.b64decode(message["data"]), headers=headers)

    held = attacker.on_bus(take)
    attacker.on_bus(put, writer)
    return list(held)


def swapped(messages: list[Any]) -> list[Any]:
    messages[1], messages[2] = messages[2], messages[1]
    return messages


def altered(messages: list[Any]) -> list[Any]:
    messages[1] = {**messages[1], "data": base64.b64encode(b"{}").decode()}
    return messages


def test_a_stream_that_was_cut_off_reordered_or_used_again_is_named(attacker: Attacker) -> None:
    for _ in range(3):
        attacker.system.http("GET", "/v1/events?limit=1")
    last = attacker.on_bus(lambda nc: api(nc, f"STREAM.INFO.{ACCESS}", {}))["state"]["last_seq"]

    def on_record() -> bool:
        return bool(attacker.sql("SELECT max(sequence) FROM entries WHERE stream = 2")[0][0] >= last)

    eventually(on_record, "the accesses are on record")
    held = written_anew(attacker, ACCESS, "resolver", lambda messages: messages[:-6])
    named = attacker.named(ACCESS)
    assert {kind for kind, _, _ in named} == {"sequence_reused", "stream_shortened"}
    assert ("stream_shortened", len(held)) in {(kind, to) for kind, _, to in named}
    assert "backup restore" in attacker.repair(ACCESS, code=1)["stream_shortened"]
    written_anew(attacker, ACCESS, "resolver", lambda _: swapped(list(held)))
    assert {("message_moved", 2, 2), ("message_moved", 3, 3)} <= attacker.named(ACCESS)
    written_anew(attacker, ACCESS, "resolver", lambda _: altered(list(held)))
    assert ("sequence_reused", 2, 2) in attacker.named(ACCESS)
    written_anew(attacker, ACCESS, "resolver", lambda _: held, deny_delete=False)
    attacker.on_bus(lambda nc: api(nc, f"STREAM.MSG.DELETE.{ACCESS}", {"seq": 2}))
    assert ("message_missing", 2, 2) in attacker.named(ACCESS)
    written_anew(attacker, ACCESS, "resolver", lambda _: held)
    attacker.verify("--stream", ACCESS, code=0)


@pytest.mark.chaos
def test_events_that_were_cut_off_are_named_and_given_back(attacker: Attacker) -> None:
    last = attacker.on_bus(lambda nc: api(nc, f"STREAM.INFO.{EVENTS}", {}))["state"]["last_seq"]
    signed = attacker.system.http("GET", f"/v1/events/checkpoint?stream={EVENTS}&covering={last - 1}").body
    assert signed["size"] == last
    held = written_anew(attacker, EVENTS, "command", lambda messages: messages[:-3])
    assert attacker.named(EVENTS) == {("stream_shortened", len(held) - 2, len(held))}
    assert attacker.repair(EVENTS) == {"stream_shortened": "repaired"}
    attacker.verify("--stream", EVENTS, code=0)

    def works_again() -> bool:
        return attacker.system.create("AFTERWARDS", "a-value-of-some-length").status in (201, 409)

    eventually(works_again, "the services go on behind the stream's end", 60)
    number = attacker.system.http("GET", "/v1/config-variables/AFTERWARDS").body["version"]
    assert number == 1
