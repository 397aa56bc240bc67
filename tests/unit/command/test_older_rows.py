"""Commands on names of older plaintext rows: the first change takes the row over, and nothing else does."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from libs.common.errors import KtError
from libs.common.secret_kinds import CONFIG_VARIABLE, KINDS
from tests.unit.command.test_secret_commands import World


@pytest.fixture
def older() -> World:
    return World(CONFIG_VARIABLE)


def history(older: World) -> list[str]:
    return [orjson.loads(body)["type"].split(".")[2] for _, body in older.store.messages]


@pytest.mark.parametrize(
    ("command", "fields", "version", "events"),
    [
        ("update", {"description": "new"}, 1, ["taken_over", "updated"]),
        ("update", {"description": "old"}, 1, ["taken_over"]),
        ("update", {"sensitive": True}, 1, ["taken_over", "updated"]),
        ("rotate", {"value": "two"}, 2, ["taken_over", "rotated"]),
        ("delete", {}, 1, ["taken_over", "deleted"]),
        ("take_over", {}, 1, ["taken_over"]),
    ],
)
async def test_any_change_of_an_older_row_takes_it_over_first(
    older: World, command: str, fields: dict[str, Any], version: int, events: list[str]
) -> None:
    older.sealer.rows["A"] = ("old", False)
    outcome = await older.do(command, key="k", **fields)
    assert (outcome.version, outcome.deleted, history(older)) == (version, command == "delete", events)
    again = await older.do(command, key="k", **fields)
    assert (again.sequence, again.version, history(older)) == (outcome.sequence, version, events)


@pytest.mark.parametrize(
    ("command", "fields", "code"),
    [
        ("update", {"sensitive": False}, "invalid_request"),
        ("update", {"description": "x" * 1025}, "invalid_request"),
        ("roll_back", {"to_version": 1}, "invalid_request"),
        ("roll_back", {"to_version": 2}, "not_found"),
        ("rotate", {"value": "two", "expected_sequence": 4}, "precondition_failed"),
        ("create", {"value": "two"}, "already_exists"),
    ],
)
async def test_a_change_that_is_not_allowed_takes_nothing_over(
    older: World, command: str, fields: dict[str, Any], code: str
) -> None:
    older.sealer.rows["A"] = ("old", True)
    assert await older.refused(command, **fields) == code


async def test_a_deleted_name_does_not_go_back_to_its_older_row(older: World) -> None:
    older.sealer.rows["A"] = ("old", True)
    await older.do("delete")
    for command, fields in (("update", {"description": "x"}), ("rotate", {"value": "two"}), ("take_over", {})):
        assert await older.refused(command, **fields) == "not_found"
    assert (await older.do("create", value="new")).version == 2


async def test_a_name_with_a_history_hides_the_older_row(older: World) -> None:
    await older.do("create", value="one")
    older.sealer.rows["A"] = ("old", True)
    assert (await older.do("take_over")).version == 1
    assert (await older.do("rotate", value="two")).version == 2
    assert history(older) == ["created", "rotated"]


async def test_what_has_no_row_either_can_not_be_taken_over(older: World) -> None:
    assert await older.refused("take_over") == "not_found"


async def test_of_many_who_change_an_older_row_at_once_one_takes_it_over(older: World) -> None:
    older.sealer.rows["A"] = ("old", True)
    results = await asyncio.gather(*(older.do("rotate", value=f"v{number}") for number in range(5)))
    assert sorted(r.version for r in results) == [2, 3, 4, 5, 6]
    assert history(older) == ["taken_over", *["rotated"] * 5]


async def test_a_change_that_failed_behind_the_take_over_succeeds_when_it_is_repeated(older: World) -> None:
    older.sealer.rows["A"] = ("old", True)
    older.sealer.fail = True
    with pytest.raises(KtError):
        await older.do("rotate", key="k", value="two")
    assert history(older) == ["taken_over"]
    older.sealer.fail = False
    assert (await older.do("rotate", key="k", value="two")).version == 2
    assert history(older) == ["taken_over", "rotated"]


async def test_other_kinds_of_secret_have_no_older_rows() -> None:
    other = World(KINDS["git_token"])
    other.sealer.rows["A"] = ("old", True)
    assert await other.refused("rotate", value="two") == "not_found"
    assert await other.refused("take_over") == "not_found"
    assert (await other.do("create", value="one")).version == 1
