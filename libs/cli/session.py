"""What one invocation of ``kt`` was told by its global options and the environment."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DEFAULT_HOME: Final = ".keeptrusts"
DEBUG_VARIABLE: Final = "KEEPTRUSTS_DEBUG"


def debug_wanted() -> bool:
    """True when the environment asks for tracebacks (``KEEPTRUSTS_DEBUG=1``)."""
    return os.environ.get(DEBUG_VARIABLE, "") not in {"", "0"}


@dataclass(slots=True)
class Session:
    """Options of ``kt`` itself; None where one was not given on the command line."""

    output: str = "table"
    home_option: Path | None = None
    api_url: str | None = None
    token_file: Path | None = None
    debug: bool = False

    @property
    def json(self) -> bool:
        return self.output == "json"

    @property
    def home(self) -> Path:
        """Where the system lives: ``--home``, else ``KEEPTRUSTS_HOME``, else ``.keeptrusts`` here."""
        return self.home_option or Path(os.environ.get("KEEPTRUSTS_HOME") or DEFAULT_HOME)

    @property
    def home_is_named(self) -> bool:
        """True when somebody named the home, rather than that it happened to lie here."""
        return self.home_option is not None or bool(os.environ.get("KEEPTRUSTS_HOME"))

    def trace(self, line: str) -> None:
        """One line on stderr when ``--debug`` or ``KEEPTRUSTS_DEBUG=1`` asks for it."""
        if self.debug or debug_wanted():
            print(line, file=sys.stderr)
