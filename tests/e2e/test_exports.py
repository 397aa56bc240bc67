"""Exports and reports of a whole system: as a user asks for them, as an auditor checks them."""

from __future__ import annotations

import csv
import html.parser
import io
import json
import tarfile
import urllib.request
from pathlib import Path

import pytest
import zstandard

from demo.stage import call
from tests.e2e.conftest import System

VALUE = "sk-canary-9f1c4e77d0b84a21"


@pytest.fixture(scope="module")
def used(system: System) -> System:
    """Four changes, an access, a failure, tokens."""
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        system.create(name, f"{VALUE}-{name}")
    system.http("POST", "/v1/config-variables/OPENAI_API_KEY/rotate", {"value": f"{VALUE}-2"})
    machine = system.kt("token", "issue", "--role", "machine", "--name", "=cmd|calc", "--ttl", "1h", code=2)
    assert not machine
    machine = system.kt("token", "issue", "--role", "machine", "--name", "worker", "--ttl", "1h").strip()
    for reference in ("OPENAI_API_KEY", "MISSING"):
        call("POST", f"{system.api}/v1/machine/resolve", machine, {"references": [reference]})
    return system


def test_every_format_is_exported_and_checked_offline(used: System, tmp_path: Path) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text(used.kt("events", "keys"))
    for format_ in ("ndjson", "ocsf", "csv", "parquet"):
        directory = tmp_path / format_
        used.kt("events", "export", "--format", format_, "--out", str(directory))
        told = used.kt("events", "verify", str(directory), "--key", str(keys))
        assert "as it was signed, complete" in told
        for path in directory.iterdir():
            content = path.read_bytes()
            if path.suffix == ".zst":
                content = zstandard.ZstdDecompressor().decompressobj().decompress(content)
            assert VALUE.encode() not in content, path.name
    exported = json.loads(used.kt("events", "list", "--filter", "type=kt.audit.exported.v1", "-o", "json"))["items"]
    assert [item["data"]["detail"]["format"] for item in exported] == ["parquet", "csv", "ocsf", "ndjson"]

    (next((tmp_path / "ndjson").glob("KT_EVENTS*"))).write_bytes(b"")
    told = used.kt("events", "verify", str(tmp_path / "ndjson"), "--key", str(keys), "-o", "json", code=1)
    assert not told


def test_the_stream_over_http_is_the_same_directory(used: System, tmp_path: Path) -> None:
    keys = used.kt("events", "keys").split()
    auditor = used.kt("token", "issue", "--role", "auditor", "--name", "eve", "--ttl", "1h").strip()
    url = f"{used.api}/v1/events/export?filter=action%3Drotate"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {auditor}"})
    with urllib.request.urlopen(request, timeout=30) as answer, tarfile.open(fileobj=answer, mode="r|") as archive:
        archive.extractall(tmp_path / "x", filter="data")

    told = used.kt("events", "verify", str(tmp_path / "x"), *(word for key in keys for word in ("--key", key)))

    assert "for auditor/eve" in told
    assert "filter     action=rotate" in told
    assert (
        call(
            "GET", url, used.kt("token", "issue", "--role", "operator", "--name", "op", "--ttl", "1h").strip()
        ).status
        == 403
    )


def test_the_report_answers_the_auditor(used: System, tmp_path: Path) -> None:
    keys, out = tmp_path / "keys.txt", tmp_path / "report"
    keys.write_text(used.kt("events", "keys"))

    used.kt("events", "report", "soc2-cc6", "--from", "2020-01-01", "--key", str(keys), "--out", str(out))

    def rows(name: str) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO((out / name).read_text(), newline="")))

    changes = rows("changes.csv")
    assert {"create", "rotate", "issue"} <= {row["action"] for row in changes}
    assert {row["resource"] for row in rows("keys.csv")} == {
        "config_variable/OPENAI_API_KEY",
        "config_variable/ANTHROPIC_API_KEY",
        "signing_keys/jwt",
    }
    assert [row["resource"] for row in rows("rotations.csv")] == [
        "signing_keys/jwt",
        "config_variable/OPENAI_API_KEY",
    ]
    assert "config_variable/MISSING" in {row["resource"] for row in rows("failures.csv")}
    assert any(row["name"] == "worker" for row in rows("tokens.csv"))
    uses = {(row["actor"], row["resource"]): row["resolved"] for row in rows("access.csv")}
    assert uses["machine/worker", "config_variable/OPENAI_API_KEY"] == "1"
    known = {item["id"] for item in json.loads(used.kt("events", "list", "--limit", "500", "-o", "json"))["items"]}
    assert {row["event"] for row in changes} <= known

    page = (out / "report.html").read_text()
    assert '<b class="good">Yes.</b>' in page
    assert VALUE not in page
    links = Links()
    links.feed(page)
    assert links.found
    assert all((out / link).exists() for link in links.found)
    evidence = out / "evidence" / "KT_EVENTS"
    assert "complete" in used.kt("events", "verify", str(evidence), "--key", str(keys))
    assert not [path for path in out.rglob("*.csv") if VALUE in path.read_text()]


class Links(html.parser.HTMLParser):
    """Where a page points to; it has no script and loads nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in {"script", "img", "link", "iframe", "object", "form"}
        assert not any(name.startswith("on") or name in {"src", "style"} for name, _ in attrs)
        self.found += [value or "" for name, value in attrs if name == "href"]
