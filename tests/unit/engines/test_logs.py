"""Log files stay within a size."""

import stat
from pathlib import Path

from libs.engines.logs import rotate


def test_a_small_log_is_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "keys.log"
    assert not rotate(log, largest=10)
    log.write_text("short")
    assert not rotate(log, largest=10)
    assert log.read_text() == "short"


def test_a_large_log_is_set_aside_while_its_writer_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "keys.log"
    with log.open("a", buffering=1) as writer:
        writer.write("x" * 20 + "\n")
        assert rotate(log, largest=10)
        writer.write("next\n")
    older = tmp_path / "keys.log.1"
    assert log.read_text() == "next\n"
    assert older.read_text() == "x" * 20 + "\n"
    assert stat.S_IMODE(older.stat().st_mode) == 0o600
