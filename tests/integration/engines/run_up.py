"""``kt up`` with stubs for services, as a program of its own: ``run_up.py`` (home and settings in the environment)."""

import asyncio
import os
import sys
from pathlib import Path

from libs.common.errors import KtError
from libs.engines.home import Home
from libs.engines.supervisor import Options, up

STUB = str(Path(__file__).with_name("stub_service.py"))


def say(line: str) -> None:
    print(line, flush=True)


def main() -> int:
    options = Options(
        environment=os.environ,
        mint_admin_token=lambda home: f"token of {home.path.name}",
        say=say,
        program=lambda service: (sys.executable, "-I", STUB, service),
    )
    try:
        asyncio.run(up(Home.from_environment(os.environ), options))
    except KtError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        return int(error.kind.exit)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
