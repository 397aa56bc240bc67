"""The webhook: an address, the events it is told of, and secrets that overlap while they are replaced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, assert_never

from libs.common.clock import rfc3339
from libs.common.decider import Decider
from libs.common.errors import KtError
from libs.common.events.patterns import checked_pattern
from libs.common.events.secret import SealedRef
from libs.common.events.webhook import (
    WebhookCreated,
    WebhookDeleted,
    WebhookDisabled,
    WebhookEvent,
    WebhookSecretRetired,
    WebhookSecretRotated,
    WebhookUpdated,
)

MAX_URL: Final = 2048
MAX_EVENT_TYPES: Final = 50
MAX_DESCRIPTION: Final = 1024
MAX_OVERLAP: Final = timedelta(days=7)
MAX_OLD_SECRETS: Final = 4
"""Each signs every delivery as long as its overlap lasts."""


@dataclass(frozen=True, slots=True)
class Create:
    url: str
    event_types: tuple[str, ...]
    description: str
    sealed: SealedRef


@dataclass(frozen=True, slots=True)
class Update:
    """What is None stays as it is."""

    url: str | None = None
    event_types: tuple[str, ...] | None = None
    description: str | None = None
    enabled: bool | None = None


@dataclass(frozen=True, slots=True)
class RotateSecret:
    """The secrets before it stay valid for ``overlap`` at most; none of them when that is zero."""

    sealed: SealedRef
    now: datetime
    overlap: timedelta


@dataclass(frozen=True, slots=True)
class RetireSecrets:
    """Retires the old secrets whose overlap is over at ``now``."""

    now: datetime


@dataclass(frozen=True, slots=True)
class Disable:
    reason: str


@dataclass(frozen=True, slots=True)
class Delete:
    pass


WebhookCommand = Create | Update | RotateSecret | RetireSecrets | Disable | Delete


@dataclass(frozen=True, slots=True)
class OldSecret:
    """Signs as well until ``until`` (RFC 3339, UTC, microseconds: in this form text sorts as time)."""

    sealed: SealedRef
    until: str


@dataclass(frozen=True, slots=True)
class Webhook:
    exists: bool = False
    url: str = ""
    event_types: tuple[str, ...] = ()
    description: str = ""
    enabled: bool = True
    disabled_reason: str = ""
    secret: SealedRef | None = None
    old_secrets: tuple[OldSecret, ...] = ()


def decide(command: WebhookCommand, state: Webhook) -> Sequence[WebhookEvent]:
    """What follows from a command; nothing when nothing would change.

    Raises:
        KtError: ``already_exists``, ``not_found``, ``conflict`` or ``invalid_request``.
    """
    if isinstance(command, Create):
        if state.exists:
            raise KtError("already_exists", "A webhook with this id exists.")
        _check(command.url, command.event_types, command.description)
        return [WebhookCreated(command.url, command.event_types, command.description, command.sealed)]
    if not state.exists:
        raise KtError("not_found", "There is no webhook with this id.", "`kt webhooks list` shows what there is.")
    match command:
        case Update():
            return _update(command, state)
        case RotateSecret():
            return _rotate(command, state)
        case RetireSecrets():
            over = tuple(old.sealed for old in state.old_secrets if old.until <= rfc3339(command.now))
            return [WebhookSecretRetired(over)] if over else []
        case Disable():
            return [WebhookDisabled(command.reason)] if state.enabled else []
        case Delete():
            return [WebhookDeleted()]
        case _:
            assert_never(command)


def evolve(state: Webhook, event: WebhookEvent) -> Webhook:
    match event:
        case WebhookCreated():
            return Webhook(True, event.url, event.event_types, event.description, secret=event.sealed)
        case WebhookUpdated():
            return replace(
                state,
                url=event.url,
                event_types=event.event_types,
                description=event.description,
                enabled=event.enabled,
                disabled_reason="",
            )
        case WebhookDisabled():
            return replace(state, enabled=False, disabled_reason=event.reason)
        case WebhookSecretRotated():
            older = tuple(replace(old, until=min(old.until, event.overlap_until)) for old in state.old_secrets)
            last = () if state.secret is None else (OldSecret(state.secret, event.overlap_until),)
            return replace(state, secret=event.sealed, old_secrets=(*older, *last))
        case WebhookSecretRetired():
            left = tuple(old for old in state.old_secrets if old.sealed not in event.retired)
            return replace(state, old_secrets=left)
        case WebhookDeleted():
            return Webhook()
        case _:
            assert_never(event)


def _update(command: Update, state: Webhook) -> Sequence[WebhookEvent]:
    changed = WebhookUpdated(
        state.url if command.url is None else command.url,
        state.event_types if command.event_types is None else command.event_types,
        state.description if command.description is None else command.description,
        state.enabled if command.enabled is None else command.enabled,
    )
    _check(changed.url, changed.event_types, changed.description)
    before = WebhookUpdated(state.url, state.event_types, state.description, state.enabled)
    return [] if changed == before else [changed]


def _rotate(command: RotateSecret, state: Webhook) -> Sequence[WebhookEvent]:
    if not timedelta() <= command.overlap <= MAX_OVERLAP:
        raise KtError("invalid_request", f"The overlap is out of range; expected 0 to {MAX_OVERLAP.days} days.")
    valid = [old for old in state.old_secrets if old.until > rfc3339(command.now)]
    if command.overlap and len(valid) >= MAX_OLD_SECRETS:
        raise KtError(
            "conflict",
            f"{len(valid)} older secrets are still valid, and each signs every delivery; nothing was changed.",
            "Wait until an overlap is over, or end all of them with an overlap of 0.",
        )
    return [WebhookSecretRotated(command.sealed, rfc3339(command.now + command.overlap))]


def _check(url: str, event_types: Sequence[str], description: str) -> None:
    if not 1 <= len(url) <= MAX_URL:
        raise KtError("invalid_request", f"The URL does not have 1 to {MAX_URL:,} characters.")
    if not 1 <= len(event_types) <= MAX_EVENT_TYPES or len(set(event_types)) != len(event_types):
        raise KtError("invalid_request", f"Expected 1 to {MAX_EVENT_TYPES} event types, each of them once.")
    for pattern in event_types:
        checked_pattern(pattern)
    if len(description) > MAX_DESCRIPTION:
        raise KtError("invalid_request", f"The description has more than {MAX_DESCRIPTION:,} characters.")


WEBHOOK: Decider[WebhookCommand, Webhook, WebhookEvent] = Decider(Webhook(), decide, evolve)
