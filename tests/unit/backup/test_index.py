"""The index names every value that an event brought, of every kind, and none besides."""

from __future__ import annotations

import io
from dataclasses import replace

from contracts.examples import METADATA
from libs.backup.archive import Archive, ArchiveWriter
from libs.backup.index import Index
from libs.common.direct_get import StoredMessage
from libs.common.events import Resource, encode
from libs.common.events.config_variable import (
    ConfigVariableCreated,
    ConfigVariableRolledBack,
    ConfigVariableRotated,
    ConfigVariableTakenOver,
    ConfigVariableUpdated,
    ConfigVariableVersionDestroyed,
)
from libs.common.events.git_token import GitTokenCreated
from libs.common.events.secret import SealedRef
from libs.common.events.webhook import WebhookCreated, WebhookSecretRetired, WebhookSecretRotated
from libs.common.subjects import event_subject


def sealed(number: int) -> SealedRef:
    return SealedRef(f"5b0f6f0e-3c1d-5e2a-8b4f-9a7c6d5e4f{number:02x}", f"{number:064x}")


def message(sequence: int, event: object, kind: str, name: str, org: str = "default") -> StoredMessage:
    _, body = encode(event, Resource(kind, name), replace(METADATA, org=org))
    return StoredMessage(event_subject(org, kind, name), sequence, body)


def indexed(*messages: StoredMessage) -> tuple[list[tuple[object, ...]], int]:
    file = io.BytesIO()
    writer = ArchiveWriter(file)
    with writer.lines("index") as lines:
        index = Index(lines)
        index.add(messages)
    writer.finish()
    columns = ("org", "kind", "name", "version", "sealed_id", "sequence")
    return [tuple(line[c] for c in columns) for line in Archive.read(file).lines("index")], index.unreadable


def test_every_value_of_a_secret_is_named_with_its_version() -> None:
    kind, name = "config_variable", "A"
    lines, unreadable = indexed(
        message(1, ConfigVariableCreated(1, "", True, sealed(1)), kind, name),
        message(2, ConfigVariableRotated(2, sealed(2)), kind, name),
        message(3, ConfigVariableUpdated("text", True), kind, name),
        message(4, ConfigVariableVersionDestroyed(1, sealed(1)), kind, name),
        message(5, ConfigVariableRolledBack(3, 2, sealed(3)), kind, name),
        message(6, ConfigVariableTakenOver(1, "", True, sealed(4)), kind, "OLD"),
        message(7, GitTokenCreated(1, "", True, sealed(5)), "git_token", "A", org="acme"),
    )
    assert unreadable == 0
    assert lines == [
        ("default", kind, name, 1, sealed(1).id, 1),
        ("default", kind, name, 2, sealed(2).id, 2),
        ("default", kind, name, 3, sealed(3).id, 5),
        ("default", kind, "OLD", 1, sealed(4).id, 6),
        ("acme", "git_token", "A", 1, sealed(5).id, 7),
    ]


def test_the_secrets_of_a_webhook_are_named_by_the_kind_they_are_sealed_for_and_counted() -> None:
    one, other = "8b0f2f7e-3c39-5d0f-9a51-5c1c5e3a7d10", "8b0f2f7e-3c39-5d0f-9a51-5c1c5e3a7d11"
    created = [WebhookCreated("https://example.com/hook", ("*",), "", sealed(number)) for number in (1, 2)]
    lines, _ = indexed(
        message(1, created[0], "webhook", one),
        message(2, created[1], "webhook", other),
        message(3, WebhookSecretRotated(sealed(3), "2026-11-24T07:39:03.192164Z"), "webhook", one),
        message(4, WebhookSecretRetired((sealed(1),)), "webhook", one),
    )
    assert lines == [
        ("default", "webhook_secret", one, 1, sealed(1).id, 1),
        ("default", "webhook_secret", other, 1, sealed(2).id, 2),
        ("default", "webhook_secret", one, 2, sealed(3).id, 3),
    ]


def test_what_can_not_be_read_is_counted_and_holds_nothing_up() -> None:
    good = message(3, ConfigVariableCreated(1, "", True, sealed(1)), "config_variable", "A")
    foreign = StoredMessage(event_subject("default", "config_variable", "B"), 2, good.body)
    lines, unreadable = indexed(StoredMessage(good.subject, 1, b"{}"), foreign, good)
    assert (len(lines), unreadable) == (1, 2)
