"""Rows of the earlier system, read where they lie and taken over by the first change."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from demo.__main__ import CHAT, CONFIG
from demo.provider import Provider
from demo.stage import call, eventually
from tests.e2e.conftest import System, running
from tests.engines import PostgresEngine

VARIABLES = "/v1/config-variables"
TABLE = """
CREATE TABLE config_variables (name text, value text, description text, sensitive boolean)
"""
ROWS = [
    ("AMBER", "plain-amber-1", "first", True),
    ("BERYL", "plain-beryl-1", "second", False),
    ("CORAL", "plain-coral-1", "", True),
    ("DIAMOND", "plain-diamond-1", None, None),
    ("a/slash", "plain-slash", "", True),
    ("EMPTY", "", "", True),
    ("TWICE", "plain-twice-1", "", True),
    ("TWICE", "plain-twice-2", "", True),
]


@dataclass
class Old:
    """The earlier system's database, and the system that reads it."""

    system: System
    dsn: str

    def names(self) -> set[str]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            return {row[0] for row in connection.execute("SELECT name FROM config_variables").fetchall()}

    def execute(self, statement: str, *values: object) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(statement, values)

    def resolved(self, *names: str) -> dict[str, tuple[str, int]]:
        answer = self.system.http("POST", "/v1/machine/resolve", {"references": list(names)})
        assert answer.status == 200, answer.body
        return {r["reference"]: (r["value"], r["version"]) for r in answer.body["results"]}

    def are_gone(self, *names: str) -> bool:
        """Deleted, and nothing is left to be done about it."""
        left = self.system.http("GET", "/v1/legacy-rows")
        return not self.names() & set(names) and left.status == 200 and left.body["waiting"] == 0

    def listed(self, query: str = "") -> list[tuple[str, bool]]:
        items, cursor = [], ""
        while True:
            page = self.system.http("GET", f"{VARIABLES}?limit=2{query}&cursor={cursor}").body
            items += [(item["name"], item["legacy"]) for item in page["items"]]
            if not page["next_cursor"]:
                return items
            cursor = page["next_cursor"]


@pytest.fixture(scope="module")
def old(postgres_server: PostgresEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Old]:
    with postgres_server.database() as database:
        with psycopg.connect(database.admin_dsn, autocommit=True) as connection:
            connection.execute(TABLE)
            insert = "INSERT INTO config_variables VALUES (%s, %s, %s, %s)"
            connection.cursor().executemany(insert, ROWS)
        folder: Path = tmp_path_factory.mktemp("legacy")
        for system in running(folder, KEEPTRUSTS_LEGACY_POSTGRES_DSN=database.admin_dsn):
            yield Old(system, database.admin_dsn)


def test_older_rows_are_used_where_they_lie_until_they_are_changed(old: Old) -> None:
    system = old.system
    assert system.create("BASALT", "sealed-1").status == 201
    assert old.listed() == [
        ("AMBER", True),
        ("BASALT", False),
        ("BERYL", True),
        ("CORAL", True),
        ("DIAMOND", True),
    ]
    assert old.listed("&prefix=B") == [("BASALT", False), ("BERYL", True)]
    amber, beryl = (system.http("GET", f"{VARIABLES}/{name}").body for name in ("AMBER", "BERYL"))
    assert (amber["legacy"], amber["value"], amber["version"]) == (True, "********", 0)
    assert (beryl["legacy"], beryl["value"], beryl["description"]) == (True, "plain-beryl-1", "second")
    assert system.http("GET", f"{VARIABLES}/AMBER/history").body == {"items": []}
    assert old.resolved("AMBER", "BASALT") == {"AMBER": ("plain-amber-1", 0), "BASALT": ("sealed-1", 1)}
    assert system.create("AMBER", "another").body["code"] == "already_exists"
    assert old.names() == {name for name, *_ in ROWS}

    described = system.http("PATCH", f"{VARIABLES}/AMBER", {"description": "changed"}).body
    assert (described["legacy"], described["version"], described["description"]) == (False, 1, "changed")
    assert system.http("POST", f"{VARIABLES}/BERYL/rotate", {"value": "sealed-2"}).body["version"] == 2
    assert system.http("DELETE", f"{VARIABLES}/CORAL").status == 204
    taken = system.http("POST", f"{VARIABLES}/DIAMOND/take-over").body
    assert (taken["legacy"], taken["sensitive"], taken["description"]) == (False, True, "")
    eventually(
        lambda: old.are_gone("AMBER", "BERYL", "CORAL", "DIAMOND"), "rows that were taken over are deleted", 30
    )
    assert old.names() == {"a/slash", "EMPTY", "TWICE"}

    assert old.resolved("AMBER", "BERYL", "DIAMOND") == {
        "AMBER": ("plain-amber-1", 1),
        "BERYL": ("sealed-2", 2),
        "DIAMOND": ("plain-diamond-1", 1),
    }
    back = system.http("POST", f"{VARIABLES}/BERYL/rollback", {"version": 1}).body
    assert (back["version"], old.resolved("BERYL")["BERYL"][0]) == (3, "plain-beryl-1")
    assert [i["action"] for i in system.http("GET", f"{VARIABLES}/BERYL/history").body["items"]] == [
        "take_over",
        "rotate",
        "roll_back",
    ]
    old.execute("INSERT INTO config_variables VALUES ('CORAL', 'plain-coral-2', '', true)")
    assert system.http("GET", f"{VARIABLES}/CORAL").status == 404
    assert old.listed() == [("AMBER", False), ("BASALT", False), ("BERYL", False), ("DIAMOND", False)]
    left = system.http("GET", "/v1/legacy-rows").body
    assert (left["usable_rows"], left["unusable_rows"], left["waiting"]) == (1, 4, 0)
    assert [row["name"] for row in left["unusable"]] == ["EMPTY", "TWICE", "TWICE", "a/slash"]

    def on_record() -> list[str]:
        listed = json.loads(system.kt("events", "list", "--filter", "resource=AMBER", "--output", "json"))["items"]
        return [event["type"].split(".")[2] for event in listed][::-1]

    expected = ["legacy_resolved", "taken_over", "updated", "resolved"]
    eventually(lambda: on_record() == expected, "everything about it is on record, in order", 30)


def counts(printed: str) -> dict[str, int]:
    found: dict[str, int] = json.loads(printed)["counts"]
    return found


def test_rows_are_imported_from_files_and_tables_once_through_the_api(old: Old, tmp_path: Path) -> None:
    system = old.system
    csv_file = tmp_path / "keys.csv"
    csv_file.write_text('name,value,description,sensitive\nIMP.CSV,"line 1\nline 2",from a file,no\nIMP/BAD,x,,\n')
    assert counts(system.kt("legacy", "import", str(csv_file), "--dry-run", "-o", "json", code=1)) == {
        "to create": 1,
        "failed": 1,
    }
    for ending in ("created", "unchanged"):
        printed = system.kt("legacy", "import", str(csv_file), "-o", "json", code=1)
        assert counts(printed) == {ending: 1, "failed": 1}
    shown = system.http("GET", f"{VARIABLES}/IMP.CSV").body
    assert (shown["value"], shown["description"]) == ("line 1\nline 2", "from a file")

    def dotenv(text: str, policy: str, code: int = 0) -> dict[str, int]:
        words = ("legacy", "import", "-", "--format", "dotenv", "--on-conflict", policy, "-o", "json")
        return counts(system.kt(*words, stdin=text, code=code))

    assert dotenv("export IMP_ENV='plain $1'", "fail") == {"created": 1}
    assert dotenv("IMP_ENV=plain-2", "fail", code=1) == {"failed": 1}
    assert [dotenv("IMP_ENV=plain-2", "rotate") for _ in range(2)] == [{"rotated": 1}, {"unchanged": 1}]
    assert old.resolved("IMP_ENV") == {"IMP_ENV": ("plain-2", 2)}

    old.execute("CREATE TABLE imported (name text, value bytea, description text, sensitive boolean)")
    old.execute("INSERT INTO imported VALUES ('IMP_TABLE', 'plain-3', 'd', false), ('IMP_NULL', NULL, '', true)")
    address = tmp_path / "database-url"
    address.write_text(f"{old.dsn}\n")
    words = ("legacy", "import", str(address), "--format", "postgresql", "--table", "imported")
    assert counts(system.kt(*words, "-o", "json", code=1)) == {"created": 1, "failed": 1}
    assert system.http("GET", f"{VARIABLES}/IMP_TABLE").body["value"] == "plain-3"
    failed = json.loads(system.kt(*words, "-o", "json", code=1))["items"][0]
    assert (failed["place"], failed["name"], failed["code"]) == ("row 1", "IMP_NULL", "invalid_request")


def test_what_is_left_is_counted_and_taken_over_on_demand(old: Old) -> None:
    for number in range(5):
        row = (f"LEFT_{number}", f"plain-left-{number}", "", True)
        old.execute("INSERT INTO config_variables VALUES (%s, %s, %s, %s)", *row)
    assert json.loads(old.system.kt("legacy", "status", "-o", "json"))["left"] == 5
    assert "5 plaintext rows are left" in old.system.kt("doctor")
    assert "LEFT_0" in old.system.kt("vars", "list", "--legacy")
    assert counts(old.system.kt("legacy", "migrate", "LEFT_0", "--yes", "-o", "json")) == {"taken over": 1}
    assert counts(old.system.kt("legacy", "migrate", "--all", "--yes", "-o", "json")) == {"taken over": 4}
    eventually(lambda: old.are_gone(*(f"LEFT_{number}" for number in range(5))), "the rows are deleted", 30)
    assert old.resolved("LEFT_3") == {"LEFT_3": ("plain-left-3", 1)}


def test_a_gateway_serves_with_a_row_and_goes_on_when_it_is_taken_over(old: Old) -> None:
    provider = Provider("gateway-key-1", "gateway-key-2")
    old.execute("INSERT INTO config_variables VALUES ('GATEWAY_KEY', 'gateway-key-1', '', true)")
    config = old.system.stage.home.parent / "policy-config.yaml"
    config.write_text(CONFIG.format(url=provider.url, store="GATEWAY_KEY"))
    started = old.system.stage.start(
        "gateway", "run", "--listen", "127.0.0.1:0", "--policy-config", str(config), until="ready "
    )
    gateway = started.split()[1]
    client = old.system.kt("token", "issue", "--role", "client", "--name", "c1", "--ttl", "1h").strip()
    target = f"{gateway}/v1/chat/completions"

    def adopted(version: int) -> bool:
        answer = old.system.http("GET", "/v1/gateways")
        listed = answer.body["items"] if answer.status == 200 else []
        return any(target["version"] == version for gateway in listed for target in gateway["targets"])

    assert call("POST", target, client, CHAT).status == 200
    assert old.system.http("PATCH", f"{VARIABLES}/GATEWAY_KEY", {"description": "d"}).body["version"] == 1
    eventually(lambda: adopted(1), "the gateway uses the sealed version", 30)
    assert call("POST", target, client, CHAT).status == 200
    assert old.system.http("POST", f"{VARIABLES}/GATEWAY_KEY/rotate", {"value": "gateway-key-2"}).status == 200
    eventually(lambda: adopted(2), "the gateway uses the new value", 30)
    assert call("POST", target, client, CHAT).status == 200
    assert provider.seen["gateway-key-1"] == 2
    assert provider.seen["gateway-key-2"] == 1
    provider.close()
