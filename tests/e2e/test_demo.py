"""`make demo` is a promise, so it is a test."""

from __future__ import annotations

import subprocess
import sys


def test_the_story_holds() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "demo"], capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "The story holds." in done.stdout
