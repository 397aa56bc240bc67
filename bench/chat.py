"""A gateway before a provider that answers at once, and the request its clients send."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench.system import System
from bench.worker import Worker

POLICY = """\
pack:
  name: bench
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
      log_all_access: {log}
"""


@dataclass(frozen=True, slots=True)
class Gateway:
    """``upstream`` is the provider's worker, ``policy`` the gateway's configuration file."""

    url: str
    variable: str
    client_token: str
    policy: Path
    upstream: Worker


@contextmanager
def gateway(system: System, name: str, *, watch: bool, log: bool) -> Iterator[Gateway]:
    """A gateway of its own for one figure; with ``watch`` its provider remembers keys and times, with ``log`` every
    request goes on record."""
    variable = f"{name}_KEY".upper().replace("-", "_")
    system.create(variable)
    policy = system.stage.home.parent / f"{name}.yaml"
    with Worker("upstream") as upstream:
        port = upstream.ask("start", watch=watch)
        policy.write_text(POLICY.format(url=f"http://127.0.0.1:{port}", store=variable, log=str(log).lower()))
        options = ("--listen", "127.0.0.1:0", "--name", name, "--policy-config", str(policy))
        url = system.stage.start("gateway", "run", *options, until="ready ").split()[1]
        yield Gateway(url, variable, system.token("client", name), policy, upstream)


def chat_request(url: str, token: str) -> dict[str, object]:
    """What an SDK sends, as arguments of the load worker."""
    target = urlsplit(url)
    body = json.dumps({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]})
    head = (
        "POST /v1/chat/completions HTTP/1.1",
        f"host: {target.netloc}",
        f"authorization: Bearer {token}",
        "content-type: application/json",
        f"content-length: {len(body)}",
    )
    raw = ("\r\n".join(head) + "\r\n\r\n" + body).encode()
    return {"host": target.hostname, "port": target.port, "request": base64.b64encode(raw).decode()}
