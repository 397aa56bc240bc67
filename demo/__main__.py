"""The story of a key: created, used by a gateway, rotated under traffic, replaced, deleted, and all of it on record.

Everything is real but the provider. Ends with 1 on the first surprise.
"""

from __future__ import annotations

import json
import secrets
import sys
import tempfile
import threading
import time
from pathlib import Path

from demo.provider import Provider
from demo.stage import Stage, Surprise, call, eventually, expect

CONFIG = """\
pack:
  name: demo
  version: 1.0.0
  enabled: true
providers:
  targets:
    - id: openai-primary
      provider: openai
      model: gpt-4o-mini
      base_url: {url}
      secret_key_ref:
        store: {store}
policies:
  chain:
    - audit-logger
policy:
  audit-logger:
    immutable: true
    retention_days: 365
    log_all_access: true
"""
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}


class Traffic:
    """One client that never stops asking; counts what it was answered."""

    def __init__(self, url: str, token: str) -> None:
        self.statuses: list[int] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(url, token), daemon=True)
        self._thread.start()

    def _run(self, url: str, token: str) -> None:
        while not self._stop.is_set():
            self.statuses.append(call("POST", f"{url}/v1/chat/completions", token, CHAT).status)

    def stop(self) -> list[int]:
        self._stop.set()
        self._thread.join(10)
        return self.statuses


class Story:
    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.first, self.second, self.third = (f"sk-proj-demo{secrets.token_hex(16)}" for _ in range(3))
        self.provider = Provider(self.first)
        self.config = stage.home.parent / "policy-config.yaml"
        self.step_number = 0

    def step(self, what: str) -> None:
        self.step_number += 1
        print(f"\n{self.step_number}. {what}", flush=True)

    @staticmethod
    def saw(what: str) -> None:
        print(f"   {what}", flush=True)

    def tell(self) -> None:
        self.start_system()
        self.create_key()
        self.start_gateway()
        self.rotate_under_traffic()
        self.replace_variable()
        self.read_audit_log()
        self.search_for_keys()

    def start_system(self) -> None:
        self.step("Start everything: NATS with JetStream, PostgreSQL, five services")
        started = time.monotonic()
        self.api = self.stage.start("up", until="ready ").split()[1]
        self.admin = (self.stage.home / "admin.token").read_text().strip()
        self.saw(f"ready at {self.api} after {time.monotonic() - started:.1f} s")

    def create_key(self) -> None:
        self.step("Create OPENAI_API_KEY as a sensitive config variable (POST /v1/config-variables)")
        body = {
            "name": "OPENAI_API_KEY",
            "value": self.first,
            "description": "OpenAI production API key",
            "sensitive": True,
        }
        answer = call("POST", f"{self.api}/v1/config-variables", self.admin, body)
        expect(answer.status == 201, f"creating answered {answer.status}: {answer.body}")
        expect(self.first not in json.dumps(answer.body), "the value came back in the answer")
        self.saw(f"201, ETag {answer.headers['etag']}; the answer shows the value as {answer.body['value']}")
        shown = call("GET", f"{self.api}/v1/config-variables/OPENAI_API_KEY", self.admin)
        expect(self.first not in json.dumps(shown.body), "the value can be read back")
        self.saw("reading it shows version 1 and no value")

    def start_gateway(self) -> None:
        self.step("Start a gateway that refers to it: secret_key_ref {store: OPENAI_API_KEY}")
        self.config.write_text(CONFIG.format(url=self.provider.url, store="OPENAI_API_KEY"))
        line = self.stage.start(
            "gateway", "run", "--listen", "127.0.0.1:0", "--policy-config", str(self.config), until="ready "
        )
        self.gateway = line.split()[1]
        words = ("token", "issue", "--role", "client", "--name", "demo-client", "--ttl", "1h")
        self.client = self.stage.kt(*words).strip()
        answer = call("POST", f"{self.gateway}/v1/chat/completions", self.client, CHAT)
        expect(answer.status == 200, f"the request through the gateway answered {answer.status}: {answer.body}")
        expect(set(self.provider.seen) == {self.first}, "the provider saw another credential than the key")
        self.saw("a request with a client token: 200; the provider saw the key and not the client's token")
        nobody = call("POST", f"{self.gateway}/v1/chat/completions", "not-a-token", CHAT)
        expect(nobody.status == 401, f"a request without a token answered {nobody.status}")
        self.saw("a request with a wrong token: 401, and nothing reached the provider")

    def rotate_under_traffic(self) -> None:
        self.step("Rotate the key while requests flow (POST …/OPENAI_API_KEY/rotate)")
        self.provider.accepted.add(self.second)
        traffic = Traffic(self.gateway, self.client)
        eventually(lambda: len(traffic.statuses) > 20, "traffic flows")
        url = f"{self.api}/v1/config-variables/OPENAI_API_KEY/rotate"
        answer = call("POST", url, self.admin, {"value": self.second})
        answered = time.monotonic()
        expect(answer.status == 200, f"rotating answered {answer.status}: {answer.body}")
        eventually(lambda: self.provider.seen[self.second] > 0, "the provider sees the new key")
        took = (time.monotonic() - answered) * 1000
        self.provider.accepted.discard(self.first)
        seen = len(traffic.statuses)
        eventually(lambda: len(traffic.statuses) > seen + 20, "traffic goes on")
        statuses = traffic.stop()
        expect(set(statuses) == {200}, f"some requests failed: {sorted(set(statuses))}")
        self.saw(
            f"version {answer.body['version']}; the provider saw the new key {max(took, 0):.0f} ms after the answer"
        )
        self.saw(f"{len(statuses)} requests, none failed, although the provider then refused the old key")

    def replace_variable(self) -> None:
        self.step("The same by hand: a second variable, a changed config, a reload, then delete the old one")
        body = {"name": "OPENAI_API_KEY_V2", "value": self.third, "sensitive": True}
        answer = call("POST", f"{self.api}/v1/config-variables", self.admin, body)
        expect(answer.status == 201, f"creating answered {answer.status}: {answer.body}")
        self.provider.accepted = {self.third}
        self.config.write_text(CONFIG.format(url=self.provider.url, store="OPENAI_API_KEY_V2"))
        self.stage.kt("gateway", "reload", "--name", "keeptrusts-proxy", "--gateway-url", self.gateway)
        status = self.stage.kt("gateway", "status", "--gateway-url", self.gateway)
        expect("OPENAI_API_KEY_V2" in status, f"the status does not show the new reference:\n{status}")
        print("\n".join(f"   {line}" for line in status.rstrip().splitlines()))
        answer = call("POST", f"{self.gateway}/v1/chat/completions", self.client, CHAT)
        expect(answer.status == 200, f"the request with the new key answered {answer.status}")
        answer = call("DELETE", f"{self.api}/v1/config-variables/OPENAI_API_KEY", self.admin)
        expect(answer.status == 204, f"deleting answered {answer.status}: {answer.body}")
        gone = call("GET", f"{self.api}/v1/config-variables/OPENAI_API_KEY", self.admin)
        expect(gone.status == 404, f"reading a deleted variable answered {gone.status}")
        self.saw("request: 200 with the new key; old variable: deleted, then 404")

    def read_audit_log(self) -> None:
        self.step("Read the audit log: kt events list --filter 'category=secret_management' --limit 50")
        log = self.stage.kt("events", "list", "--filter", "category=secret_management", "--limit", "50")
        print("\n".join(f"   {line}" for line in log.rstrip().splitlines()))
        for action in ("create", "resolve", "rotate", "delete", "load_config", "reload_config", "adopt"):
            expect(action in log, f"the log has no `{action}`")

    def search_for_keys(self) -> None:
        self.step("Search every file the system wrote for the three keys")
        needles = [key.encode() for key in (self.first, self.second, self.third)]
        searched = 0
        for path in self.stage.home.rglob("*"):
            if path.is_file() and not path.is_symlink():
                content = path.read_bytes()
                searched += len(content)
                expect(not any(needle in content for needle in needles), f"a key stands in {path.name}")
        self.saw(f"{searched / 1e6:.0f} MB searched, none found")


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="kt-demo-") as folder:
        stage = Stage(Path(folder) / "home")
        story = Story(stage)
        try:
            story.tell()
        except Surprise as surprise:
            print(f"\nSurprise: {surprise}", file=sys.stderr)
            return 1
        finally:
            stage.close()
            story.provider.close()
    print("\nThe story holds.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
