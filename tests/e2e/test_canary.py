"""The canary test: unique secrets go through every path, then every byte left behind is searched for them."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import jwt
import psycopg
import pytest

from demo.__main__ import CHAT, CONFIG
from demo.provider import Provider
from demo.stage import Answer, call, eventually
from libs.common.messaging.identities import NkeyKind, new_seed, public_key
from tests.e2e.bus_tap import Tap, tapped
from tests.e2e.conftest import System, running
from tests.e2e.receiver import Receiver
from tests.e2e.secrets_search import Search
from tests.engines import PostgresEngine
from tests.git_server import git_server
from tests.unit.backup.independent_reader import members

VARIABLES = "/v1/config-variables"
WEBHOOKS = "/v1/webhooks"
MASTER_KEY_FILE = "master.key"
SIGNING_KEYS_FILE = "jwt.keys"


@dataclass
class Canaries:
    """One secret for each path, with characters that encodings change."""

    by_path: dict[str, str] = field(default_factory=dict)

    def new(self, path: str) -> str:
        value = f"cnry-{secrets.token_hex(6)}/+ &={secrets.token_hex(6)}"
        self.by_path[path] = value
        return value

    def header_safe(self, path: str) -> str:
        value = f"cnry{secrets.token_hex(12)}"
        self.by_path[path] = value
        return value

    def webhook_secret(self, path: str) -> str:
        """The key in it is text, so that it is looked for in every form as well."""
        key = f"cnry{secrets.token_hex(6)}GHIJKLMNOPQRSTUV"
        value = base64.b64encode(key.encode()).decode()
        self.by_path |= {path: value, f"key in the {path}": key}
        return f"whsec_{value}"


@dataclass
class Witness:
    """What came back to callers and what process listings showed while the secrets were in use."""

    answers: bytearray = field(default_factory=bytearray)
    listings: set[bytes] = field(default_factory=set)
    _stop: threading.Event = field(default_factory=threading.Event)

    def heard(self, answer: Answer) -> Answer:
        self.answers += json.dumps([answer.status, dict(answer.headers), answer.body]).encode() + b"\n"
        return answer

    def watch(self) -> None:
        while not self._stop.wait(0.1):
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    self.listings.add((process / "cmdline").read_bytes())
                except OSError:
                    continue

    def stop(self) -> None:
        self._stop.set()


@pytest.fixture
def older(postgres_server: PostgresEngine) -> Iterator[str]:
    """A database with a table of older plaintext rows: the one place where their values may be in clear."""
    with postgres_server.database() as database:
        with psycopg.connect(database.admin_dsn, autocommit=True) as connection:
            connection.execute(
                "CREATE TABLE config_variables (name text, value text, description text, sensitive boolean)"
            )
        yield database.admin_dsn


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, older: str) -> Iterator[tuple[System, Tap, Witness]]:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    witness = Witness()
    watcher = threading.Thread(target=witness.watch)
    settings = {
        "KEEPTRUSTS_LEGACY_POSTGRES_DSN": older,
        "KEEPTRUSTS_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.1/32",
    }
    for system in running(tmp_path, **settings):
        state = json.loads((system.stage.home / "state.json").read_text())
        with tapped(system.stage.home / "identities", state["nats_url"]) as tap:
            watcher.start()
            try:
                yield system, tap, witness
            finally:
                witness.stop()
                watcher.join()


def raw_request(api: str, method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
    parts = urlsplit(api)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
    try:
        connection.request(method, path, body, headers)
        reply = connection.getresponse()
        text = reply.read().decode(errors="replace")
        return Answer(reply.status, dict(reply.getheaders()), text)
    finally:
        connection.close()


def bad_requests(system: System, canaries: Canaries, witness: Witness) -> None:
    """Requests that are refused and hold a secret where it does not belong."""
    bodies: dict[str, Any] = {
        "value of a wrong type": {"name": "BAD", "value": [canaries.new("value of a wrong type")]},
        "value as an object": {"name": "BAD", "value": {"key": canaries.new("value as an object")}},
        "unknown field": {"name": "BAD", "value": "x", "secret": canaries.new("unknown field")},
        "name of an unknown field": {"name": "BAD", "value": "x", canaries.new("name of an unknown field"): 1},
        "name": {"name": canaries.new("name"), "value": "x"},
        "sensitive": {"name": "BAD", "value": "x", "sensitive": canaries.new("sensitive")},
        "description of a wrong type": {
            "name": "BAD",
            "value": "x",
            "description": [canaries.new("description of a wrong type")],
        },
        "value with a NUL": {"name": "BAD", "value": canaries.new("value with a NUL") + "\0"},
        "value too long": {"name": "BAD", "value": canaries.new("value too long") * 3000},
    }
    for path, body in bodies.items():
        answer = witness.heard(system.http("POST", VARIABLES, body))
        assert 400 <= answer.status < 500, path
    json_headers = {"Authorization": f"Bearer {system.token}", "Content-Type": "application/json"}
    for path, raw in {
        "broken JSON": f'{{"name": "BAD", "value": "{canaries.new("broken JSON")}'.encode(),
        "JSON text": f'"{canaries.new("JSON text")}"'.encode(),
        "bytes that are not UTF-8": b'{"name": "BAD", "value": "'
        + canaries.new("bytes that are not UTF-8").encode()
        + b'\xff"}',
    }.items():
        assert 400 <= witness.heard(raw_request(system.api, "POST", VARIABLES, raw, json_headers)).status < 500, path
    for path, header in (
        ("Idempotency-Key", "Idempotency-Key"),
        ("If-Match", "If-Match"),
        ("X-Request-Id", "X-Request-Id"),
    ):
        value = canaries.new(path)
        witness.heard(
            system.http("PATCH", f"{VARIABLES}/NONE", {"description": "x"}, **{header.replace("-", "_"): value})
        )
    token = canaries.new("bearer token")
    assert witness.heard(call("GET", f"{system.api}{VARIABLES}", token)).status == 401
    quoted_word = json.dumps(canaries.new("word of a filter"))
    exported_word = json.dumps(canaries.new("word of the filter of an export"))
    for path, target in {
        "path": f"{VARIABLES}/{quote(canaries.new('path'), safe='')}",
        "query": f"{VARIABLES}?prefix={quote(canaries.new('query'))}&nothing={quote(canaries.new('unknown query'))}",
        "filter": f"/v1/events?filter={quote('resource=' + canaries.new('filter') + ' OR')}",
        "word of a filter": f"/v1/events?filter={quote(f'resource={quoted_word}')}",
        "export": f"/v1/events/export?filter={quote('resource=' + canaries.new('filter of an export') + ' OR')}",
        "word of an export's filter": f"/v1/events/export?filter={quote(f'resource={exported_word}')}",
        "export to resume": f"/v1/events/export?resume={quote(canaries.new('export')[:36])}",
        "cursor": f"/v1/events?cursor={quote(canaries.new('cursor'))}",
        "route": f"/{quote(canaries.new('route'))}",
    }.items():
        assert witness.heard(system.http("GET", target)).status >= 400 or path in ("query", "word of a filter"), path
    pasted = {"references": ["sk-" + canaries.header_safe("key in the place of a reference")]}
    answer = system.http("POST", "/v1/machine/resolve", pasted)
    assert answer.status in (200, 409, 422)


def good_requests(system: System, canaries: Canaries, witness: Witness) -> None:
    created = canaries.new("create")
    assert witness.heard(system.create("GOOD", created, description="d")).status == 201
    assert witness.heard(system.create("GOOD", canaries.new("create again"))).status == 409
    assert witness.heard(system.http("PATCH", f"{VARIABLES}/GOOD", {"value": canaries.new("patch")})).status == 422
    rotated = {"value": canaries.new("rotate")}
    first = witness.heard(system.http("POST", f"{VARIABLES}/GOOD/rotate", rotated, Idempotency_Key="k1"))
    again = witness.heard(system.http("POST", f"{VARIABLES}/GOOD/rotate", rotated, Idempotency_Key="k1"))
    assert (first.status, again.status, first.body["version"]) == (200, 200, again.body["version"])
    other = {"value": canaries.new("another value under the same Idempotency-Key")}
    assert witness.heard(system.http("POST", f"{VARIABLES}/GOOD/rotate", other, Idempotency_Key="k1")).status == 422
    assert witness.heard(system.http("POST", f"{VARIABLES}/GOOD/rollback", {"version": 1})).status == 200
    for path in ("", "/GOOD", "/GOOD/history"):
        assert witness.heard(system.http("GET", VARIABLES + path)).status == 200
    piped = canaries.new("kt from standard input")
    witness.answers += system.kt("config-variables", "create", "PIPED", stdin=piped + "\n").encode()
    witness.answers += system.kt("vars", "get", "PIPED", "--output", "json").encode()
    file = Path(system.stage.home).parent / "value.txt"
    file.write_text(canaries.new("kt from a file"))
    witness.answers += system.kt("vars", "rotate", "PIPED", "--value-file", str(file)).encode()
    file.unlink()
    resolved = system.http("POST", "/v1/machine/resolve", {"references": ["GOOD", "PIPED"]})
    assert created in json.dumps(resolved.body), "the machine that may resolve gets the value, and nobody else"
    partial = witness.heard(system.http("POST", "/v1/machine/resolve", {"references": ["GOOD", "NONE"]}))
    assert partial.status == 409
    assert witness.heard(system.http("DELETE", f"{VARIABLES}/PIPED")).status == 204


def gateway_requests(system: System, canaries: Canaries, witness: Witness, config_dumps: bytearray) -> None:
    first, second = canaries.header_safe("gateway"), canaries.header_safe("gateway after rotation")
    provider = Provider(first, second)
    assert witness.heard(system.create("PROVIDER_KEY", first)).status == 201
    config = system.stage.home.parent / "policy-config.yaml"
    config.write_text(CONFIG.format(url=provider.url, store="PROVIDER_KEY"))
    line = system.stage.start(
        "gateway", "run", "--listen", "127.0.0.1:0", "--policy-config", str(config), until="ready "
    )
    gateway = line.split()[1]
    client = system.kt("token", "issue", "--role", "client", "--name", "c1", "--ttl", "1h").strip()
    canaries.by_path["client token"] = client
    target = f"{gateway}/v1/chat/completions"
    assert witness.heard(call("POST", target, client, CHAT)).status == 200
    query = quote(canaries.new("query of a request through a gateway"), safe="")
    headers = {
        name: canaries.header_safe(f"{name} of a request through a gateway") for name in ("X-Note", "User-Agent")
    }
    body = {**CHAT, "user": canaries.new("body of a request through a gateway")}
    assert witness.heard(call("POST", f"{target}?note={query}", client, body, headers)).status == 200
    key_in_url = quote(canaries.new("key in the URL of a request through a gateway"), safe="")
    assert witness.heard(call("POST", f"{target}?api_key={key_in_url}", client, CHAT)).status == 400
    wrong = canaries.header_safe("wrong client credential")
    assert witness.heard(call("POST", target, wrong, CHAT)).status == 401
    rotation = witness.heard(system.http("POST", f"{VARIABLES}/PROVIDER_KEY/rotate", {"value": second}))
    assert rotation.status == 200

    def adopted() -> bool:
        call("POST", target, client, CHAT)
        return provider.seen[second] > 0

    eventually(adopted, "the new key arrives")
    assert set(provider.seen) == {first, second}
    witness.answers += system.kt("gateway", "status", "--gateway-url", gateway, "--output", "json").encode()
    witness.answers += system.kt("gateway", "list", "--output", "json").encode()
    for path in ("/config_dump?include_eds", "/clusters", "/stats", "/certs", "/server_info"):
        config_dumps += envoy_admin(path)
    config.write_text(CONFIG.format(url=provider.url, store=canaries.header_safe("reference that does not exist")))
    system.kt("gateway", "reload", "--gateway-url", gateway, code=3)
    del canaries.by_path["reference that does not exist"]
    config.write_text(CONFIG.format(url=provider.url, store="sk-" + canaries.header_safe("key in the config file")))
    system.kt("gateway", "reload", "--gateway-url", gateway, code=2)
    config.unlink()
    provider.close()


def webhook_requests(system: System, canaries: Canaries, witness: Witness) -> None:
    """Secrets that sign, given and made; what a receiver gets must not hold them, nor any value."""
    receiver = Receiver()
    body = {"url": receiver.url, "event_types": ["*"]}
    given = {**body, "secret": canaries.webhook_secret("webhook secret")}
    created = witness.heard(system.http("POST", WEBHOOKS, given, Idempotency_Key="w1"))
    assert (created.status, created.body["secret"]) == (201, None)
    assert witness.heard(system.http("POST", WEBHOOKS, given, Idempotency_Key="w1")).status == 201
    webhook = f"{WEBHOOKS}/{created.body['id']}"
    made = system.http("POST", f"{webhook}/rotate-secret", {}, Idempotency_Key="w2")
    assert made.status == 200
    canaries.by_path["webhook secret that was made"] = made.body["secret"].removeprefix("whsec_")
    again = witness.heard(system.http("POST", f"{webhook}/rotate-secret", {}, Idempotency_Key="w2"))
    assert (again.status, again.body["secret"]) == (200, None), "it is shown once"
    file = system.stage.home.parent / "receiver.secret"
    file.write_text(canaries.webhook_secret("webhook secret from a file"))
    rotate = ("webhooks", "rotate-secret", created.body["id"], "--secret-file", str(file), "--output", "json")
    witness.answers += system.kt(*rotate).encode()
    file.unlink()
    bad: dict[str, tuple[str, str, dict[str, Any]]] = {
        "weak webhook secret": ("POST", WEBHOOKS, {**body, "secret": "whsec_" + canaries.new("weak webhook secret")}),
        "webhook secret of a wrong type": (
            "POST",
            WEBHOOKS,
            {**body, "secret": [canaries.webhook_secret("webhook secret of a wrong type")]},
        ),
        "webhook secret in a PATCH": (
            "PATCH",
            webhook,
            {"secret": canaries.webhook_secret("webhook secret in a PATCH")},
        ),
        "credential in a URL": (
            "POST",
            WEBHOOKS,
            {**body, "url": f"{receiver.url}?token={canaries.header_safe('credential in a URL')}"},
        ),
        "password in a URL": (
            "POST",
            WEBHOOKS,
            {**body, "url": receiver.url.replace("//", f"//u:{canaries.header_safe('password in a URL')}@")},
        ),
    }
    for path, (method, target, document) in bad.items():
        assert witness.heard(system.http(method, target, document)).status == 422, path
    told = "config_variable/WEBHOOK_TOLD"
    assert system.create("WEBHOOK_TOLD", canaries.new("value that receivers are told of")).status == 201
    eventually(lambda: receiver.first("kt.config_variable.created.v1", told) is not None, "it is told", 30)
    for target in (WEBHOOKS, webhook, f"{webhook}/deliveries"):
        assert witness.heard(system.http("GET", target)).status == 200
    assert witness.heard(system.http("DELETE", webhook)).status == 204
    receiver.close()
    for delivery in receiver.got:
        witness.answers += json.dumps(delivery.headers).encode() + delivery.body


def git_requests(system: System, canaries: Canaries, witness: Witness) -> None:
    """A gateway that reads its configuration from a private repository, and goes on when the token is rotated."""
    key, old, new = canaries.header_safe("key"), canaries.new("Git access token"), canaries.new("rotated Git token")
    provider = Provider(key)
    assert witness.heard(system.create("KEY_OF_A_REPOSITORY", key)).status == 201
    stored = {"name": "CONFIG_REPO", "value": old}
    assert witness.heard(system.http("POST", "/v1/git-tokens", stored)).status == 201
    token = system.stage.home.parent / "gateway.token"
    references = ("--reference", "*", "--reference", "git_token/CONFIG_REPO")
    issued = system.kt("token", "issue", "--role", "gateway", "--name", "from-git", "--ttl", "1h", *references)
    token.write_text(issued)
    canaries.by_path["token of a gateway"] = issued.strip()
    config = {"config.yaml": CONFIG.format(url=provider.url, store="KEY_OF_A_REPOSITORY")}
    with git_server(old) as server:
        commits = [server.commit(config)]
        place = ("--policy-config", f"git+{server.url}#config.yaml@main", "--git-token", "CONFIG_REPO")
        words = ("--name", "from-git", "--token-file", str(token), "--listen", "127.0.0.1:0", "--git-poll", "0")
        gateway = system.stage.start("gateway", "run", *place, *words, until="ready ").split()[1]
        server.tokens = {new}
        commits.append(server.commit({**config, "README": "changed"}))
        control = (system.stage.home / "gateways/from-git/control.token").read_text().strip()
        own = f"{gateway}/-/keeptrusts/v1"
        assert witness.heard(call("POST", f"{own}/reload", control)).status == 403
        rotated = system.http("POST", "/v1/git-tokens/CONFIG_REPO/rotate", {"value": new})
        assert witness.heard(rotated).status == 200

        def applied() -> bool:
            told = witness.heard(call("GET", f"{own}/status", control))
            return bool(told.body["source"]["commit"] == commits[1])

        eventually(applied, "the rotated token opens the repository", 30)
        witness.answers += system.kt("gateway", "status", "--name", "from-git").encode()
        on_record = f"/v1/events?filter={quote('type=kt.gateway.config_source_applied.v1')}"

        def recorded() -> bool:
            listed = system.http("GET", on_record).body["items"]
            return [event["data"]["detail"]["commit"] for event in listed] == commits[::-1]

        eventually(recorded, "each applied commit is on record", 30)
    token.unlink()
    provider.close()


def key_requests(system: System, canaries: Canaries, witness: Witness) -> None:
    """A deep rotation, and all that `kt keys` says. The master key lies in one file, and the API never sees it."""
    master_key = (system.stage.home / MASTER_KEY_FILE).read_text().strip()
    canaries.by_path |= {"master key": master_key, "master key in hex": base64.b64decode(master_key).hex()}
    for words in (("rotate", "--dry-run"), ("rotate", "--deep", "--output", "json"), ("status", "--output", "json")):
        witness.answers += system.kt("keys", *words).encode()
    resolved = system.http("POST", "/v1/machine/resolve", {"references": ["GOOD"]})
    assert resolved.status == 200


def envoy_admin(path: str) -> bytes:
    """Ask the Envoy of this test's gateway; its admin socket lies in the temporary directory."""
    (admin,) = Path(os.environ["TMPDIR"]).glob("kt-gateway-*/admin.sock")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(admin))
        connection.sendall(f"GET {path} HTTP/1.1\r\nhost: envoy\r\nconnection: close\r\n\r\n".encode())
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    assert b" 200 " in answer[:20], answer[:200]
    return answer


def older_rows(system: System, canaries: Canaries, witness: Witness, older: str) -> None:
    """Rows of an earlier system: used in place, taken over by each kind of change, refused, imported."""
    rows = {name: canaries.new(f"older row: {name}") for name in ("READ", "PATCHED", "ROTATED", "GONE", "MIGRATED")}
    bad = {name: canaries.new(f"older row: {name}") for name in ("bad/name", "TWICE", "TOLD")}
    with psycopg.connect(older, autocommit=True) as connection:
        insert = "INSERT INTO config_variables VALUES (%s, %s, %s, true)"
        both = [*rows.items(), *bad.items(), ("TWICE", canaries.new("older row: TWICE again"))]
        described = [(name, value, f"it is {value}" if name == "TOLD" else "") for name, value in both]
        connection.cursor().executemany(insert, described)
    assert rows["READ"] in json.dumps(system.http("POST", "/v1/machine/resolve", {"references": ["READ"]}).body)
    for path in ("?limit=500", "?legacy=true", "/READ", "/READ/history", "/TOLD", "/TWICE"):
        witness.heard(system.http("GET", f"{VARIABLES}{path}"))
    assert witness.heard(system.create("READ", canaries.new("create over an older row"))).status == 409
    assert witness.heard(system.http("PATCH", f"{VARIABLES}/PATCHED", {"description": "d"})).status == 200
    rotated = {"value": canaries.new("rotate an older row")}
    assert witness.heard(system.http("POST", f"{VARIABLES}/ROTATED/rotate", rotated)).status == 200
    assert witness.heard(system.http("DELETE", f"{VARIABLES}/GONE")).status == 204
    assert witness.heard(system.http("PATCH", f"{VARIABLES}/TOLD", {"description": "d"})).status == 404
    witness.answers += system.kt("legacy", "migrate", "MIGRATED", "--yes").encode()
    for words in (("legacy", "status"), ("doctor",)):
        witness.answers += system.kt(*words, "--output", "json").encode()
    values = [canaries.new("import from dotenv"), canaries.new("import of a bad line"), canaries.new("import twice")]
    text = "IMPORTED='{0}'\nbad/line='{1}'\nDOUBLE='{2}'\nDOUBLE='{2}x'\n{1}\n".format(*values)
    for again in (("--dry-run",), (), ("--on-conflict", "rotate")):
        printed = system.kt("legacy", "import", "-", "--format", "dotenv", *again, stdin=text, code=1)
        witness.answers += printed.encode()
    broken = f'name,value\nCSV,{canaries.new("import from CSV")}\nOPEN,"{canaries.new("import of an open quote")}'
    witness.answers += system.kt("legacy", "import", "-", "--format", "csv", stdin=broken, code=2).encode()

    def left() -> set[str]:
        with psycopg.connect(older, autocommit=True) as connection:
            return {row[0] for row in connection.execute("SELECT name FROM config_variables").fetchall()}

    eventually(lambda: left() == {"READ", *bad}, "rows that were taken over are deleted", 30)


def token_requests(system: System, canaries: Canaries, witness: Witness) -> None:
    """Signing keys and tokens: in force, refused, revoked, leaked, and made up by strangers."""
    file = system.stage.home / SIGNING_KEYS_FILE
    before, quoted = file.read_text().strip(), canaries.header_safe("signing key in quotes") + secrets.token_hex(16)
    file.write_text(f'{before},2026q:"{quoted}"')
    system.kt("reload", code=2)
    witness.answers += system.kt("status", "--output", "json").encode()
    added = canaries.header_safe("signing key") + secrets.token_hex(16)
    file.write_text(f"{before},2026b:{added}")
    witness.answers += system.kt("reload").encode()

    for role in ("operator", "gateway"):
        token = system.kt("token", "issue", "--role", role, "--name", f"lost-{role}", "--ttl", "1h").strip()
        canaries.by_path[f"{role} token"] = token.rpartition(".")[2]
        body = {"user_public_key": public_key(new_seed(NkeyKind.USER))} if role == "gateway" else None
        path = "/v1/machine/bus-identity" if role == "gateway" else f"{VARIABLES}?limit=1"
        method = "POST" if role == "gateway" else "GET"
        assert call(method, f"{system.api}{path}", token, body).status == 200
        leaked = Path(system.stage.home).parent / "leaked.token"
        leaked.write_text(token)
        witness.answers += system.kt("token", "revoke", "--leaked-token", str(leaked)).encode()
        leaked.unlink()
        assert witness.heard(call(method, f"{system.api}{path}", token, body)).status == 401
        asked = {"token": token}
        assert witness.heard(system.http("POST", "/v1/tokens/introspect", asked)).body["active"] is False
    claims = canaries.header_safe("claims of a token that nobody signed")
    made_up = jwt.encode({"jti": claims, "sub": claims}, secrets.token_bytes(32), headers={"kid": claims})
    assert witness.heard(call("GET", f"{system.api}{VARIABLES}", made_up)).status == 401
    witness.answers += system.kt("token", "list", "--output", "json").encode()

    def on_record() -> bool:
        query = ("events", "list", "--filter", "type=kt.token.refused.v1", "--output", "json")
        reasons = {event["data"]["detail"]["reason"] for event in json.loads(system.kt(*query))["items"]}
        return {"revoked", "unknown_key"} <= reasons

    eventually(on_record, "refused tokens are on record", 30)


def crash(system: System, canaries: Canaries, witness: Witness) -> None:
    """kill -9 of the services a value passes, while it passes."""
    for victim in ("keys", "command", "api"):
        document = json.loads(system.kt("status", "--output", "json"))
        pid = next(p["pid"] for p in document["processes"] if p["name"] == victim)
        stop = threading.Event()

        def create(name: str, value: str, stopped: threading.Event = stop) -> None:
            for number in range(200):
                if stopped.is_set():
                    return
                try:
                    witness.heard(system.create(f"{name}.{number}", value))
                except OSError:
                    time.sleep(0.02)

        thread = threading.Thread(target=create, args=(f"CRASH.{victim}", canaries.new(f"crash of {victim}")))
        thread.start()
        time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.3)
        stop.set()
        thread.join(20)
        eventually(lambda: is_ready(system), f"ready again after the death of {victim}", 30)


def backup(system: System, canaries: Canaries, witness: Witness) -> None:
    """An archive, what it unpacks to, and a home that was made of it. Only ``kt recover`` shows a value."""
    folder, key = system.stage.home.parent, str(system.stage.home / "master.key")
    archive, value = str(folder / "backup.tar"), canaries.new("recovered from a backup")
    assert witness.heard(system.create("SAVED", value)).status == 201
    witness.answers += system.kt("backup", "create", archive, "--output", "json").encode()
    witness.answers += system.kt("backup", "verify", archive, "--master-key-file", key).encode()
    witness.answers += system.kt("recover", archive, "--list").encode()
    assert system.kt("recover", archive, "SAVED", "--master-key-file", key) == value
    for name, content in members(archive).items():
        unpacked = folder / "unpacked" / name.removesuffix(".gz")
        unpacked.parent.mkdir(parents=True, exist_ok=True)
        unpacked.write_bytes(gzip.decompress(content) if name.endswith(".gz") else content)
    witness.answers += system.kt("backup", "restore", archive, "--into", str(folder / "restored")).encode()
    # Its tables hold the rows that lie unpacked, and to search them takes as long as to search the system's.
    shutil.rmtree(folder / "restored" / "postgres")


def is_ready(system: System) -> bool:
    try:
        return system.http("GET", "/readyz").status == 200
    except OSError:
        return False


@pytest.mark.timeout(300)
def test_no_secret_is_left_behind_anywhere(watched: tuple[System, Tap, Witness], older: str, tmp_path: Path) -> None:
    system, tap, witness = watched
    canaries, config_dumps = Canaries(), bytearray()
    shown = canaries.new("not sensitive")
    assert system.create("SHOWN", shown, sensitive=False).status == 201
    assert system.http("GET", f"{VARIABLES}/SHOWN").body["value"] == shown
    good_requests(system, canaries, witness)
    bad_requests(system, canaries, witness)
    older_rows(system, canaries, witness, older)
    gateway_requests(system, canaries, witness, config_dumps)
    webhook_requests(system, canaries, witness)
    git_requests(system, canaries, witness)
    key_requests(system, canaries, witness)
    token_requests(system, canaries, witness)
    crash(system, canaries, witness)
    backup(system, canaries, witness)
    witness.answers += system.kt("events", "list", "--limit", "500", "--output", "json").encode()
    search = Search(canaries.by_path)
    # The words of a question travel to the service that answers it; they may not be stored, logged or repeated.
    on_the_bus = Search(
        {
            path: secret
            for path, secret in canaries.by_path.items()
            if path not in ("filter", "word of a filter", "cursor")
        }
    )
    found = [
        *on_the_bus.bytes(bytes(tap.heard), "the bus"),
        *search.bytes(bytes(witness.answers), "answers to callers"),
        *search.bytes(b"\n".join(witness.listings), "process listings"),
        *search.bytes(bytes(config_dumps), "Envoy's admin interface"),
    ]
    system.stage.close()
    found += search.files(tmp_path, leaving_out={MASTER_KEY_FILE, SIGNING_KEYS_FILE})
    assert sorted(set(found)) == []
    assert tap.messages > 500, "the tap heard the system"
    assert search.searched > 30_000_000, "PostgreSQL and its WAL were searched"
