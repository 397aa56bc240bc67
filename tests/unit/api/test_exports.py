"""GET /v1/events/export: a directory as a stream, on record before anything of it goes out."""

from __future__ import annotations

import io
import tarfile
from urllib.parse import quote

import pytest

from libs.common.errors import KtError
from libs.common.protocol import exports
from tests.unit.api.system import System, token_for

ID = "019aaf9c-6b1e-7c3a-9a53-0d7d3a2f4b11"
AFTER = "KT_EVENTS-000000000001-000000000004.ndjson.zst"
EXPORTED = "kt.audit.exported.v1"
ROWS = [bytes([65 + number]) * (600 + number) for number in range(3)]
MANIFEST, NOTE = b'{"files":[]}', b"text\n\nsignature\n"


def view(**changes: object) -> exports.ExportView:
    ranges = [
        exports.ExportRange(stream="KT_EVENTS", first=3, last=9),
        exports.ExportRange(stream="KT_ACCESS", first=1, last=0),
    ]
    known = exports.ExportView(
        id="e1", format="ndjson", filter="actor=alice", begins="", ends="2026-11-01T00:00:00.000000Z", ranges=ranges
    )
    return known.model_copy(update=changes)


def piece(asked: exports.GetExportPiece) -> exports.ExportPiece:
    """Three segments: the first with proofs, the second empty; pieces of 256 bytes."""
    name, content = f"rows-{asked.segment}", b""
    if asked.part == "manifest":
        name, content = "manifest.json", MANIFEST
    elif asked.part == "signature":
        name, content = "manifest.note", NOTE
    elif asked.part == "proofs":
        name, content = f"proofs-{asked.segment}", b"proof"
    elif asked.segment != 1:
        content = ROWS[asked.segment]
    return exports.ExportPiece(
        name=name if content else "",
        size=len(content),
        data=content[asked.offset : asked.offset + 256],
        proofs=asked.segment == 0 and asked.part == "rows",
        final=asked.segment == 2,
    )


@pytest.fixture
def system() -> System:
    made = System()
    made.bus.on(exports.OPEN_EXPORT, lambda _: view())
    made.bus.on(exports.FIND_EXPORT, lambda _: view(segment=2))
    made.bus.on(exports.EXPORT_PIECE, piece)
    return made


def unpacked(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {member.name: content.read() for member in tar if (content := tar.extractfile(member))}


async def test_an_export_is_an_archive_of_its_files(system: System) -> None:
    answer = await system.ask(
        "GET",
        "/v1/events/export?filter=actor%3Dalice&stream=KT_EVENTS&to=2026-11-01T00:00:00Z",
        token=token_for("auditor"),
    )

    assert (answer.status, answer.headers["content-type"]) == (200, "application/x-tar")
    assert answer.headers["keeptrusts-export"] == "e1"
    assert answer.headers["keeptrusts-export-entries"] == "7"
    assert answer.headers["cache-control"] == "no-store"
    found = unpacked(answer.body)
    assert list(found) == ["proofs-0", "rows-0", "rows-2", "manifest.json", "manifest.note"]
    assert (found["rows-0"], found["rows-2"], found["manifest.note"]) == (ROWS[0], ROWS[2], NOTE)
    (asked,) = system.bus.requests(exports.OPEN_EXPORT)
    assert (asked.caller.org, asked.caller.actor_id, asked.filter) == ("default", "auditor-1", "actor=alice")
    assert asked.streams == ["KT_EVENTS"]


async def test_it_is_on_record_with_what_was_exported(system: System) -> None:
    await system.ask("GET", "/v1/events/export", token=token_for("auditor"))

    (document,) = system.access.documents(EXPORTED)
    assert document["data"]["actor"] == {"type": "auditor", "id": "auditor-1"}
    assert document["data"]["detail"] == {
        "export": "e1",
        "format": "ndjson",
        "filter": "actor=alice",
        "begins": "",
        "ends": "2026-11-01T00:00:00.000000Z",
        "ranges": [{"stream": "KT_EVENTS", "first": 3, "last": 9}],
        "continued": False,
    }


async def test_nothing_goes_out_that_can_not_be_put_on_record(system: System) -> None:
    system.access.away = True

    answer = await system.ask("GET", "/v1/events/export")

    assert answer.code == "unavailable"
    assert not system.bus.requests(exports.EXPORT_PIECE)


async def test_an_export_goes_on_behind_a_file(system: System) -> None:
    answer = await system.ask("GET", f"/v1/events/export?resume={ID}&after={AFTER}")

    assert list(unpacked(answer.body)) == ["rows-2", "manifest.json", "manifest.note"]
    (asked,) = system.bus.requests(exports.FIND_EXPORT)
    assert (asked.org, asked.id, asked.after) == ("default", ID, AFTER)
    assert [document["data"]["detail"]["continued"] for document in system.access.documents(EXPORTED)] == [True]


async def test_what_fails_before_the_first_byte_is_a_problem(system: System) -> None:
    system.bus.fails(exports.EXPORT_PIECE, KtError("log_damaged", "The row KT_EVENTS:7 was changed."))

    assert (await system.ask("GET", "/v1/events/export")).code == "log_damaged"


async def test_what_fails_later_breaks_the_stream_off(system: System) -> None:
    def fails_late(asked: exports.GetExportPiece) -> exports.ExportPiece:
        if asked.segment == 2:
            raise KtError("unavailable", "The audit service is not running.")
        return piece(asked)

    system.bus.on(exports.EXPORT_PIECE, fails_late)

    answer = await system.ask("GET", "/v1/events/export")

    assert b"manifest" not in answer.body


@pytest.mark.parametrize(
    "query",
    [
        "format=xml",
        "from=yesterday",
        "from=2026-02-30T00:00:00Z",
        "to=2026-01-01T00:00:00",
        "after=x",
        f"resume={ID}&format=csv",
        "resume=e1",
        f"resume={ID}&after=rows-1",
        "filter=" + "x" * 4097,
        "stream=KT_OTHER",
    ],
)
async def test_a_query_that_is_not_understood_is_refused(system: System, query: str) -> None:
    answer = await system.ask("GET", f"/v1/events/export?{query}")

    assert (answer.status, answer.code) == (422, "invalid_request")
    assert not system.bus.asked


@pytest.mark.parametrize(
    "filter_", ['resource="sk-proj-0123456789abcdefghij"', "actor=sk-proj-0123456789abcdefghij", 'actor="a b\\"c"']
)
async def test_a_filter_that_may_hold_a_key_is_not_carried_away(system: System, filter_: str) -> None:
    answer = await system.ask("GET", f"/v1/events/export?filter={quote(filter_)}")

    assert answer.code == "invalid_filter"
    assert not system.bus.asked
    assert b"0123456789" not in answer.everything


@pytest.mark.parametrize("role", ["operator", "machine", "gateway"])
async def test_it_takes_a_scope_of_its_own(system: System, role: str) -> None:
    assert (await system.ask("GET", "/v1/events/export", token=token_for(role))).code == "forbidden"
