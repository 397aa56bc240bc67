"""One real system for all figures that need one: `kt up` in a home that is removed afterwards."""

from __future__ import annotations

import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.stage import Stage, call
from libs.common.messaging.identities import Credentials, NkeyKind, credentials, new_seed, public_key
from libs.common.subjects import GatewayIdentity
from libs.engines.home import Home


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class System:
    """A running system and what a figure asks of it."""

    stage: Stage
    api_url: str

    @property
    def home(self) -> Home:
        return Home(self.stage.home)

    @property
    def nats_url(self) -> str:
        return self.home.state().nats_url

    @property
    def admin_token(self) -> str:
        return self.home.admin_token.read_text().strip()

    def ask(self, method: str, path: str, body: object = None, *, token: str = "", status: int = 200) -> Any:
        """One request to the API; any other status than the expected one ends the bench."""
        answer = call(method, self.api_url + path, token or self.admin_token, body)
        if answer.status != status:
            raise RuntimeError(f"{method} {path} answered {answer.status}: {answer.body}")
        return answer.body

    def create(self, *names: str) -> None:
        for name in names:
            body = {"name": name, "value": new_key(), "sensitive": True}
            self.ask("POST", "/v1/config-variables", body, status=201)

    def token(self, role: str, name: str, *references: str) -> str:
        words = ("token", "issue", "--role", role, "--name", name, "--ttl", "1h")
        return self.stage.kt(*words, *(word for glob in references for word in ("--reference", glob))).strip()

    def gateway_identity(self, name: str) -> tuple[GatewayIdentity, Credentials]:
        """Who a gateway is on the bus and what a gateway connects to the bus with, got as a gateway gets it."""
        seed = new_seed(NkeyKind.USER)
        body = {"user_public_key": public_key(seed)}
        granted = self.ask("POST", "/v1/machine/bus-identity", body, token=self.token("gateway", name, "*"))
        identity = GatewayIdentity(granted["org"], granted["name"], granted["token_id"])
        return identity, credentials(granted["user_jwt"], seed)

    def settle(self) -> None:
        """Return once the projections have caught up, so that their work is in nobody's measurement."""
        self.ask("GET", "/v1/config-variables?limit=1")
        self.ask("GET", "/v1/events?limit=1")


def new_key() -> str:
    """As long as a provider's key, and as random."""
    return f"sk-proj-{secrets.token_urlsafe(36)}"


@contextmanager
def running_system() -> Iterator[System]:
    with tempfile.TemporaryDirectory(prefix="kt-bench-") as folder:
        stage = Stage(Path(folder) / "home")
        try:
            progress("starting a system")
            yield System(stage, stage.start("up", until="ready ").split()[1])
        finally:
            stage.close()
