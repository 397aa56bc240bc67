"""The permissions table, read as a specification."""

import pkgutil
from importlib import import_module
from typing import Any

import pytest

from libs.common import protocol
from libs.common.messaging.rpc import Endpoint
from libs.engines.permissions import BACKING_UP, BACKUP, GATEWAY, PROVISIONING, SERVICES


def publishers(subject: str) -> set[str]:
    askers = {**SERVICES, BACKUP: BACKING_UP}
    return {name for name, permissions in askers.items() if subject in permissions.publish}


def endpoints() -> list[Endpoint[Any, Any]]:
    modules = [import_module(f"{protocol.__name__}.{m.name}") for m in pkgutil.iter_modules(protocol.__path__)]
    return [value for module in modules for value in vars(module).values() if isinstance(value, Endpoint)]


@pytest.mark.parametrize(
    ("subject", "services"),
    [
        ("kt.evt.v1.>", {"command"}),
        ("kt.access.v1.>", {"resolver"}),
        ("kt.keys.v1.open", {"resolver"}),
        ("kt.keys.v1.seal", {"command"}),
        ("kt.health.v1.*", {"api"}),
        ("kt.cmd.v1.config_variable", {"api"}),
        ("kt.cmd.v1.backup.created", {"keys"}),
        ("kt.cmd.v1.backup.restored", {"keys"}),
    ],
)
def test_who_may_publish(subject: str, services: set[str]) -> None:
    assert publishers(subject) == services


def test_no_service_may_change_a_stream() -> None:
    stream_api = {s for p in SERVICES.values() for s in p.publish if s.startswith("$JS.API.STREAM.")}
    assert stream_api == {
        f"$JS.API.STREAM.{verb}.{stream}" for verb in ("INFO", "MSG.GET") for stream in ("KT_EVENTS", "KT_ACCESS")
    }
    assert "$JS.API.STREAM.>" in PROVISIONING.publish


def test_backups_may_read_the_streams_and_have_an_archive_marked_and_nothing_else() -> None:
    others = {
        s for s in BACKING_UP.publish if not s.endswith((".KT_EVENTS", ".KT_ACCESS", ".KT_EVENTS.>", ".KT_ACCESS.>"))
    }
    assert others == {"kt.keys.v1.authenticate_backup"}
    verbs = {s.split(".")[3] for s in BACKING_UP.publish if s.startswith("$JS.API.STREAM.")}
    assert verbs == {"SNAPSHOT", "INFO"}
    assert not BACKING_UP.responses


def test_no_service_may_do_everything_below_a_root() -> None:
    allowed = {s for p in (*SERVICES.values(), GATEWAY, PROVISIONING, BACKING_UP) for s in (*p.publish, *p.subscribe)}
    assert not allowed & {">", "*", "kt.>", "$JS.>", "$JS.API.>", "_INBOX.>", "$SYS.>"}


def test_every_service_has_an_inbox_of_its_own() -> None:
    for name, permissions in SERVICES.items():
        assert [s for s in permissions.subscribe if s.startswith("_INBOX")] == [f"_INBOX.svc.{name}.>"]


@pytest.mark.parametrize("endpoint", endpoints(), ids=lambda e: e.subject)
def test_every_endpoint_can_be_served_by_its_service(endpoint: Endpoint[Any, Any]) -> None:
    served = SERVICES[endpoint.queue].subscribe
    wider = ".".join([*endpoint.subject.split(".")[:3], ">"])
    assert {f"{endpoint.subject} {endpoint.queue}", f"{wider} {endpoint.queue}", endpoint.subject} & set(served)


@pytest.mark.parametrize("endpoint", endpoints(), ids=lambda e: e.subject)
def test_every_endpoint_has_somebody_who_may_ask(endpoint: Endpoint[Any, Any]) -> None:
    is_gateway_subject = endpoint.subject.startswith("kt.gw.v1.")
    assert is_gateway_subject or publishers(endpoint.subject)
