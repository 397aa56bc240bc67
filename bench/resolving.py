"""What the figures on resolution share: variables, a gateway's identity, and a worker that is connected as it."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bench.bus import bench_user, portable
from bench.system import System
from bench.worker import Worker
from libs.common.hpke import BoxPrivateKey
from libs.common.protocol.resolver import ResolveForGateway
from libs.common.subjects import gateway_subject


@dataclass(frozen=True, slots=True)
class Asker:
    """``worker`` is connected as ``gateway`` and as ``bench``; ``subject`` is where that gateway resolves."""

    worker: Worker
    subject: str
    names: Sequence[str]

    def body(self, *names: str) -> str:
        """A resolve request as a gateway sends it, in base64 for the worker."""
        key = BoxPrivateKey.generate().public.encoded
        request = ResolveForGateway(references=list(names), recipient_key=key, purpose="reconnect")
        return base64.b64encode(request.model_dump_json().encode()).decode()


@contextmanager
def asking(system: System, gateway: str, variables: int) -> Iterator[Asker]:
    names = [f"{gateway}_{number:03}".upper().replace("-", "_") for number in range(variables)]
    system.create(*names)
    system.settle()
    with Worker("bus") as worker:
        worker.ask("connect", name="bench", url=system.nats_url, identity=portable(bench_user(system.home)))
        identity, credentials = system.gateway_identity(gateway)
        worker.ask("connect", name="gateway", url=system.nats_url, identity=portable(credentials))
        yield Asker(worker, gateway_subject(identity, "resolve"), names)
