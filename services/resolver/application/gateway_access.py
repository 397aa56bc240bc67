"""The access logs of gateways: put on record in their order, each record once, none left out."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from libs.common.access_log import WrongLastSequence
from libs.common.errors import KtError
from libs.common.ids import IdFactory
from libs.common.protocol.gateway_access import AccessRecorded, Note, RecordAccess, RequestLine, StartedNote
from libs.common.subjects import access_subject
from services.resolver.application.gateway_events import GatewayEpoch, encoded
from services.resolver.application.gateway_tokens import entitled
from services.resolver.application.ports import CurrentState

KIND: Final = "gateway_request"
REMEMBERED: Final = 4096
"""Epochs whose end is known without asking the stream."""

_ATTEMPTS: Final = 3
_AT_ONCE: Final = 50
PAUSE_S: Final = 0.002
"""Records are encoded in pieces of about 1.5 ms, with pauses as long: they are over when they come here, and the
requests that are not go first, in this process and on this machine."""


@dataclass(frozen=True, slots=True)
class End:
    """The last record of an epoch: its number there and its sequence in the stream; 0 and 0 before the first."""

    record: int
    sequence: int


class Chains(Protocol):
    """Records in the stream, one subject for each epoch."""

    async def end(self, subject: str) -> End:
        """Raises: KtError."""

    async def append(self, messages: Sequence[tuple[str, bytes]], expected: int) -> int:
        """Store them behind the message with the sequence ``expected``; gives the sequence of the last one.

        Raises:
            WrongLastSequence: another one is the last.
            KtError: it is not known whether they were stored.
        """


@dataclass(slots=True)
class GatewayAccess:
    current: CurrentState
    chains: Chains
    ids: IdFactory
    _ends: OrderedDict[str, End] = field(default_factory=OrderedDict)

    async def record(self, subject: str, request: RecordAccess) -> AccessRecorded:
        """
        Raises:
            KtError: ``conflict`` when records before the first one are missing: the gateway then begins a new epoch;
                ``invalid_request`` when the places of the notes don't fit; ``forbidden`` when the gateway's token
                was revoked.
        """
        org, name, _ = await entitled(self.current, subject)
        gateway = GatewayEpoch(org, name, request.epoch)
        records = _in_order(request)
        chain = access_subject(org, KIND, f"{name}.{request.epoch}")
        for _ in range(_ATTEMPTS):
            end = await self._end(chain, request.first)
            new = _following(end, request.first, records)
            if not new:
                return AccessRecorded(recorded=end.record)
            messages = [(chain, body) for body in await self._bodies(gateway, end.record + 1, new)]
            try:
                sequence = await self.chains.append(messages, end.sequence)
            except WrongLastSequence:
                self._ends.pop(chain, None)
                continue
            except KtError:
                self._ends.pop(chain, None)
                raise
            self._remember(chain, End(end.record + len(new), sequence))
            return AccessRecorded(recorded=end.record + len(new))
        raise KtError("unavailable", "The same records are being stored by somebody else.", "Try again.")

    async def _bodies(
        self, gateway: GatewayEpoch, first: int, records: Sequence[RequestLine | Note]
    ) -> Sequence[bytes]:
        bodies: list[bytes] = []
        for number, record in enumerate(records):
            if number % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(PAUSE_S)
            bodies.append(encoded(gateway, first + number, record, self.ids.new()))
        return bodies

    async def _end(self, chain: str, first: int) -> End:
        """What is remembered may be behind, when another process has stored records since."""
        end = self._ends.get(chain)
        return end if end is not None and first <= end.record + 1 else await self.chains.end(chain)

    def _remember(self, chain: str, end: End) -> None:
        self._ends[chain] = end
        self._ends.move_to_end(chain)
        if len(self._ends) > REMEMBERED:
            self._ends.popitem(last=False)


def _in_order(request: RecordAccess) -> Sequence[RequestLine | Note]:
    notes = dict(request.notes)
    total = len(request.requests) + len(request.notes)
    if len(notes) < len(request.notes) or any(place >= total for place in notes):
        raise KtError("invalid_request", "The notes don't fit between the requests.")
    requests = iter(request.requests)
    records = [notes[place] if place in notes else next(requests) for place in range(total)]
    if records and (request.first == 1) != isinstance(records[0], StartedNote):
        raise KtError("invalid_request", "An epoch begins with the note that it does, and with no other record.")
    return records


def _following(end: End, first: int, records: Sequence[RequestLine | Note]) -> Sequence[RequestLine | Note]:
    """Those that are not on record yet."""
    if first > end.record + 1:
        raise KtError(
            "conflict",
            f"The next record of this epoch is number {end.record + 1:,}; the message begins with {first:,}.",
            "The gateway begins a new epoch.",
            extra={"recorded": end.record},
        )
    return records[end.record + 1 - first :]
