"""Commands on access tokens."""

from __future__ import annotations

from dataclasses import dataclass

from libs.common.events import Resource
from libs.common.names import plain_token_id
from libs.common.protocol.command import Recorded, RecordToken
from libs.common.protocol.tokens import RevokeToken, TokenRevocation
from services.command.application.aggregates import Aggregates, retried
from services.command.domain.token import TOKEN, Issue, Revoke, decide


@dataclass(frozen=True, slots=True)
class Tokens:
    aggregates: Aggregates

    async def record(self, _subject: str, request: RecordToken) -> Recorded:
        command = Issue(request.role, request.name, request.expires_at, request.key_id, request.references)
        sequence = await self.aggregates.carry_out(
            TOKEN, command, _resource(request.token_id), request.caller, request.command_id
        )
        return Recorded(sequence=sequence)

    async def revoke(self, _subject: str, request: RevokeToken) -> TokenRevocation:
        return await retried(lambda: self._revoke(request))

    async def _revoke(self, request: RevokeToken) -> TokenRevocation:
        resource = _resource(request.token_id)
        loaded = await self.aggregates.load(TOKEN, request.caller.org, resource.type, resource.id)
        events, sequence = decide(Revoke(), loaded.state), loaded.sequence
        for event in events:
            recorded = await self.aggregates.append(loaded, event, resource, request.caller, request.command_id)
            sequence = recorded.sequence
        token = loaded.state
        return TokenRevocation(
            sequence=sequence,
            role=token.role,
            name=token.name,
            expires_at=token.expires_at,
            repeated=not events,
        )


def _resource(token_id: str) -> Resource:
    return Resource("token", plain_token_id(token_id))
