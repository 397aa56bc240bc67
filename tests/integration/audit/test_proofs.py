"""Signed checkpoints and proofs, asked of the running services and verified with nothing but public keys."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from libs.common.errors import KtError
from libs.common.messaging.rpc import RpcClient
from libs.common.protocol import audit as protocol
from libs.common.protocol.keys import DEEP_ROTATE, SIGN_CHECKPOINT, DeepRotateRequest, SignCheckpointRequest
from libs.common.protocol.parties import Caller
from libs.common.subjects import ACCESS, EVENTS
from libs.common.transparency.merkle import NotProven, leaf_hash, root_of, verify_consistency, verify_inclusion
from libs.common.transparency.note import Checkpoint, VerifierKey, verified_checkpoint
from services.audit.domain.copies import file_name
from tests.engines import Bus, Database, eventually
from tests.integration.audit.log import Log, open_log
from tests.integration.audit.test_service import Service
from tests.integration.audit.test_service import service as audit_service
from tests.integration.audit.test_tree import as_admin
from tests.integration.keys.test_service import master_text
from tests.integration.keys.test_service import service as key_service


@dataclass(frozen=True)
class System:
    log: Log
    audit: Service
    client: RpcClient

    async def on_record(self) -> None:
        """Until the log holds what the streams hold."""
        await self.audit.reached({f"audit/{stream}": await self.log.end(stream) for stream in (EVENTS, ACCESS)})

    async def keys(self, stream: str = EVENTS) -> list[VerifierKey]:
        found = await self.client.call(protocol.CHECKPOINT_KEYS, protocol.GetCheckpointKeys())
        return [VerifierKey.parse(item.keys[stream]) for item in found.items]

    async def checkpoint(self, stream: str = EVENTS, covering: int = 0) -> Checkpoint:
        request = protocol.GetCheckpoint(stream=stream, covering=covering)
        view = await self.client.call(protocol.CHECKPOINT, request)
        found = verified_checkpoint(view.note.encode(), await self.keys(stream))
        assert (found.size, found.root) == (view.size, view.root)
        return found


@asynccontextmanager
async def running(bus: Bus, database: Database, **settings: str) -> AsyncIterator[System]:
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(key_service(bus, database, master_text(1)))
        log = await stack.enter_async_context(open_log(bus, database))
        audit = await stack.enter_async_context(audit_service(bus, database))
        audit.environment |= settings
        await audit.start()
        await eventually(audit.positions, within=30)
        yield System(log, audit, audit.client)


async def test_checkpoints_and_proofs_hold(nats_server: Bus, postgres: Database, tmp_path: Path) -> None:
    settings = {"KEEPTRUSTS_AUDIT_CHECKPOINT_SECONDS": "1", "KEEPTRUSTS_AUDIT_CHECKPOINT_COPIES": str(tmp_path)}
    async with running(nats_server, postgres, **settings) as system:
        client, log = system.client, system.log
        with pytest.raises(KtError, match="no entries yet"):
            await system.checkpoint()
        await log.append("A", times=5)
        await system.on_record()
        first = await system.checkpoint(covering=4)
        leaves = [leaf_hash(body) for _, body in await log.messages(EVENTS)]
        assert (first.size, first.root) == (5, root_of(leaves))

        await log.append("B", times=8)
        await log.record(3)
        await system.on_record()
        proof = await client.call(protocol.PROVE, protocol.Prove(org="acme", stream=EVENTS, sequence=12))
        (key,) = await system.keys()
        signed = verified_checkpoint(proof.checkpoint.note.encode(), [key])
        verify_inclusion(leaf_hash(proof.body), 11, signed.size, proof.path, signed.root)
        later = await system.checkpoint()
        found = await client.call(
            protocol.CONSISTENCY, protocol.GetConsistency(stream=EVENTS, old=first.size, new=later.size)
        )
        verify_consistency(first.size, first.root, later.size, later.root, found.proof)

        async def signed_by_itself() -> bool:
            return (await log.rows("SELECT max(size) FROM checkpoints_signed WHERE stream = 2")) == [(3,)]

        await eventually(signed_by_itself, within=30)
        assert (await system.checkpoint(ACCESS)).size == 3
        copy = tmp_path / file_name(ACCESS, 3)
        await eventually(copy.exists)
        assert verified_checkpoint(copy.read_bytes(), await system.keys(ACCESS)).size == 3
        with pytest.raises(KtError) as caught:
            await client.call(protocol.PROVE, protocol.Prove(org="other", stream=EVENTS, sequence=12))
        assert caught.value.code == "not_found"
        with pytest.raises(KtError) as caught:
            await client.call(protocol.CONSISTENCY, protocol.GetConsistency(stream=EVENTS, old=1, new=99))
        assert caught.value.code == "invalid_request"


async def test_a_key_that_was_replaced_signs_beside_the_new_one_and_verifies_what_it_signed(
    nats_server: Bus, postgres: Database
) -> None:
    async with running(nats_server, postgres) as system:
        await system.log.append("A", times=5)
        await system.on_record()
        before = await system.checkpoint(covering=4)
        (old,) = await system.keys()
        caller = Caller(org="acme", actor_type="admin", actor_id="alice", request_id="r-1")
        await system.client.call(DEEP_ROTATE, DeepRotateRequest(command_id=str(uuid.uuid4()), caller=caller))
        await system.log.append("A", times=2)
        await system.on_record()
        request = protocol.GetCheckpoint(stream=EVENTS, covering=before.size)
        note = (await system.client.call(protocol.CHECKPOINT, request)).note.encode()
        known = await system.keys()
        assert known[0] == old
        assert len(known) == 2
        assert {key.name for key in known} == {old.name}, "the log keeps its name"
        for key in known:
            assert verified_checkpoint(note, [key]).size >= 7
        # After a month the new key signs alone, and what the old one signed is still verified.
        month = "UPDATE keys.keyring SET retired_at = now() - interval '31 days' WHERE retired_at IS NOT NULL"
        await as_admin(postgres, month)
        await system.log.append("A", times=2)
        await system.on_record()
        request = protocol.GetCheckpoint(stream=EVENTS, covering=verified_checkpoint(note, [old]).size)
        last = (await system.client.call(protocol.CHECKPOINT, request)).note.encode()
        assert verified_checkpoint(last, await system.keys()).size >= 9
        with pytest.raises(NotProven, match="not signed by the log's key"):
            verified_checkpoint(last, [old])


async def test_nothing_is_signed_that_contradicts_what_was_signed(nats_server: Bus, postgres: Database) -> None:
    async with running(nats_server, postgres) as system:
        asked = RpcClient(await nats_server.connect("audit"))
        await system.log.append("A", times=5)
        await system.on_record()
        await system.checkpoint(covering=4)
        honest = [leaf_hash(body) for _, body in await system.log.messages(EVENTS)]
        for size, root in ((5, bytes(32)), (4, root_of(honest[:4])), (6, bytes(32))):
            for old_size in (0, 4, 5):
                with pytest.raises(KtError) as caught:
                    await asked.call(
                        SIGN_CHECKPOINT,
                        SignCheckpointRequest(
                            stream=EVENTS, size=size, root=root, old_size=old_size, consistency=honest[:1]
                        ),
                    )
                assert caught.value.code in {"conflict", "log_damaged"}
        # The answer with its signature was lost: the next checkpoint continues what was signed all the same.
        await system.log.append("A", times=2)
        await system.on_record()
        grown = [leaf_hash(body) for _, body in await system.log.messages(EVENTS)]
        consistency = await system.client.call(
            protocol.CONSISTENCY, protocol.GetConsistency(stream=EVENTS, old=5, new=7)
        )
        await asked.call(
            SIGN_CHECKPOINT,
            SignCheckpointRequest(
                stream=EVENTS, size=7, root=root_of(grown), old_size=5, consistency=consistency.proof
            ),
        )
        await system.log.append("A", times=1)
        await system.on_record()
        assert (await system.checkpoint(covering=7)).size == 8
