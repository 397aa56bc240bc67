"""What happens to access tokens and to the keys that sign them. Neither is ever part of an event."""

from __future__ import annotations

from dataclasses import dataclass

from libs.common.events.registry import REGISTRY


@REGISTRY.event("kt.token.issued.v1", action="issue", category="access_management")
@dataclass(frozen=True, slots=True)
class TokenIssued:
    """``expires_at`` in Unix seconds; ``key_id`` is the ``kid`` that signed."""

    role: str
    name: str
    expires_at: int
    key_id: str
    references: tuple[str, ...]


@REGISTRY.event("kt.signing_keys.changed.v1", action="change", category="access_management")
@dataclass(frozen=True, slots=True)
class SigningKeysChanged:
    """The keys of access tokens, by key id, in their order: all of ``kids`` verify, ``current`` signs."""

    kids: tuple[str, ...]
    current: str
    added: tuple[str, ...]
    removed: tuple[str, ...]


@REGISTRY.event("kt.token.revoked.v1", action="revoke", category="access_management")
@dataclass(frozen=True, slots=True)
class TokenRevoked:
    """From now on the token is refused, for good. ``role`` and ``name`` are empty and ``expires_at`` is 0 for a token
    that was not issued here."""

    role: str
    name: str
    expires_at: int


@REGISTRY.event("kt.token.refused.v1", action="authenticate", category="access_management", failure=True, access=True)
@dataclass(frozen=True, slots=True)
class TokenRefused:
    """Tokens that were shown and not accepted, ``count`` times from ``first_at`` to ``last_at`` (RFC 3339).

    All for one ``reason`` and from one address, and the same token where its signature was good. ``shown_to`` is
    ``api``, or who asked about it, as in ``gateway/edge-1``; empty for what is not told apart any more.
    """

    reason: str
    count: int
    first_at: str
    last_at: str
    shown_to: str
