"""What happens to access tokens. The token itself is never part of an event."""

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
