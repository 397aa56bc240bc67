"""The Envoy of a gateway without its agent: the same listener, filters, routes and cluster, written into one file."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from services.gateway.adapters.config_file import parse_config
from services.gateway.adapters.envoy.bootstrap import Sockets, bootstrap
from services.gateway.adapters.envoy.client_filters import client_filters
from services.gateway.adapters.envoy.clusters import cluster
from services.gateway.adapters.envoy.names import secret_name
from services.gateway.adapters.envoy.process import envoy_command
from services.gateway.adapters.envoy.routes import route_configuration
from services.gateway.domain.client_auth import ClientTokens
from services.gateway.domain.routing import plan_routes

Json = dict[str, Any]

_READY_S = 15.0
_STOP_S = 5.0


@contextmanager
def fixed_envoy(policy: Path, auth: ClientTokens, key: str, directory: Path) -> Iterator[str]:
    """Run it; yields its URL. It checks the same client tokens as the gateway and always injects ``key``."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    file = directory / "fixed-envoy.json"
    file.touch(0o600)
    file.write_text(json.dumps(_configuration(policy, auth, key, directory, port)))
    with (directory / "fixed-envoy.log").open("wb") as log:
        # In a session of its own, as the gateway's is: the scheduler shares the processor out among sessions.
        process = subprocess.Popen(
            envoy_command(file, 0), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _await_listener(process, port, directory / "fixed-envoy.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _configuration(policy: Path, auth: ClientTokens, key: str, directory: Path, port: int) -> Json:
    plan = plan_routes(parse_config(policy.read_bytes(), {}))
    document = bootstrap("fixed", "127.0.0.1", port, Sockets.under(directory))
    del document["dynamic_resources"], document["layered_runtime"]
    static = document["static_resources"]
    (manager,) = static["listeners"][0]["filter_chains"][0]["filters"]
    config = manager["typed_config"]
    del config["rds"], config["access_log"]
    config["route_config"] = route_configuration(plan)
    delivered = client_filters(auth)
    config["http_filters"] = [delivered.get(entry["name"], entry) for entry in config["http_filters"]]
    # The agent's own clusters stay, because routes name them; nobody listens behind them.
    static["clusters"] += [_with_fixed_key(cluster(destination, "")) for destination in plan.destinations]
    static["secrets"] = [
        {"name": secret_name(reference), "generic_secret": {"secret": {"inline_string": key}}}
        for reference in plan.references
    ]
    return document


def _with_fixed_key(document: Json) -> Json:
    """Without a source, Envoy takes the secret of that name from its own configuration."""
    (options,) = document["typed_extension_protocol_options"].values()
    injector = options["http_filters"][0]["typed_config"]["credential"]["typed_config"]
    del injector["credential"]["sds_config"]
    return document


def _await_listener(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
        except OSError:
            time.sleep(0.05)
        else:
            return
        finally:
            connection.close()
    raise RuntimeError(f"Envoy with a fixed key did not start:\n{log.read_text()[-2000:]}")
