"""What the log says about access, gathered event by event. Every figure is the number of rows of a table, and every
row names the events it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

OLD_DAYS: Final = 90
"""A key that was set longer ago is pointed out."""

_KEYS: Final = frozenset({"config_variable", "git_token", "encryption_key", "signing_keys"})
_SET: Final = frozenset({"create", "rotate", "roll_back", "take_over", "change", "complete_deep_rotation"})
_ROTATIONS: Final = frozenset({"rotate", "rotate_secret", "change", "complete_deep_rotation"})
_ADMINISTRATIVE: Final = frozenset({"secret_management", "access_management", "audit"})


@dataclass(slots=True)
class Token:
    """A token that was issued here; times are RFC 3339, ``revoked_at`` empty while it was not revoked."""

    id: str
    role: str
    name: str
    references: str
    issued_at: str
    issued_by: str
    expires_at: str
    revoked_at: str
    events: str


@dataclass(slots=True)
class Gateway:
    name: str
    token: str
    references: str
    enrolled_at: str
    enrolled_by: str
    event: str


@dataclass(slots=True)
class Use:
    """How often an actor was given a secret, or was refused it."""

    actor: str
    resource: str
    resolved: int = 0
    refused: int = 0
    first_at: str = ""
    last_at: str = ""
    first_event: str = ""
    last_event: str = ""


@dataclass(slots=True)
class Entry:
    """One event: a change, or a failure."""

    time: str
    position: str
    actor: str
    action: str
    resource: str
    version: str
    outcome: str
    reason: str
    source_ip: str
    event: str


@dataclass(slots=True)
class Key:
    """A secret, or a key of the system, that was there at the end of the period; ``age_days`` is that of its value.

    A key of the system that never changed is not in the log, and so not here."""

    resource: str
    version: str
    created_at: str
    set_at: str
    age_days: int
    rotations: int
    set_by: str
    event: str


@dataclass(slots=True)
class _Secret:
    version: str
    created_at: str
    set_at: str
    set_by: str
    event: str
    rotations: int = 0


@dataclass(slots=True)
class Findings:
    """``begins`` is RFC 3339, or empty for the beginning of the log; ``ends`` is the moment that ages are of."""

    begins: str
    ends: str
    tokens: dict[str, Token] = field(default_factory=dict)
    gateways: dict[str, Gateway] = field(default_factory=dict)
    uses: dict[tuple[str, str], Use] = field(default_factory=dict)
    changes: list[Entry] = field(default_factory=list)
    failures: list[Entry] = field(default_factory=list)
    rotations: list[Entry] = field(default_factory=list)
    events: int = 0
    unreadable: int = 0
    _secrets: dict[str, _Secret] = field(default_factory=dict)

    def take(self, stream: str, sequence: int, event: Mapping[str, Any]) -> None:
        """One event, in the order of its stream. Of before the period, only what is still in force counts."""
        data = event["data"]
        entry = _entry(stream, sequence, event)
        if event["time"] >= self.begins:
            self._in_period(stream, data, entry)
        if data["resource"]["type"] in _KEYS and stream == "KT_EVENTS":
            self._secret(data, entry)
        self._access(event["type"], data, entry)

    def keys(self) -> list[Key]:
        """The oldest first."""
        now = datetime.fromisoformat(self.ends)
        found = [
            Key(
                name,
                secret.version,
                secret.created_at,
                secret.set_at,
                (now - datetime.fromisoformat(secret.set_at)).days,
                secret.rotations,
                secret.set_by,
                secret.event,
            )
            for name, secret in self._secrets.items()
        ]
        return sorted(found, key=lambda key: key.set_at)

    def valid_tokens(self) -> list[Token]:
        """Those that could be used at some time of the period."""
        return [
            token
            for token in self.tokens.values()
            if token.expires_at >= self.begins and (not token.revoked_at or token.revoked_at >= self.begins)
        ]

    def _in_period(self, stream: str, data: Mapping[str, Any], entry: Entry) -> None:
        self.events += 1
        if entry.outcome != "success":
            self.failures.append(entry)
        elif stream == "KT_EVENTS" and data["category"] in _ADMINISTRATIVE:
            self.changes.append(entry)
        if data["action"] in _ROTATIONS:
            self.rotations.append(entry)
        if data["action"] in ("resolve", "reveal"):
            self._use(entry)

    def _use(self, entry: Entry) -> None:
        use = self.uses.setdefault((entry.actor, entry.resource), Use(entry.actor, entry.resource))
        if entry.outcome == "success":
            use.resolved += 1
        else:
            use.refused += 1
        if not use.first_at:
            use.first_at, use.first_event = entry.time, entry.event
        use.last_at, use.last_event = entry.time, entry.event

    def _secret(self, data: Mapping[str, Any], entry: Entry) -> None:
        action = data["action"]
        if action == "delete":
            self._secrets.pop(entry.resource, None)
        elif action in _SET:
            before = self._secrets.get(entry.resource)
            rotated = action != "create" and entry.time >= self.begins
            self._secrets[entry.resource] = _Secret(
                entry.version,
                before.created_at if before else entry.time,
                entry.time,
                entry.actor,
                entry.event,
                (before.rotations if before else 0) + rotated,
            )

    def _access(self, type_: str, data: Mapping[str, Any], entry: Entry) -> None:
        detail, name = data.get("detail", {}), data["resource"]["id"]
        if type_.startswith("kt.token.issued."):
            expires = datetime.fromtimestamp(detail["expires_at"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            references = " ".join(detail["references"])
            self.tokens[name] = Token(
                name, detail["role"], detail["name"], references, entry.time, entry.actor, expires, "", entry.event
            )
        elif type_.startswith("kt.token.revoked.") and name in self.tokens:
            token = self.tokens[name]
            token.revoked_at, token.events = entry.time, f"{token.events} {entry.event}"
        elif type_.startswith("kt.gateway.enrolled."):
            references = " ".join(detail["references"])
            token_id = detail.get("token_id", "")
            self.gateways[f"{name}/{token_id}"] = Gateway(
                name, token_id, references, entry.time, entry.actor, entry.event
            )


def _entry(stream: str, sequence: int, event: Mapping[str, Any]) -> Entry:
    data = event["data"]
    outcome, resource, actor = data["outcome"], data["resource"], data["actor"]
    return Entry(
        time=event["time"],
        position=f"{stream}:{sequence}",
        actor=f"{actor['type']}/{actor['id']}",
        action=data["action"],
        resource=f"{resource['type']}/{resource['id']}",
        version=str(resource.get("version", "")),
        outcome=outcome["result"],
        reason=outcome.get("reason") or outcome.get("code") or "",
        source_ip=data["request"].get("source_ip", ""),
        event=event["id"],
    )
