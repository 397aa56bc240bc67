"""An event store in memory, for use cases that need one. It passes the same specification as the real one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from libs.common.direct_get import StoredMessage
from libs.common.event_store import ConcurrencyConflict, read_history
from libs.common.events import RecordedEvent


@dataclass
class MemoryStore:
    """``conflicts`` makes that many appends lose a race first."""

    messages: list[tuple[str, bytes]] = field(default_factory=list)
    conflicts: int = 0

    async def load(self, subject: str, after: int = 0) -> list[RecordedEvent]:
        await asyncio.sleep(0)
        numbered = enumerate(self.messages, 1)
        return read_history(StoredMessage(s, n, body) for n, (s, body) in numbered if s == subject and n > after)

    async def append(self, subject: str, wire_name: str, body: bytes, *, expected: int) -> int:
        await asyncio.sleep(0)
        if self.conflicts:
            self.conflicts -= 1
            raise ConcurrencyConflict
        own = [(number, b) for number, (s, b) in enumerate(self.messages, 1) if s == subject]
        if (own[-1][0] if own else 0) != expected:
            stored = next((number for number, b in own if number > expected and b == body), None)
            if stored is None:
                raise ConcurrencyConflict
            return stored
        self.messages.append((subject, body))
        return len(self.messages)
