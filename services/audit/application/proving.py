"""Proofs: that an entry is in the log, that the log continues an older state of itself."""

from __future__ import annotations

from typing import Final

from libs.common.clock import rfc3339
from libs.common.errors import KtError
from libs.common.protocol import audit as protocol
from libs.common.transparency.merkle import Range, consistency_path, inclusion_path, leaf_hash
from libs.common.transparency.note import VerifierKey
from libs.common.transparency.origin import ALL_ORGS, LogOrigin
from services.audit.application.checkpointing import Checkpointing
from services.audit.application.ports import Checkpoints, EntryFinder, FoundEntry, Freshness, Places, Signer, Trees
from services.audit.domain.checkpoint import SignedCheckpoint
from services.audit.domain.streams import STREAM_NUMBERS

FRESHNESS_WAIT_S: Final = 2.0


class Proving:
    """Answers what is asked of the log's tree and its signed states (libs.common.protocol.audit)."""

    def __init__(
        self,
        *,
        trees: Trees,
        checkpoints: Checkpoints,
        checkpointing: Checkpointing,
        entries: EntryFinder,
        signer: Signer,
        freshness: Freshness,
        places: Places,
    ) -> None:
        self._trees = trees
        self._checkpoints = checkpoints
        self._checkpointing = checkpointing
        self._entries = entries
        self._signer = signer
        self._freshness = freshness
        self._places = places

    async def checkpoint(self, _subject: str, request: protocol.GetCheckpoint) -> protocol.CheckpointView:
        if request.covering:
            await self._freshness.caught_up(FRESHNESS_WAIT_S)
        return await self._view(await self._checkpointing.covering(request.stream, request.covering))

    async def checkpoint_keys(self, _subject: str, _: protocol.GetCheckpointKeys) -> protocol.CheckpointKeysView:
        known, sizes = await self._signer.keys(), await self._checkpoints.signed_sizes()
        items = []
        for key in known.keys:
            signed = {stream: sizes[key.id, stream] for stream in STREAM_NUMBERS if (key.id, stream) in sizes}
            items.append(
                protocol.CheckpointKeyView(
                    id=key.id,
                    keys={
                        stream: str(VerifierKey(str(LogOrigin(known.installation, ALL_ORGS, stream)), key.public))
                        for stream in STREAM_NUMBERS
                    },
                    created_at=key.created_at,
                    retired_at=key.retired_at,
                    first_size={stream: first for stream, (first, _) in signed.items()},
                    last_size={stream: last for stream, (_, last) in signed.items()},
                )
            )
        return protocol.CheckpointKeysView(items=items)

    async def prove(self, _subject: str, request: protocol.Prove) -> protocol.Proof:
        """
        Raises:
            KtError: ``not_found``; ``log_damaged`` when the entry is not what the tree holds.
        """
        entry = await self._find(request)
        index = entry.sequence - 1
        signed = await self._checkpointing.covering(entry.stream, index)
        if signed.size <= index:
            raise KtError("unavailable", "The entry is not in the tree yet.", "Try again in a second.")
        (leaf,) = await self._trees.hashes(entry.stream, [Range(index, index + 1)])
        if leaf != leaf_hash(entry.body):
            raise KtError(
                "log_damaged",
                f"The row {entry.stream}:{entry.sequence} is not what was put on record: it was changed, so there is"
                " no proof of it.",
                "`kt events verify` says which side is right, `kt events repair` restores it.",
            )
        path = await self._trees.hashes(entry.stream, inclusion_path(index, signed.size))
        return protocol.Proof(
            stream=entry.stream,
            sequence=entry.sequence,
            body=entry.body,
            path=list(path),
            checkpoint=await self._view(signed),
        )

    async def consistency(self, _subject: str, request: protocol.GetConsistency) -> protocol.Consistency:
        """
        Raises:
            KtError: ``invalid_request`` when a size is beyond the log's, or they are the wrong way round.
        """
        size = await self._trees.size(request.stream)
        if not request.old <= request.new <= size:
            raise KtError(
                "invalid_request",
                f"Expected two sizes of the log of {request.stream}, the older one first; it has {size} entries.",
            )
        wanted = [Range(0, request.old), Range(0, request.new), *consistency_path(request.old, request.new)]
        old_root, new_root, *proof = await self._trees.hashes(request.stream, wanted)
        return protocol.Consistency(
            stream=request.stream,
            old=request.old,
            new=request.new,
            old_root=old_root,
            new_root=new_root,
            proof=proof,
        )

    async def _find(self, request: protocol.Prove) -> FoundEntry:
        found = await self._look(request)
        if found is None:
            await self._freshness.caught_up(FRESHNESS_WAIT_S)
            found = await self._look(request)
        if found is None:
            raise KtError(
                "not_found",
                "The log holds no such event; expected the id of one, or its STREAM:SEQUENCE.",
                "`kt events list` shows both; -o json shows the ids.",
            )
        return found

    async def _look(self, request: protocol.Prove) -> FoundEntry | None:
        if request.event_id:
            return await self._entries.with_id(request.org, request.event_id)
        if request.stream not in STREAM_NUMBERS:
            streams = " or ".join(STREAM_NUMBERS)
            raise KtError("invalid_request", f"There is no such stream; expected {streams}.")
        return await self._entries.at(request.org, request.stream, request.sequence)

    async def _view(self, signed: SignedCheckpoint) -> protocol.CheckpointView:
        return protocol.CheckpointView(
            stream=signed.stream,
            size=signed.size,
            root=signed.root,
            note=await self._places.cosigned(signed),
            signed_at=rfc3339(signed.signed_at),
            minimum=await self._checkpoints.minimum(signed.stream),
        )
