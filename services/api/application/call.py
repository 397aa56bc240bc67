"""Who asks, and under which conditions."""

from __future__ import annotations

from dataclasses import dataclass

from libs.common.auth.tokens import Principal
from libs.common.events import Origin
from libs.common.protocol.parties import Caller


@dataclass(frozen=True, slots=True)
class Call:
    """An authenticated request."""

    principal: Principal
    request_id: str
    source_ip: str = ""
    user_agent: str = ""

    @property
    def origin(self) -> Origin:
        return Origin(self.request_id, self.source_ip, self.user_agent)

    @property
    def org(self) -> str:
        return self.principal.org

    @property
    def requester(self) -> str:
        """How the key service names who asked, in the context of the box it answers with."""
        return f"{self.principal.role}/{self.principal.subject}"

    def caller(self) -> Caller:
        return Caller(
            org=self.principal.org,
            actor_type=self.principal.role,
            actor_id=self.principal.subject,
            request_id=self.request_id,
            source_ip=self.source_ip,
            user_agent=self.user_agent,
        )


@dataclass(frozen=True, slots=True)
class Conditions:
    """``command_id`` makes a repeated write harmless; ``expected_sequence`` is what ``If-Match`` asks for."""

    command_id: str
    expected_sequence: int | None = None
