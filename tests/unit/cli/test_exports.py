"""``kt events export`` and ``verify``: files as they come, gone on with after anything, checked without a system."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from libs.cli import export_runs
from tests.unit.cli.conftest import Kt
from tests.unit.cli.fake_api import Asked, FakeApi, Reply
from tests.unit.transparency.exporter import STREAM, Exporter, bodies

PATH = "/v1/events/export"
EXPORTER = Exporter(bodies(30), [n for n in range(1, 31) if n != 18], filter="actor=alice")


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_runs, "RETRY_SECONDS", 0.0)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    return EXPORTER.write(tmp_path / "made")


def in_order(made: Path) -> list[Path]:
    """As the API sends them: proofs before their rows, the manifest last."""
    return sorted(
        made.iterdir(), key=lambda path: (path.name.startswith("m"), path.name[:35], "proofs" not in path.name)
    )


def archive(paths: list[Path]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path in paths:
            info = tarfile.TarInfo(path.name)
            info.size = path.stat().st_size
            tar.addfile(info, io.BytesIO(path.read_bytes()))
        end = tar.offset
    return raw.getvalue()[: end + 1024]


def serving(made: Path, cut: Callable[[int, bytes], bytes] = lambda _, raw: raw) -> Callable[[Asked], Reply]:
    """The API; ``cut`` is given the number of the request and what would be sent."""
    requests = 0

    def answer(asked: Asked) -> Reply:
        nonlocal requests
        requests += 1
        paths = in_order(made)
        if after := asked.query.get("after"):
            paths = paths[[path.name for path in paths].index(after) + 1 :]
        headers = {"Keeptrusts-Export": "e1", "Keeptrusts-Export-Entries": "30", "Content-Type": "application/x-tar"}
        return Reply(200, headers=headers, raw=cut(requests, archive(paths)))

    return answer


def same(one: Path, two: Path) -> bool:
    assert sorted(p.name for p in one.iterdir()) == sorted(p.name for p in two.iterdir())
    return all(p.read_bytes() == (two / p.name).read_bytes() for p in one.iterdir())


def test_an_export_is_written_and_verifies(kt: Kt, api: FakeApi, made: Path) -> None:
    api.on("GET", PATH, serving(made))

    ended = kt("events", "export", "--from", "2026-01-01", "--filter", "actor=alice", "--out", "x")

    assert ended.code == 0, ended.err
    assert same(Path("x"), made)
    assert dict(api.asked[0].query) == {"format": "ndjson", "filter": "actor=alice", "from": "2026-01-01T00:00:00Z"}
    ended = kt("events", "verify", "x", "--key", str(EXPORTER.key))
    assert ended.code == 0, ended.err
    assert "each is in the log of 30 that was signed" in ended.out
    assert kt("events", "verify", "x", "--key", str(EXPORTER.key), "-o", "json").json["verified"] is True


@pytest.mark.parametrize("share", [0.03, 0.2, 0.5, 0.8, 0.9])
def test_a_connection_that_breaks_is_gone_on_with(kt: Kt, api: FakeApi, made: Path, share: float) -> None:
    api.on("GET", PATH, serving(made, lambda n, raw: raw[: int(len(raw) * share)] if n <= 3 else raw))

    ended = kt("events", "export", "--out", "x")

    assert ended.code == 0, ended.err
    assert "Trying again" in ended.err
    assert same(Path("x"), made)
    assert all(asked.query.get("resume") == "e1" for asked in api.asked[1:])


def test_a_second_run_goes_on_where_the_first_stopped(kt: Kt, api: FakeApi, made: Path) -> None:
    api.on("GET", PATH, serving(made, lambda n, raw: raw[: len(raw) // 2] if n == 1 else b""))
    assert kt("events", "export", "--out", "x").code == 6
    whole = [p.name for p in in_order(made) if (Path("x") / p.name).exists() and "proofs" not in p.name]
    assert 0 < len(whole) < len(in_order(made))
    (Path("x") / whole[-1]).write_bytes(b"damaged meanwhile")
    api.on("GET", PATH, serving(made))

    ended = kt("events", "export", "--out", "x")

    assert ended.code == 0, ended.err
    assert "Going on" in ended.err
    assert api.asked[-1].query["after"] == whole[-2]
    assert same(Path("x"), made)


def test_an_unfinished_export_is_not_mixed_with_another(kt: Kt, api: FakeApi, made: Path) -> None:
    api.on("GET", PATH, serving(made, lambda _, raw: raw[: len(raw) // 2]))
    kt("events", "export", "--out", "x")
    asked = len(api.asked)

    ended = kt("events", "export", "--out", "x", "--filter", "actor=bob")

    assert (ended.code, len(api.asked)) == (2, asked)
    assert "other options" in ended.err
    ended = kt("events", "verify", "x", "--key", str(EXPORTER.key))
    assert ended.code == 1
    assert "manifest.json is missing" in ended.err


def test_a_directory_with_something_in_it_is_left_alone(kt: Kt, api: FakeApi, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "mine").write_text("mine")

    assert kt("events", "export", "--out", "x").code == 2
    assert not api.asked


@pytest.mark.parametrize("name", ["../escaped", "/escaped", "manifest.sh", "KT_EVENTS-1-2.csv"])
def test_no_file_is_written_that_is_no_exports(kt: Kt, api: FakeApi, tmp_path: Path, name: str) -> None:
    info, raw = tarfile.TarInfo(name), io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        tar.addfile(info, io.BytesIO())
    headers = {"Keeptrusts-Export": "e1", "Keeptrusts-Export-Entries": "1"}
    api.on("GET", PATH, Reply(200, headers=headers, raw=raw.getvalue()))

    assert kt("events", "export", "--out", "deep/x").code == 6
    assert [path.name for path in (tmp_path / "deep" / "x").iterdir()] == [".keeptrusts-export.json"]
    assert not (tmp_path / "deep" / "escaped").exists()


def test_files_that_are_not_those_of_the_manifest_are_named(kt: Kt, api: FakeApi, made: Path) -> None:
    (made / f"{STREAM}-000000000001-000000000004.ndjson.zst").write_bytes(b"another")
    api.on("GET", PATH, serving(made))

    ended = kt("events", "export", "--out", "x")

    assert ended.code == 1
    assert "not those of the manifest" in ended.err


def test_a_refusal_of_the_api_is_told(kt: Kt, api: FakeApi) -> None:
    api.problem("GET", PATH, 403, "forbidden", detail="The token's role does not include events:export.")

    ended = kt("events", "export", "--out", "x", "-o", "json")

    assert (ended.code, ended.problem["code"]) == (5, "forbidden")


@pytest.mark.parametrize("key", [(), ("--key", "none")])
def test_a_key_is_needed(kt: Kt, made: Path, key: tuple[str, ...]) -> None:
    assert kt("events", "verify", str(made), *key).code == 2


def test_what_is_wrong_with_an_export_is_named(kt: Kt, made: Path) -> None:
    (made / "notes.txt").write_text("mine")

    ended = kt("events", "verify", str(made), "--key", str(EXPORTER.key))

    assert ended.code == 1
    assert "'notes.txt' is not in the manifest" in ended.err


def test_keys_are_printed_to_be_pinned(kt: Kt, api: FakeApi, made: Path) -> None:
    api.on("GET", "/v1/events/checkpoint-keys", Reply(200, {"items": [{"keys": {STREAM: str(EXPORTER.key)}}]}))
    Path("audit.keys").write_text(kt("events", "keys").out)

    assert kt("events", "verify", str(made), "--key", "audit.keys").code == 0
    assert json.loads(kt("events", "keys", "-o", "json").out)["items"]
