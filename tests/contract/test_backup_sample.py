"""The first archive ever written stays readable: by this release, and by anybody who has the pages of its format."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from libs.backup.archive import Archive
from libs.backup.manifest import read_manifest
from tests.unit.backup.independent_reader import is_marked, members, read_secret
from tests.unit.backup.samples import DESTROYED, MASTER_KEY, NAME, OTHER_KEY, VALUES_BY_VERSION, archive

SAMPLE = Path(__file__).resolve().parents[2] / "contracts" / "samples" / "backup.v1.tar"


def test_the_sample_is_verified_and_described() -> None:
    with SAMPLE.open("rb") as file:
        found = Archive.read(file)
        manifest = read_manifest(found)
        assert sum(found.verify()) > 0
    assert (manifest.version, manifest.sealed_store.master_fingerprints) == (1, ("mk-55b02995ab16bd0a",))
    assert [stream.name for stream in manifest.streams] == ["KT_ACCESS", "KT_EVENTS"]


@pytest.mark.parametrize("version", [v for v in VALUES_BY_VERSION if v != DESTROYED])
def test_a_few_independent_lines_read_every_value_of_it(version: int) -> None:
    assert read_secret(str(SAMPLE), NAME, MASTER_KEY, version) == VALUES_BY_VERSION[version]


def test_a_few_independent_lines_tell_that_nobody_changed_it() -> None:
    assert is_marked(str(SAMPLE), MASTER_KEY)
    assert not is_marked(str(SAMPLE), OTHER_KEY)


def test_what_is_written_today_has_the_same_content(tmp_path: Path) -> None:
    today = tmp_path / "today.tar"
    today.write_bytes(archive())
    was, now = members(str(SAMPLE)), members(str(today))
    assert list(was) == list(now)
    # Compressed bytes may differ between releases of zlib, and with them the sums of the manifest.
    before, after = Archive.read(SAMPLE.open("rb")), Archive.read(io.BytesIO(today.read_bytes()))
    for name in was:
        if name.endswith(".gz"):
            assert list(before.lines(name)) == list(after.lines(name))
        elif name.startswith(("streams/", "backup.json")):
            assert was[name] == now[name]
