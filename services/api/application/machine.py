"""Values for machines: all that were asked for, or none and the reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from libs.common.protocol.resolver import RESOLVE, Resolution, ResolveForCaller
from libs.common.secret import Secret
from services.api.application.boxing import Envelope
from services.api.application.call import Call
from services.api.application.ports import Bus
from services.api.application.unresolved import all_resolved, unresolved


@dataclass(frozen=True, slots=True)
class Resolved:
    """One value with its version; ``sequence`` is that of the variable's last event."""

    reference: str
    version: int
    sequence: int
    value: Secret


@dataclass(frozen=True, slots=True)
class Boxed:
    """Values that only the holder of the recipient key can open."""

    results: Sequence[Resolution]
    box: bytes
    requester: str


@dataclass(frozen=True, slots=True)
class Machine:
    bus: Bus

    async def one(self, call: Call, name: str) -> Resolved:
        """Raises: KtError by the reason: ``not_found``, ``forbidden``, ``undecryptable``."""
        envelope = Envelope(call)
        results, box = await self._ask(call, [name], envelope.recipient_key)
        if results[0].status != "resolved":
            raise unresolved(results[0].reason)
        return _resolved(results[0], envelope.open(box))

    async def many(self, call: Call, references: Sequence[str]) -> list[Resolved]:
        """Raises: KtError ``unresolved`` when any of them can't be resolved."""
        envelope = Envelope(call)
        results, box = await self._ask(call, references, envelope.recipient_key)
        all_resolved(references, results)
        values = envelope.open(box)
        return [_resolved(result, values) for result in results]

    async def boxed(self, call: Call, references: Sequence[str], recipient_key: bytes) -> Boxed:
        """Raises: KtError ``unresolved`` when any of them can't be resolved."""
        results, box = await self._ask(call, references, recipient_key)
        all_resolved(references, results)
        return Boxed(results, box or b"", call.requester)

    async def _ask(
        self, call: Call, references: Sequence[str], recipient_key: bytes
    ) -> tuple[Sequence[Resolution], bytes | None]:
        request = ResolveForCaller(
            caller=call.caller(),
            references_allowed=call.principal.references,
            references=list(references),
            recipient_key=recipient_key,
        )
        reply = await self.bus.call(RESOLVE, request)
        return reply.results, reply.box


def _resolved(result: Resolution, values: Mapping[str, Secret]) -> Resolved:
    return Resolved(result.reference, result.version, result.sequence, values[result.reference])
