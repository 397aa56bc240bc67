"""Make `services`, `libs` and the `kt` command of this checkout available in the running virtual environment.

A path file and a launcher, instead of an editable install: nothing is built, so nothing has to be downloaded for it.
"""

from __future__ import annotations

import stat
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    (Path(sysconfig.get_path("purelib")) / "keeptrusts.pth").write_text(f"{ROOT}\n")
    launcher = Path(sysconfig.get_path("scripts")) / "kt"
    # A shell line, because a path in "#!" may not be longer than the kernel reads; -P keeps the current folder out.
    launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m libs.cli.main "$@"\n')
    launcher.chmod(launcher.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


if __name__ == "__main__":
    main()
