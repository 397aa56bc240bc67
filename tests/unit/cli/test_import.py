"""``kt legacy import``: each row through the normal path of the API, once."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from tests.unit.cli.conftest import Kt
from tests.unit.cli.fake_api import Asked, FakeApi, Reply

VARIABLES = "/v1/config-variables"


@dataclass
class Variables:
    """Creates and rotates as the system does: once for each Idempotency-Key, comparing the values that still exist.

    ``values`` are those of all versions; None is one that was destroyed.
    """

    api: FakeApi
    values: dict[str, list[str | None]] = field(default_factory=dict)
    answers: dict[str, tuple[str, int]] = field(default_factory=dict)
    legacy: bool = False

    def __post_init__(self) -> None:
        self.api.on("POST", VARIABLES, self.create)
        self.api.on("GET", VARIABLES, self.list)

    def exists(self, name: str) -> bool:
        return bool(self.values.get(name)) and self.values[name][-1] is not None

    def delete(self, name: str) -> None:
        self.values[name] = [None] * len(self.values[name])

    def create(self, asked: Asked) -> Reply:
        name = asked.body["name"]
        self.api.on("GET", f"{VARIABLES}/{name}", lambda _: self.get(name))
        self.api.on("POST", f"{VARIABLES}/{name}/rotate", lambda asked: self.once(asked, name, 200))
        if asked.headers["idempotency-key"] not in self.answers and self.exists(name):
            return Reply(409, {"code": "already_exists", "detail": "It exists."})
        return self.once(asked, name, 201)

    def once(self, asked: Asked, name: str, status: int) -> Reply:
        key, value = asked.headers["idempotency-key"], asked.body["value"]
        values = self.values.setdefault(name, [])
        if key not in self.answers:
            values.append(value)
            self.answers[key] = (name, len(values))
            return self.view(name, len(values), status)
        _, version = self.answers[key]
        if values[version - 1] not in (None, value):
            return Reply(422, {"code": "idempotency_mismatch", "detail": "Another value."})
        return self.view(name, version, status, **{"Idempotency-Replayed": "true"})

    def view(self, name: str, version: int, status: int = 200, **headers: str) -> Reply:
        return Reply(status, {"name": name, "version": version, "legacy": self.legacy}, headers)

    def get(self, name: str) -> Reply:
        if not self.exists(name):
            return Reply(404, {"code": "not_found", "detail": "None."})
        return self.view(name, len(self.values[name]))

    def list(self, _: Asked) -> Reply:
        items = [{"name": name} for name in self.values if self.exists(name)]
        return Reply(200, {"items": items, "next_cursor": None})


@pytest.fixture
def variables(api: FakeApi) -> Variables:
    return Variables(api)


def imported(kt: Kt, text: str, *words: str, code: int = 0) -> dict[str, int]:
    ended = kt("legacy", "import", "-", "--format", "dotenv", "-o", "json", *words, stdin=text.encode())
    assert ended.code == code, ended.err
    counts: dict[str, int] = ended.json["counts"]
    return counts


@pytest.mark.parametrize("policy", ["fail", "skip", "rotate"])
def test_a_repeated_import_changes_nothing(kt: Kt, variables: Variables, policy: str) -> None:
    assert imported(kt, "A=1\nB=2", "--on-conflict", policy) == {"created": 2}
    assert imported(kt, "A=1\nB=2", "--on-conflict", policy) == {"unchanged": 2}
    assert variables.values == {"A": ["1"], "B": ["2"]}


@pytest.mark.parametrize(
    ("policy", "ending", "values"),
    [("fail", "failed", ["1"]), ("skip", "skipped", ["1"]), ("rotate", "rotated", ["1", "2"])],
)
def test_a_variable_with_another_value_is_dealt_with_as_wanted(
    kt: Kt, variables: Variables, policy: str, ending: str, values: list[str]
) -> None:
    imported(kt, "A=1")
    assert imported(kt, "A=2", "--on-conflict", policy, code=ending == "failed") == {ending: 1}
    assert variables.values == {"A": values}


def test_a_rotation_by_import_is_repeated_without_effect_and_values_may_come_back(
    kt: Kt, variables: Variables
) -> None:
    told = [imported(kt, f"A={value}", "--on-conflict", "rotate") for value in "122112"]
    assert told == [
        {"created": 1},
        {"rotated": 1},
        {"unchanged": 1},
        {"rotated": 1},
        {"unchanged": 1},
        {"rotated": 1},
    ]
    assert variables.values == {"A": ["1", "2", "1", "2"]}


def test_a_variable_made_otherwise_is_a_conflict(kt: Kt, variables: Variables) -> None:
    variables.values["A"] = ["by hand"]
    assert imported(kt, "A=1", "--on-conflict", "skip") == {"skipped": 1}
    assert imported(kt, "A=1", code=1) == {"failed": 1}


def test_a_variable_that_was_deleted_since_is_created_again(kt: Kt, variables: Variables) -> None:
    imported(kt, "A=1")
    variables.delete("A")
    assert imported(kt, "A=2") == {"created": 1}
    assert imported(kt, "A=2") == {"unchanged": 1}
    assert imported(kt, "A=1", code=1) == {"failed": 1}
    assert variables.values == {"A": [None, "2"]}


def test_an_older_row_of_that_name_is_pointed_to(kt: Kt, variables: Variables) -> None:
    variables.values["A"], variables.legacy = ["1"], True
    ended = kt("legacy", "import", "-", "--format", "dotenv", stdin=b"A=1")
    assert ended.code == 1
    assert "`kt legacy migrate` takes it over" in ended.out


def test_an_import_that_was_stopped_goes_on_where_it_was(kt: Kt, api: FakeApi, variables: Variables) -> None:
    api.on("POST", VARIABLES, variables.create, Reply(403, {"code": "forbidden", "detail": "Not yours."}))
    assert kt("legacy", "import", "-", "--format", "dotenv", stdin=b"A=1\nB=2").code == 5
    api.on("POST", VARIABLES, variables.create)
    assert imported(kt, "A=1\nB=2") == {"unchanged": 1, "created": 1}


def test_what_fails_is_placed_and_the_others_are_imported(kt: Kt, variables: Variables) -> None:
    text = "A=1\nwrong line\na/b=canary-1\nTWICE=canary-2\nTWICE=canary-3\nB=2"
    ended = kt("legacy", "import", "-", "--format", "dotenv", stdin=text.encode())
    assert ended.code == 1
    assert ended.out.splitlines()[:3] == ["OUTCOME  ROWS", "created     2", "failed      4"]
    assert [line.split()[:3] for line in ended.out.splitlines()[6:]] == [
        ["line", "2", "-"],
        ["line", "3", "-"],
        ["line", "4", "TWICE"],
        ["line", "5", "TWICE"],
    ]
    assert "canary" not in ended.out + ended.err
    assert variables.values == {"A": ["1"], "B": ["2"]}


def test_a_dry_run_sends_nothing_and_says_what_would_be(kt: Kt, api: FakeApi, variables: Variables) -> None:
    variables.values["A"] = ["1"]
    assert imported(kt, "A=2\nB=1\n/=x", "--dry-run", "--on-conflict", "rotate", code=1) == {
        "to create": 1,
        "to rotate if changed": 1,
        "failed": 1,
    }
    assert imported(kt, "A=2", "--dry-run", "--on-conflict", "skip") == {"to skip": 1}
    assert imported(kt, "A=2", "--dry-run") == {"to refuse if changed": 1}
    assert {asked.method for asked in api.asked} == {"GET"}


def test_when_the_system_goes_away_what_was_done_is_told(kt: Kt, api: FakeApi, variables: Variables) -> None:
    api.on("POST", VARIABLES, variables.create, Reply(403, {"code": "forbidden", "detail": "Not yours."}))
    ended = kt("legacy", "import", "-", "--format", "dotenv", stdin=b"A=1\nB=2\nC=3")
    assert ended.code == 5
    assert ended.out.splitlines() == ["OUTCOME  ROWS", "created     1"]


def test_no_sensitive_is_for_rows_that_do_not_say(kt: Kt, api: FakeApi, variables: Variables) -> None:
    text = b"name,value,sensitive\nA,1,\nB,2,true\n"
    assert kt("legacy", "import", "-", "--format", "csv", "--no-sensitive", stdin=text).code == 0
    assert [asked.body["sensitive"] for asked in api.asked if asked.method == "POST"] == [False, True]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["keys.txt"], "format can't be told"),
        (["missing.csv"], "can't be read: No such file"),
        (["postgresql://u:hunter2@h/d"], "holds a password"),
        (["postgresql://h/d?password=hunter2"], "holds a password"),
        (["postgresql://u:hunter2/x@h/d"], "address can't be used"),
        (["postgresql://u:x@hunter2@h/d"], "address can't be used"),
        (["postgresql://u@h/d%zzhunter2"], "address can't be used"),
        (["hunter2hunter2", "--format", "postgresql"], "file can't be read"),
        (["postgresql://h/d", "--table", "a.b.c"], "table or schema.table"),
    ],
)
def test_a_source_that_can_not_be_read_is_refused(kt: Kt, api: FakeApi, words: list[str], said: str) -> None:
    ended = kt("legacy", "import", *words)
    assert (ended.code, api.asked) == (2, [])
    assert said in ended.err
    assert "hunter2" not in ended.err


@pytest.mark.parametrize("held", [b"", b"hunter2", b"host=h hunter2", b"postgresql://h\nhunter2"])
def test_a_file_that_holds_no_address_is_refused(kt: Kt, api: FakeApi, held: bytes) -> None:
    ended = kt("legacy", "import", "-", "--format", "postgresql", stdin=held)
    assert (ended.code, api.asked) == (2, [])
    assert "address can't be used" in ended.err
    assert "hunter2" not in ended.err


def test_a_file_that_is_not_text_is_refused_by_line(kt: Kt, api: FakeApi) -> None:
    ended = kt("legacy", "import", "-", "--format", "csv", stdin=b"name,value\nA,\xff\n")
    assert (ended.code, api.asked) == (2, [])
    assert "Line 2 is not text in UTF-8" in ended.err
