"""Small private files."""

import os
import stat
from pathlib import Path

import pytest

from libs.common.errors import KtError
from libs.engines.files import private_directory, write_private, write_private_if_changed


def test_a_private_file_is_readable_by_its_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_private(tmp_path / "file", "content")
    finally:
        os.umask(before)
    assert (tmp_path / "file").read_text() == "content"
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600


def test_a_failed_write_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_private(tmp_path / "file", "old")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        write_private(tmp_path / "file", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"


def test_equal_content_is_not_written_again(tmp_path: Path) -> None:
    write_private(tmp_path / "file", "same")
    inode = (tmp_path / "file").stat().st_ino
    write_private_if_changed(tmp_path / "file", "same")
    assert (tmp_path / "file").stat().st_ino == inode
    write_private_if_changed(tmp_path / "file", "other")
    assert (tmp_path / "file").read_text() == "other"


def test_a_link_in_place_of_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(KtError) as refused:
        private_directory(tmp_path / "link")
    assert refused.value.code == "misconfigured"
