"""Destruction that is real: what a deletion leaves behind anywhere can't give the value back, also with the master key.

Somebody keeps a copy of everything but the sealed store from before the deletion: the streams, the audit log and all
other tables, its export, the home with the master key. The sealed store is there as it is after the deletion.
"""

from __future__ import annotations

import base64
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from demo.stage import Stage, eventually
from libs.backup.archive import ArchiveWriter
from libs.engines.database import DATABASE
from libs.engines.home import Home
from libs.engines.postgres_server import PostgresServer
from tests.e2e.conftest import System
from tests.unit.backup.independent_reader import data_key, members, read_secret, rows

VARIABLES, TOKENS, WEBHOOKS = "/v1/config-variables", "/v1/git-tokens", "/v1/webhooks"
DESTROYED = (("GONE", 1), ("GONE", 2), ("THINNED", 1), ("REPOSITORY", 1), ("HOOK", 1))
KEYRING, VALUES = "sealed-store/keyring.jsonl.gz", "sealed-store/values.jsonl.gz"


def value_of(name: str, version: int) -> str:
    return f"the secret value {version} of {name}"


@dataclass(frozen=True)
class Traces:
    """What must be nowhere: of each destroyed value itself, its ciphertext, its data key, also wrapped."""

    parts: dict[bytes, str]

    @classmethod
    def of(cls, archive: Path, master_key: str, names: dict[str, str]) -> Traces:
        parts: dict[bytes, str] = {}
        index, values = rows(archive, "index"), {row["id"]: row for row in rows(archive, "values")}
        for name, version in DESTROYED:
            place = (names.get(name, name), version)
            (entry,) = [e for e in index if (e["name"], e["version"]) == place]
            row, about = values[entry["sealed_id"]], f"{name} {version}"
            plain = read_secret(str(archive), place[0], master_key, version)
            for what, raw in (
                ("value", plain),
                ("ciphertext", base64.b64decode(row["ciphertext"])),
                ("wrapped data key", base64.b64decode(row["wrapped_data_key"])),
                ("data key", data_key(str(archive), row, master_key)),
            ):
                parts |= dict.fromkeys(forms(raw), f"{what} of {about}")
        return cls(parts)

    def found(self, content: bytes) -> set[str]:
        return {what for form, what in self.parts.items() if form in content}

    def found_below(self, *roots: Path) -> set[str]:
        files = (path for root in roots for path in root.rglob("*") if path.is_file() and not path.is_symlink())
        return {what for path in files for what in self.found(path.read_bytes())}


def forms(raw: bytes) -> set[bytes]:
    """As it is, in hex, and in base64 at each offset."""
    middles = {base64.b64encode(b"\0" * offset + raw)[4 * bool(offset) : -4] for offset in range(3)}
    return {raw, raw.hex().encode(), *middles}


def database(system: System) -> psycopg.Connection[tuple[Any, ...]]:
    home = Home(system.stage.home)
    server = PostgresServer(home.postgres, home.log("postgres"))
    return psycopg.connect(server.conninfo(database=DATABASE), autocommit=True)


def tables(system: System, *schemas: str) -> bytes:
    """Every row of every table."""
    content = bytearray()
    with database(system) as connection:
        query = "SELECT schemaname, tablename FROM pg_tables WHERE schemaname = ANY(%s) ORDER BY 1, 2"
        for names in connection.execute(query, (list(schemas),)).fetchall():
            statement = sql.SQL("COPY (SELECT * FROM {}) TO STDOUT (FORMAT BINARY)").format(sql.Identifier(*names))
            with connection.cursor().copy(statement) as copy:
                content += b"".join(map(bytes, copy))
    return bytes(content)


def history(system: System) -> str:
    """Secrets of every kind. Returns the id of the webhook."""
    for name in ("KEPT", "GONE", "THINNED"):
        assert system.create(name, value_of(name, 1)).status == 201
        assert system.http("POST", f"{VARIABLES}/{name}/rotate", {"value": value_of(name, 2)}).status == 200
    token = {"name": "REPOSITORY", "value": value_of("REPOSITORY", 1)}
    assert system.http("POST", TOKENS, token).status == 201
    webhook = {"url": "https://hooks.example.com/kt", "event_types": ["kt.git_token.updated.v1"]}
    answer = system.http("POST", WEBHOOKS, webhook)
    assert answer.status == 201, answer.body
    assert resolved(system, "GONE") == (200, value_of("GONE", 2))
    return str(answer.body["id"])


def resolved(system: System, name: str) -> tuple[int, str]:
    """Status, and the value or the reason why there is none."""
    answer = system.http("POST", "/v1/machine/resolve", {"references": [name]})
    if answer.status == 200:
        return 200, answer.body["results"][0]["value"]
    return answer.status, json.dumps(answer.body)


def destroy(system: System, webhook: str) -> None:
    for path in (
        f"{VARIABLES}/GONE",
        f"{VARIABLES}/THINNED/versions/1",
        f"{TOKENS}/REPOSITORY",
        f"{WEBHOOKS}/{webhook}",
    ):
        assert system.http("DELETE", path).status == 204
    eventually(lambda: is_destroyed(system), "what was destroyed is gone, and its tables are rewritten", 60)


def is_destroyed(system: System) -> bool:
    with database(system) as connection:
        names = connection.execute("SELECT name FROM keys.sealed_values ORDER BY name").fetchall()
        due = connection.execute("SELECT count(*) FROM keys.scrubs_due").fetchone()
    return (names, due) == ([("KEPT",), ("KEPT",), ("THINNED",)], (0,))


def with_the_sealed_store_of(later: Path, earlier: Path, target: Path) -> None:
    """An archive of the streams of ``earlier`` and the sealed store of ``later``."""
    old, new = members(str(earlier)), members(str(later))
    manifest, other = json.loads(old["manifest.json"]), json.loads(new["manifest.json"])
    manifest["sealed_store"] |= {part: other["sealed_store"][part] for part in ("keys", "values")}
    with target.open("wb") as file:
        writer = ArchiveWriter(file)
        for name, content in old.items():
            if name == "manifest.json":
                for part in manifest["parts"]:
                    part |= {"bytes": writer.sizes[part["member"]], "sha256": writer.sums[part["member"]]}
                writer.small(name, json.dumps(manifest).encode())
            elif name != "SHA256SUMS":
                writer.small(name, new[name] if name in (KEYRING, VALUES) else content)
        writer.finish()


@pytest.mark.chaos
@pytest.mark.timeout(300)
def test_nothing_but_an_older_sealed_store_gives_a_destroyed_value_back(own_system: System, tmp_path: Path) -> None:
    system = own_system
    master_key = (system.stage.home / "master.key").read_text()
    names = {"HOOK": history(system)}
    before, after, mixed = tmp_path / "before.tar", tmp_path / "after.tar", tmp_path / "mixed.tar"

    system.kt("backup", "create", str(before))
    kept = tmp_path / "kept"
    shutil.copytree(system.stage.home, kept, ignore=shutil.ignore_patterns("postgres", "*.sock"))
    (kept / "export.json").write_text(system.kt("events", "list", "--limit", "1000", "--output", "json"))
    (kept / "tables").write_bytes(tables(system, "resolver", "audit", "webhooks"))
    traces = Traces.of(before, master_key, names)
    everything = (
        set(traces.parts.values())
        - {f"value of {n} {v}" for n, v in DESTROYED}
        - {f"data key of {n} {v}" for n, v in DESTROYED}
    )
    assert traces.found(tables(system, "keys")) == everything, "the search finds what is there"

    destroy(system, names["HOOK"])
    system.kt("backup", "create", str(after))
    assert resolved(system, "GONE")[0] in (404, 409)
    assert system.http("POST", f"{VARIABLES}/THINNED/rollback", {"version": 1}).status == 404
    assert traces.found(tables(system, "keys", "resolver", "audit", "webhooks")) == set()
    system.stage.close()
    data = system.stage.home / "postgres" / "data"
    assert traces.found_below(*(path for path in data.iterdir() if path.name != "pg_wal")) == set()
    unpacked = b"".join(json.dumps(rows(after, part)).encode() for part in ("index", "keyring", "values"))
    assert traces.found(unpacked) == set()
    assert traces.found_below(kept) == set()

    with_the_sealed_store_of(after, before, mixed)
    for name, version in DESTROYED:
        with pytest.raises(StopIteration):
            read_secret(str(mixed), names.get(name, name), master_key, version)
    assert read_secret(str(mixed), "KEPT", master_key, 1) == value_of("KEPT", 1).encode()
    restored_with_all_that_was_kept(system, mixed, kept, tmp_path)


def restored_with_all_that_was_kept(system: System, mixed: Path, kept: Path, folder: Path) -> None:
    """A whole system, made of the copies."""
    system.kt("backup", "restore", str(mixed), "--into", str(folder / "again"))
    stage = Stage(folder / "again")
    for file in ("master.key", "jwt.keys", "admin.token"):
        shutil.copy(kept / file, stage.home / file)
    try:
        url = stage.start("up", until="ready ").split()[1]
        again = System(stage, url, (stage.home / "admin.token").read_text().strip())
        assert resolved(again, "KEPT") == (200, value_of("KEPT", 2))
        status, why = resolved(again, "GONE")
        assert (status, "undecryptable" in why) == (409, True), why
        assert again.http("POST", f"{VARIABLES}/THINNED/rollback", {"version": 1}).status >= 400
    finally:
        stage.close()
