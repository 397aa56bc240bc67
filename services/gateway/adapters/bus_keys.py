"""Keys from the system, sealed to this process on their way (HPKE, RFC 9180)."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import orjson

from libs.common.hpke import BoxPrivateKey
from libs.common.protocol.keys import resolve_context
from libs.common.protocol.resolver import GATEWAY_RESOLVE, MAX_REFERENCES, ResolveForGateway, ResolveReply
from libs.common.protocol.resolver import Resolution as Answer
from libs.common.secret import Secret
from services.gateway.adapters.bus import Bus
from services.gateway.domain.references import (
    Purpose,
    Reason,
    Reference,
    Resolution,
    Resolved,
    Unresolved,
)


class BusKeys:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def resolve(self, references: Sequence[Reference], purpose: Purpose) -> Sequence[Resolution]:
        """Raises: KtError ``unreachable``, ``unavailable``, or ``undecryptable`` for a box of somebody else."""
        resolutions: list[Resolution] = []
        for start in range(0, len(references), MAX_REFERENCES):
            resolutions.extend(await self._resolve(references[start : start + MAX_REFERENCES], purpose))
        return resolutions

    async def _resolve(self, references: Sequence[Reference], purpose: Purpose) -> list[Resolution]:
        recipient = BoxPrivateKey.generate()
        request = ResolveForGateway(
            references=[reference.in_system for reference in references],
            recipient_key=recipient.public.encoded,
            purpose=purpose.value,
        )
        reply = await self._bus.call(GATEWAY_RESOLVE, "resolve", request)
        values = self._open(reply, recipient)
        answers = {answer.reference: answer for answer in reply.results}
        return [_resolution(reference, answers.get(reference.in_system), values) for reference in references]

    def _open(self, reply: ResolveReply, recipient: BoxPrivateKey) -> dict[str, str]:
        if reply.box is None:
            return {}
        identity = self._bus.identity
        context = resolve_context(identity.gateway.org, self._bus.requester, recipient.public.encoded)
        values: dict[str, str] = orjson.loads(recipient.open(reply.box, context).reveal())
        return values


def _resolution(reference: Reference, answer: Answer | None, values: dict[str, str]) -> Resolution:
    if answer is None:
        return Unresolved(reference, Reason.UNDECRYPTABLE)
    if answer.status == "failed":
        return Unresolved(reference, _reason(answer.reason), answer.sequence)
    if reference.in_system not in values:
        return Unresolved(reference, Reason.UNDECRYPTABLE, answer.sequence)
    value = Secret(base64.b64decode(values[reference.in_system]))
    return Resolved(reference, value, answer.version, answer.sequence)


def _reason(text: str) -> Reason:
    """A reason this version does not know counts as a fault on the way: the key that is held stays in use."""
    try:
        return Reason(text)
    except ValueError:
        return Reason.UNDECRYPTABLE
