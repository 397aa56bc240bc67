"""Copies of checkpoints as commits on a branch: its history shows each of them, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import urllib3
from dulwich.client import HttpGitClient
from dulwich.objects import Blob, Commit, ObjectID, ShaFile, Tree
from dulwich.repo import MemoryRepo

from libs.common.clock import Clock
from libs.common.errors import KtError
from libs.common.secret import Secret
from services.audit.domain.copies import Branch

TIMEOUT_S: Final = 30.0
USERNAME: Final = "x-access-token"
AUTHOR: Final = b"keeptrusts audit <audit@keeptrusts.invalid>"
_FILE: Final = 0o100644
_FOLDER: Final = 0o040000


class BranchCopies:
    """Implements ``Copies``. The newest commit is fetched into memory; nothing is written on this machine."""

    def __init__(self, target: Branch, token: Secret | None, clock: Clock, ca_bundle: str = "") -> None:
        self._target = target
        self._token = token
        self._clock = clock
        self._ca_bundle = ca_bundle

    async def put(self, name: str, content: bytes) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await asyncio.to_thread(self._put, name, content)
        except KtError:
            raise
        except Exception as error:  # noqa: BLE001 - of many kinds, and some quote what the server sent
            raise KtError("unavailable", f"The Git server did not take the copy ({type(error).__name__}).") from None

    def _put(self, name: str, content: bytes) -> None:
        ref = f"refs/heads/{self._target.name}".encode()
        parts = urlsplit(self._target.repository)
        client = self._client(f"{parts.scheme}://{parts.netloc}")
        repository = MemoryRepo()

        def wants(refs: Any, depth: int | None = None) -> list[ObjectID]:  # noqa: ARG001 - dulwich's signature
            return [refs[ref]] if ref in refs else []

        found = client.fetch(parts.path, repository, wants, depth=1)
        parent = found.refs.get(ref)  # type: ignore[call-overload]
        made = self._commit(repository, parent, name, content)
        if made is None:
            return
        result = client.send_pack(
            parts.path,
            lambda _: {ref: made[-1].id},  # type: ignore[dict-item]
            lambda *_, **__: (len(made), _unpacked(made)),
        )
        refused = (result.ref_status or {}).get(ref)
        if refused:
            raise KtError("unavailable", "The Git server refused the copy.", "Is the branch protected?")

    def _commit(
        self, repository: MemoryRepo, parent: ObjectID | None, name: str, content: bytes
    ) -> list[ShaFile] | None:
        """New objects, the commit last; None when the file is there."""
        folder, _, file = name.partition("/")
        root, inner = Tree(), Tree()
        if parent is not None:
            tip = repository[parent]
            root = _tree(repository, tip.tree if isinstance(tip, Commit) else None)
            if folder.encode() in root:
                inner = _tree(repository, root[folder.encode()][1])
        if file.encode() in inner:
            return None
        blob = Blob.from_string(content)
        inner.add(file.encode(), _FILE, blob.id)
        root.add(folder.encode(), _FOLDER, inner.id)
        commit = Commit()
        commit.tree = root.id
        commit.parents = [parent] if parent is not None else []
        commit.author = commit.committer = AUTHOR
        commit.author_time = commit.commit_time = int(self._clock.now().timestamp())
        commit.author_timezone = commit.commit_timezone = 0
        commit.encoding = b"UTF-8"
        commit.message = f"{name}\n".encode()
        return [blob, inner, root, commit]

    def _client(self, origin: str) -> HttpGitClient:
        options: dict[str, Any] = {"ca_certs": self._ca_bundle} if self._ca_bundle else {}
        manager = urllib3.PoolManager(timeout=TIMEOUT_S, retries=False, **options)
        if self._token is None:
            return HttpGitClient(origin, pool_manager=manager, quiet=True)
        password = self._token.reveal().decode()
        return HttpGitClient(origin, pool_manager=manager, username=USERNAME, password=password, quiet=True)


def _tree(repository: MemoryRepo, sha: ObjectID | None) -> Tree:
    found = repository[sha] if sha is not None else Tree()
    return found if isinstance(found, Tree) else Tree()


def _unpacked(objects: Sequence[ShaFile]) -> Iterator[Any]:
    from dulwich.pack import UnpackedObject  # noqa: PLC0415 - only here

    for one in objects:
        yield UnpackedObject(one.type_num, sha=one.sha().digest(), decomp_chunks=one.as_raw_chunks())
