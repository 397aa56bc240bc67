"""``kt gateway run``: what the gateway is told, and how it says that it serves."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from libs.cli.discovery import find_api
from libs.cli.documents import print_json_line
from libs.cli.session import Session
from libs.cli.terminal import styled
from libs.common.errors import KtError

if TYPE_CHECKING:
    from services.gateway.main import Ready


@dataclass(frozen=True, slots=True)
class Run:
    """What a gateway is started with; None leaves it to the environment."""

    policy_config: str
    git_token: str | None
    git_username: str | None
    git_poll_seconds: float | None
    git_allow_http: bool
    listen: str | None
    name: str | None
    allow_anonymous: bool
    concurrency: int | None


def run_here(session: Session, run: Run) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Raises:
        KtError: why the gateway could not start, or what ended it.
    """
    import uvloop  # noqa: PLC0415

    from services.gateway.main import run_gateway  # noqa: PLC0415
    from services.gateway.settings import GatewaySettings  # noqa: PLC0415

    settings = GatewaySettings.of(**settings_of(session, run))
    uvloop.run(run_gateway(settings, on_ready=lambda ready: _tell(ready, as_json=session.json)))


def settings_of(session: Session, run: Run) -> dict[str, Any]:
    """What is said on the command line, and the system that follows from it; the rest is the environment's."""
    given = {
        "policy_config": run.policy_config,
        "git_token": run.git_token,
        "git_username": run.git_username,
        "git_poll_seconds": run.git_poll_seconds,
        "git_allow_http": run.git_allow_http or None,
        "listen": run.listen,
        "name": run.name,
        "concurrency": run.concurrency,
        "allow_anonymous": run.allow_anonymous or None,
        "home": session.home.expanduser().absolute(),
        # At a terminal somebody watches, and the log is for programs.
        "log_level": "warning" if sys.stderr.isatty() and not os.environ.get("KEEPTRUSTS_LOG_LEVEL") else None,
    }
    return {name: value for name, value in given.items() if value is not None} | _system(session)


def _system(session: Session) -> dict[str, Any]:
    """Address and token, when both are found: a gateway without references to config variables needs neither.

    Raises:
        KtError: what was said of them on the command line can't be used.
    """
    try:
        target = find_api(session)
    except KtError:
        if session.api_url or session.token_file is not None:
            raise
        return {"api_url": "", "token": None}
    return {"api_url": target.url, "token": target.token.secret}


def _tell(ready: Ready, *, as_json: bool) -> None:
    """``ready URL`` on stdout; a client key that was made just now on stderr, this one time."""
    key = ready.client_key.reveal().decode() if ready.client_key is not None else None
    if as_json:
        document = {"ready": True, "url": ready.url, "name": ready.name, "client_auth": ready.client_auth}
        print_json_line(document | ({"client_key": key} if key else {}))
        return
    if key:
        print(
            f"{styled('client key', 'bold', sys.stderr)} (shown once; clients send it as API key): {key}",
            file=sys.stderr,
        )
    print(f"ready {ready.url}", flush=True)
