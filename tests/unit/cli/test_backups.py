"""``kt backup`` and ``kt recover`` on archives, without anything that runs."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from libs.backup.archive import Archive, ArchiveWriter
from libs.backup.manifest import INDEX, KEYRING, MANIFEST, VALUES, Manifest
from tests.unit.backup.samples import MASTER_KEY, NAME, OTHER_KEY, VALUES_BY_VERSION, archive, master
from tests.unit.cli.conftest import Kt

FINGERPRINT = master().fingerprint
FIRST = VALUES_BY_VERSION[1].decode()


@pytest.fixture
def file(home: Path, tmp_path: Path) -> Path:
    """An archive, and its master key in ``master.key``."""
    path = tmp_path / "backup.tar"
    path.write_bytes(archive())
    (tmp_path / "master.key").write_text(f"{MASTER_KEY}\n")
    (tmp_path / "other.key").write_text(OTHER_KEY)
    return path


def flip(path: Path, member: str, at: int = 20) -> None:
    content = bytearray(path.read_bytes())
    with path.open("rb") as opened:
        content[Archive.read(opened).members[member].offset + at] ^= 1
    path.write_bytes(content)


def test_a_value_is_written_as_it_is_where_nobody_looks(kt: Kt, file: Path) -> None:
    ended = kt("recover", str(file), NAME, "--version", "1", "--master-key-file", "master.key")
    assert (ended.code, ended.out, ended.err) == (0, FIRST, "")


def test_the_newest_version_is_the_default_and_one_that_was_destroyed_is_told_apart(kt: Kt, file: Path) -> None:
    ended = kt("recover", str(file), NAME, "--master-key-file", "master.key")
    assert (ended.code, ended.out) == (3, "")
    assert "version 3 was destroyed" in ended.err


@pytest.mark.parametrize(
    "words", [(NAME, "--version", "9"), ("OTHER",), (NAME, "--org", "acme"), (NAME, "--kind", "git_token")]
)
def test_what_is_not_in_the_archive_is_not_found(kt: Kt, file: Path, words: tuple[str, ...]) -> None:
    ended = kt("recover", str(file), *words, "--master-key-file", "master.key")
    assert (ended.code, ended.out) == (3, "")
    assert "--list" in ended.err


@pytest.mark.parametrize("where", ["environment", "file", "previous"])
def test_the_master_key_comes_from_the_environment_too(
    kt: Kt, file: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    variable = "KEEPTRUSTS_SECRET_ENCRYPTION_KEY"
    settings = {
        "environment": {variable: MASTER_KEY},
        "file": {f"{variable}_FILE": "master.key"},
        "previous": {variable: OTHER_KEY, f"{variable}_PREVIOUS": MASTER_KEY},
    }
    for name, value in settings[where].items():
        monkeypatch.setenv(name, value)
    ended = kt("recover", str(file), NAME, "--version", "1")
    assert (ended.code, ended.out) == (0, FIRST)


def test_another_master_key_is_refused_by_name(kt: Kt, file: Path) -> None:
    ended = kt("recover", str(file), NAME, "--version", "1", "--master-key-file", "other.key")
    assert (ended.code, ended.out) == (5, "")
    assert FINGERPRINT in ended.err
    assert master(OTHER_KEY).fingerprint in ended.err


def test_a_weak_master_key_and_none_at_all_are_refused(kt: Kt, file: Path, tmp_path: Path) -> None:
    (tmp_path / "weak.key").write_text("short")
    weak = kt("recover", str(file), NAME, "--version", "1", "--master-key-file", "weak.key")
    assert (weak.code, weak.out) == (2, "")
    assert "short" not in weak.err
    none = kt("recover", str(file), NAME, "--version", "1")
    assert (none.code, none.out) == (2, "")
    assert "--master-key-file" in none.err


def test_json_shows_a_value_only_when_asked(kt: Kt, file: Path) -> None:
    words = ("recover", str(file), NAME, "--version", "1", "--master-key-file", "master.key", "-o", "json")
    refused = kt(*words)
    assert (refused.code, refused.out) == (2, "")
    shown = kt(*words, "--show").json
    assert (shown["name"], shown["version"], shown["value"]) == (NAME, 1, FIRST)


def test_the_list_needs_no_key_and_shows_what_is_there(kt: Kt, file: Path) -> None:
    lines = kt("recover", str(file), "--list").out.splitlines()
    assert lines[0].split() == ["ORG", "KIND", "NAME", "VERSION", "SET", "VALUE"]
    assert [line.split()[-1] for line in lines[1:]] == ["there", "there", "destroyed"]
    listed = kt("recover", str(file), "--list", "-o", "json").json["items"]
    assert [(item["version"], item["there"]) for item in listed] == [(1, True), (2, True), (3, False)]
    assert kt("recover", str(file)).code == 2


def test_a_value_is_recovered_from_a_damaged_archive_with_a_warning(kt: Kt, file: Path) -> None:
    flip(file, "streams/KT_EVENTS.snapshot")
    whole = file.read_bytes()
    ended = kt("recover", str(file), NAME, "--version", "1", "--master-key-file", "master.key")
    assert (ended.code, ended.out) == (0, FIRST)
    file.write_bytes(whole[:-600])
    cut = kt("recover", str(file), NAME, "--version", "1", "--master-key-file", "master.key")
    assert (cut.code, cut.out) == (0, FIRST)
    assert "warning: The archive is damaged: it is cut short" in cut.err


@pytest.mark.parametrize("member", [INDEX, KEYRING, VALUES])
def test_a_value_is_never_shown_when_what_it_needs_is_damaged(kt: Kt, file: Path, member: str) -> None:
    flip(file, member)
    ended = kt("recover", str(file), NAME, "--version", "2", "--master-key-file", "master.key")
    assert ended.out == ""
    assert ended.code in (1, 3)
    assert f"warning: The archive is damaged: {member}" in ended.err or "changed" in ended.err


def test_verify_says_what_is_in_it_and_whether_it_is_authentic(kt: Kt, file: Path) -> None:
    shown = kt("backup", "verify", str(file))
    assert shown.code == 0
    assert FINGERPRINT in shown.out
    assert "not checked: that takes the master key" in shown.out
    assert "AUTHENTIC   yes" in kt("backup", "verify", str(file), "--master-key-file", "master.key").out
    document = kt("backup", "verify", str(file), "--master-key-file", "other.key", "-o", "json").json
    assert document["authentic"].startswith("not checked")
    assert document["sealed_store"]["values"] == 2
    assert {part["member"] for part in document["parts"]} >= {INDEX, KEYRING, VALUES}


def test_an_archive_that_somebody_made_up_is_told_apart_by_the_master_key(kt: Kt, file: Path) -> None:
    # Whole in itself, marked with another key, and claiming to be of this one.
    forged = archive(OTHER_KEY).replace(master(OTHER_KEY).fingerprint.encode(), FINGERPRINT.encode())
    file.write_bytes(resummed(forged))
    assert kt("backup", "verify", str(file)).code == 0
    ended = kt("backup", "verify", str(file), "--master-key-file", "master.key")
    assert ended.code == 1
    assert "does not have the master key" in ended.err
    into = kt("backup", "restore", str(file), "--into", "new", "--master-key-file", "master.key")
    assert into.code == 1
    assert not Path("new").exists()


def resummed(content: bytes) -> bytes:
    """The archive with sums that fit its members again."""
    found = Archive.read_leniently(io.BytesIO(content))
    found.flaw = "not checked"
    file = io.BytesIO()
    writer = ArchiveWriter(file)
    for name in found.members:
        if name == "SHA256SUMS":
            break
        body = found.small(name)
        if name == MANIFEST:
            manifest = Manifest.model_validate_json(body)
            parts = tuple(p.model_copy(update={"sha256": writer.sums[p.member]}) for p in manifest.parts)
            body = manifest.model_copy(update={"parts": parts}).to_json()
        writer.small(name, body)
    writer.finish()
    return file.getvalue()


WHOLE = archive()
DAMAGED = {
    "empty": b"",
    "cut short by a byte": WHOLE[:-1],
    "cut short in the middle": WHOLE[: len(WHOLE) // 2],
    "without its end": WHOLE[:-1024],
    "a byte longer": WHOLE + b"\0",
    "twice": WHOLE + WHOLE,
    "another file": b"PK\x03\x04" + bytes(2000),
    "a bit flipped in the sealed values": None,
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_archive_is_refused_and_nothing_is_touched(kt: Kt, file: Path, content: bytes | None) -> None:
    if content is None:
        flip(file, VALUES)
    else:
        file.write_bytes(content)
    given = file.read_bytes()
    for words in (("backup", "verify", str(file)), ("backup", "restore", str(file), "--into", "new")):
        ended = kt(*words)
        assert ended.code == 1
        assert "backup_damaged" in ended.err
        assert "Nothing was changed." in ended.err
    assert not Path("new").exists()
    assert file.read_bytes() == given


def test_a_restore_overwrites_nothing(kt: Kt, file: Path, home: Path) -> None:
    before = sorted(home.rglob("*"))
    ended = kt("backup", "restore", str(file), "--into", str(home))
    assert ended.code == 4
    assert sorted(home.rglob("*")) == before
    into_file = kt("backup", "restore", str(file), "--into", "master.key")
    assert into_file.code in (2, 4)


def test_where_to_restore_to_has_to_be_said_once(kt: Kt, file: Path) -> None:
    assert kt("backup", "restore", str(file)).code == 2
    assert kt("backup", "restore", str(file), "--into", "a", "--into-engines", "b").code == 2


def test_a_backup_is_taken_of_what_runs_and_never_over_another(kt: Kt, file: Path) -> None:
    ended = kt("backup", "create", "new.tar")
    assert (ended.code, Path("new.tar").exists()) == (6, False)
    assert "not_running" in ended.err


def test_a_home_that_was_restored_in_part_does_not_start(kt: Kt, home: Path) -> None:
    (home / "restore.incomplete").write_text("{}")
    ended = kt("up")
    assert ended.code == 2
    assert "not complete" in ended.err
    assert "kt backup restore" in ended.err
