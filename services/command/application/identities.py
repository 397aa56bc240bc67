"""Commands on gateways and tokens."""

from __future__ import annotations

from dataclasses import dataclass

from libs.common.events import Resource
from libs.common.names import checked_identity
from libs.common.protocol.command import EnrollGateway, Recorded, RecordToken
from services.command.application.aggregates import Aggregates
from services.command.domain.gateway import GATEWAY, Enroll
from services.command.domain.token import TOKEN, Issue


@dataclass(frozen=True, slots=True)
class Identities:
    aggregates: Aggregates

    async def enroll(self, _subject: str, request: EnrollGateway) -> Recorded:
        resource = Resource("gateway", checked_identity(request.gateway))
        command = Enroll(request.references)
        sequence = await self.aggregates.carry_out(GATEWAY, command, resource, request.caller, request.command_id)
        return Recorded(sequence=sequence)

    async def record_token(self, _subject: str, request: RecordToken) -> Recorded:
        resource = Resource("token", checked_identity(request.token_id))
        command = Issue(request.role, request.name, request.expires_at, request.key_id, request.references)
        sequence = await self.aggregates.carry_out(TOKEN, command, resource, request.caller, request.command_id)
        return Recorded(sequence=sequence)
