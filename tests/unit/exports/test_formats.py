"""OCSF, CSV and Parquet: valid by their own rules, harmless to open, and never another thing than the stored bytes."""

from __future__ import annotations

import builtins
import csv
import io
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.examples import EXAMPLES, METADATA
from libs.cli.export_files import Content, leaves_in
from libs.common.errors import KtError
from libs.common.events import REGISTRY, encode
from libs.common.transparency.manifest import EXTENSIONS, ExportedFile, Format, file_name
from libs.common.transparency.merkle import NotProven, leaf_hash
from libs.exports import ocsf
from libs.exports.csv_text import csv_line, csv_lines
from libs.exports.flat import COLUMNS, FlatRow, flat
from libs.exports.parquet_table import ParquetFile, rows_of
from services.audit.adapters.encoders import FormatEncoders
from services.audit.domain.export import Row
from tests.unit.exports.ocsf_rules import violations

SAMPLES = dict(encode(event, resource, METADATA) for event, resource in EXAMPLES)
STRANGE = [b"", b"no event", b"\xff\xfe\n", b"{}", b'{"data":{}}', b"[]", b"1", b'{"data":{"action":7}}']


@pytest.mark.parametrize("name", SAMPLES)
def test_every_event_is_valid_ocsf(name: str) -> None:
    line = ocsf.line("KT_EVENTS", 17, SAMPLES[name], is_event=True)

    document = orjson.loads(line)
    assert violations(document) == []
    assert document["metadata"]["event_code"] == name
    assert document["raw_data"].encode() == SAMPLES[name]
    assert ocsf.source_of(line) == (17, SAMPLES[name], True)


def test_every_registered_event_has_an_example() -> None:
    assert SAMPLES.keys() == REGISTRY.types().keys()


@pytest.mark.parametrize(
    ("name", "type_uid", "status_id"),
    [
        ("kt.config_variable.created.v1", 300401, 1),
        ("kt.config_variable.rotated.v1", 300403, 1),
        ("kt.config_variable.deleted.v1", 300404, 1),
        ("kt.config_variable.resolved.v1", 600302, 1),
        ("kt.config_variable.resolve_failed.v1", 600302, 2),
        ("kt.gateway.config_reloaded.v1", 600303, 1),
        ("kt.encryption_key.rotated.v1", 300403, 1),
        ("kt.audit.exported.v1", 100803, 1),
        ("kt.audit_log.retention_applied.v1", 100802, 1),
        ("kt.gateway.access_log_started.v1", 100806, 1),
        ("kt.gateway.access_log_ended.v1", 100807, 1),
        ("kt.gateway.request_served.v1", 600399, 1),
    ],
)
def test_operations_have_their_place_in_ocsf(name: str, type_uid: int, status_id: int) -> None:
    document = orjson.loads(ocsf.line("KT_EVENTS", 1, SAMPLES[name], is_event=True))

    assert (document["type_uid"], document["status_id"]) == (type_uid, status_id)


def test_a_secret_is_an_entity_of_that_type() -> None:
    document = orjson.loads(ocsf.line("KT_EVENTS", 1, SAMPLES["kt.config_variable.rotated.v1"], is_event=True))

    assert (document["entity"]["type"], document["entity"]["type_id"]) == ("Secret", 99)


@pytest.mark.parametrize("body", STRANGE)
@pytest.mark.parametrize("is_event", [True, False])
def test_what_is_no_event_is_valid_ocsf_too(body: bytes, is_event: bool) -> None:
    line = ocsf.line("KT_ACCESS", 3, body, is_event=is_event)

    assert violations(orjson.loads(line)) == []
    assert ocsf.source_of(line) == (3, body, False)


def test_the_rules_find_what_is_wrong() -> None:
    document = orjson.loads(ocsf.line("KT_EVENTS", 17, SAMPLES["kt.config_variable.resolved.v1"], is_event=True))
    wrong: list[dict[str, Any]] = [
        {name: value for name, value in document.items() if name != "api"},
        document | {"type_uid": 1},
        document | {"severity_id": 7},
        document | {"surprise": 1},
        document | {"time": "now"},
        document | {"actor": {}},
    ]
    assert all(violations(event) for event in wrong)


@given(st.lists(st.text(), min_size=1, max_size=5))
def test_cells_come_back_from_csv(cells: list[str]) -> None:
    (read,) = csv.reader(io.StringIO(csv_line(cells), newline=""), strict=True)

    for cell, found in zip(cells, read, strict=True):
        assert found in (cell.replace("\0", "�"), "'" + cell.replace("\0", "�"))


@pytest.mark.parametrize(
    "cell",
    ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "＝1", "－1", "=cmd|'/C calc'!A0", "\u00a0=1"],
)
def test_no_cell_is_a_formula(cell: str) -> None:
    assert csv_line(["a", cell]) == '"a","\'' + cell + '"\r\n'


def test_csv_is_as_the_standard_has_it() -> None:
    assert csv_lines([("a", 1), ('say "x"', "two\r\nlines")]) == b'"a","1"\r\n"say ""x""","two\r\nlines"\r\n'


@pytest.mark.parametrize("name", SAMPLES)
def test_every_event_is_a_flat_row(name: str) -> None:
    row, data = flat("KT_EVENTS", 5, SAMPLES[name], is_event=True), orjson.loads(SAMPLES[name])["data"]

    assert (row.type, row.sequence, row.actor_id, row.action) == (name, 5, "alice", data["action"])
    assert orjson.loads(row.detail) == data["detail"]


@pytest.mark.parametrize("body", STRANGE)
def test_what_is_no_event_is_a_row_too(body: bytes) -> None:
    for is_event in (True, False):
        assert flat("KT_ACCESS", 3, body, is_event=is_event) == FlatRow("KT_ACCESS", 3)


def test_a_table_gives_back_its_rows_and_the_stored_bytes() -> None:
    bodies = [*SAMPLES.values(), *STRANGE]
    rows = [flat("KT_EVENTS", number, body, is_event=True) for number, body in enumerate(bodies, 1)]
    made = ParquetFile()
    made.add(rows[:5], bodies[:5])
    made.add(rows[5:], bodies[5:])

    found = list(rows_of(io.BytesIO(made.finish())))

    assert [row for batch, _ in found for row in batch] == rows
    assert [body for _, batch in found for body in batch] == bodies


def test_parquet_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ImportError
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)

    with pytest.raises(KtError, match=r"keeptrusts\[parquet\]") as caught:
        FormatEncoders().encoder(Format.PARQUET, "KT_EVENTS")
    assert caught.value.code == "misconfigured"


def written(
    directory: Path, format_: Format, bodies: Sequence[bytes], first: int = 1
) -> tuple[ExportedFile, Content]:
    encoder = FormatEncoders().encoder(format_, "KT_EVENTS")
    encoder.add([Row(number, body, body.startswith(b'{"c')) for number, body in enumerate(bodies, first)])
    return stored(directory, format_, encoder.finish(), len(bodies))


def stored(directory: Path, format_: Format, raw: bytes, rows: int) -> tuple[ExportedFile, Content]:
    name, digest = file_name("KT_EVENTS", 1, rows, EXTENSIONS[format_]), sha256(raw).hexdigest()
    (directory / name).write_bytes(raw)
    known: dict[str, Any] = {"contiguous": True, "left": [], "right": [], "proofs": None}
    file = ExportedFile(
        name=name, stream="KT_EVENTS", first=1, last=rows, rows=rows, bytes=len(raw), sha256=digest, **known
    )
    return file, Content(directory / name, len(raw), digest, lambda _: None)


@pytest.mark.parametrize("format_", [Format.NDJSON, Format.OCSF, Format.PARQUET])
def test_the_leaves_of_the_log_can_be_had_from_a_file(tmp_path: Path, format_: Format) -> None:
    bodies = [*SAMPLES.values(), *STRANGE]

    found = list(leaves_in(format_, *written(tmp_path, format_, bodies)))

    assert [leaf for leaves, _ in found for leaf in leaves] == [leaf_hash(body) for body in bodies]
    numbers = [number for _, sequences in found for number in sequences or ()]
    assert numbers == ([] if format_ is Format.NDJSON else list(range(1, len(bodies) + 1)))


def test_a_changed_row_is_found_even_when_its_bytes_were_signed(tmp_path: Path) -> None:
    body = SAMPLES["kt.config_variable.rotated.v1"]
    line = ocsf.line("KT_EVENTS", 1, body, is_event=True).replace(b'"message":"rotate', b'"message":"create')
    raw = FormatEncoders().packed([line])
    with pytest.raises(NotProven, match="row 1 is not what the stored event gives"):
        list(leaves_in(Format.OCSF, *stored(tmp_path, Format.OCSF, raw, 1)))

    table = ParquetFile()
    table.add([flat("KT_EVENTS", 1, body, is_event=True)._replace(actor_id="mallory")], [body])
    with pytest.raises(NotProven, match="row 1 is not what the stored event gives"):
        list(leaves_in(Format.PARQUET, *stored(tmp_path, Format.PARQUET, table.finish(), 1)))


@pytest.mark.parametrize("format_", [Format.OCSF, Format.PARQUET])
def test_a_file_that_is_something_else_is_refused(tmp_path: Path, format_: Format) -> None:
    for raw in (b"", b"x", FormatEncoders().packed([b"{}"])):
        with pytest.raises(NotProven):
            list(leaves_in(format_, *stored(tmp_path, format_, raw, 1)))


def test_the_columns_are_those_of_the_reference() -> None:
    assert COLUMNS[:4] == ("stream", "sequence", "time", "id")
