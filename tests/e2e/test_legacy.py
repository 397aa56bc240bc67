"""Rows of the earlier system, read where they lie and taken over by the first change."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from demo.stage import eventually
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
    eventually(lambda: old.names() == {"a/slash", "EMPTY", "TWICE"}, "rows that were taken over are deleted")

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
    events = json.loads(system.kt("events", "list", "--filter", "resource=AMBER", "--output", "json"))["items"]
    assert [event["type"].split(".")[2] for event in events][::-1] == [
        "legacy_resolved",
        "taken_over",
        "updated",
        "resolved",
    ]
