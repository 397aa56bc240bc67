"""Signed states of the log leave the system: into a directory, a bucket, a Git branch, and past witnesses."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from dulwich.objects import Commit, Tree

from libs.common.clock import SystemClock
from libs.common.errors import KtError
from libs.common.secret import Secret
from libs.common.subjects import EVENTS
from libs.common.transparency.note import Note, cosigned_at, verified_checkpoint
from services.audit.adapters.copies.connected import Credentials, connected
from services.audit.adapters.places import PostgresPlaces
from services.audit.adapters.signed_checkpoints import PostgresCheckpoints, PostgresTrees
from services.audit.application.copying import Copying
from services.audit.domain.copies import parse_targets, parse_witnesses
from tests.engines import Bus, Database
from tests.git_server import MAIN, GitServer, git_server
from tests.integration.audit.outside import KEY, REGION, SECRET, outside
from tests.integration.audit.test_proofs import running

NAME = "KT_EVENTS/00000000000000000005.checkpoint"


def files_of(server: GitServer) -> dict[str, bytes]:
    commit = server.repo[server.repo.refs[MAIN]]  # type: ignore[index]
    assert isinstance(commit, Commit)
    root = server.repo[commit.tree]
    assert isinstance(root, Tree)
    found: dict[str, bytes] = {}
    for entry in root.items():
        inner = server.repo[entry.sha]
        for file in inner.items() if isinstance(inner, Tree) else ():
            found[f"{(entry.path or b'').decode()}/{(file.path or b'').decode()}"] = server.repo[
                file.sha
            ].as_raw_string()
    return found


async def test_every_place_gets_what_was_signed_and_a_witness_cosigns_it(
    nats_server: Bus, postgres: Database, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        system = await stack.enter_async_context(running(nats_server, postgres))
        world = await stack.enter_async_context(outside())
        git = stack.enter_context(git_server("a-token"))
        git.commit({"README": "what is here"})
        await system.log.append("A", times=5)
        await system.on_record()
        first = await system.checkpoint(covering=4)
        world.trusted = await system.keys()
        targets = parse_targets(f"{tmp_path}/copies, s3+{world.url}/worm/log, git+{git.url}")
        witnesses = parse_witnesses(f"{world.url}/w1 {world.witness.key}")
        credentials = Credentials(KEY, Secret.from_text(SECRET), REGION, Secret.from_text("a-token"))
        copies, cosigners = await stack.enter_async_context(connected(targets, witnesses, credentials, SystemClock()))
        copying = Copying(
            copies=copies,
            witnesses=cosigners,
            places=PostgresPlaces(system.log.pool),
            checkpoints=PostgresCheckpoints(system.log.pool),
            trees=PostgresTrees(system.log.pool),
            clock=SystemClock(),
        )
        for place in (*witnesses, *targets):
            assert await copying.bring(place, EVENTS)
            assert not await copying.bring(place, EVENTS)
        folder = (tmp_path / "copies" / NAME).read_bytes()
        assert verified_checkpoint(folder, world.trusted) == first
        assert world.checkpoint_at(f"/worm/log/{NAME}") == first
        assert files_of(git) == {NAME: folder}
        (signature,) = [one for one in Note.parse(folder).signatures if world.witness.key.made(one)]
        world.witness.key.verify(Note.parse(folder).text, signature)
        assert cosigned_at(signature) > 0

        # Another instance copied it meanwhile, and an answer of the witness was lost.
        await system.log.append("A", times=2)
        await system.on_record()
        later = await system.checkpoint(covering=5)
        await system.log.rows("UPDATE checkpoint_copies SET size = 2")
        world.away = True
        with pytest.raises(KtError, match="HTTP 503"):
            await copying.bring(next(iter(targets.keys() - {f"{tmp_path}/copies", f"git+{git.url}"})), EVENTS)
        world.away = False
        for place in (*witnesses, *targets):
            assert await copying.bring(place, EVENTS)
        assert world.seen[later.origin] == (later.size, later.root)
        assert len(files_of(git)) == len(world.objects) == 2
        commit = git.repo[git.repo.refs[MAIN]]  # type: ignore[index]
        assert isinstance(commit, Commit)
        assert len(commit.parents) == 1
        git.tokens = {"another"}
        await system.log.rows("UPDATE checkpoint_copies SET size = 2")
        with pytest.raises(KtError, match="did not take the copy"):
            await copying.bring(f"git+{git.url}", EVENTS)


async def test_a_bucket_needs_credentials() -> None:
    with pytest.raises(KtError, match="no credentials"):
        async with connected(parse_targets("s3+https://s3.example.com/b"), {}, Credentials(), SystemClock()):
            pass
