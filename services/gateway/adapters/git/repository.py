"""A Git repository over smart HTTP (gitprotocol-http): what a ref points to, and one file of that commit.

Nothing is written anywhere: one commit without its history is fetched into memory.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

from dulwich.client import AbstractHttpGitClient
from dulwich.objects import ObjectID

from libs.common.errors import KtError
from libs.common.secret import Secret
from services.gateway.adapters.git.pack import Pack, PackTooLarge
from services.gateway.adapters.git.refs import prefixes, tip_of
from services.gateway.adapters.git.snapshot import NoSuchFile, commit_of, file_in
from services.gateway.adapters.git.transport import Response, TooLarge, Transport
from services.gateway.adapters.yaml_document import MAX_BYTES
from services.gateway.application.ports import Snapshot
from services.gateway.domain.git_location import GitLocation

log = logging.getLogger(__name__)

DEFAULT_USERNAME: Final = "x-access-token"
TIMEOUT_S: Final = 30.0
MAX_RECEIVED_BYTES: Final = 32 * 1024 * 1024
_ADVERTISEMENT: Final = "application/x-git-upload-pack-advertisement"
_FILTER: Final = f"blob:limit={MAX_BYTES + 1}".encode()

T = TypeVar("T")


class GitRepository:
    """Implements ``Repository``. Each look opens connections of its own and is over after ``timeout_s`` seconds."""

    def __init__(
        self,
        location: GitLocation,
        *,
        username: str = DEFAULT_USERNAME,
        ca_bundle: str = "",
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        """Raises: KtError ``misconfigured`` for a bundle that holds no certificates."""
        self._location = location
        self._username = username
        self._timeout_s = timeout_s
        secure = location.repository.startswith("https://")
        self._tls = _verifying(ca_bundle) if secure else None

    async def tip(self, token: Secret | None) -> str:
        return await self._within_time(token, self._tip)

    async def snapshot(self, token: Secret | None) -> Snapshot:
        return await self._within_time(token, self._snapshot)

    async def _within_time(self, token: Secret | None, ask: Callable[[_Client], T]) -> T:
        transport = Transport(
            self._location.repository,
            username=self._username,
            token=token,
            tls=self._tls,
            timeout_s=self._timeout_s,
            max_bytes=MAX_RECEIVED_BYTES,
        )
        asking = asyncio.ensure_future(asyncio.to_thread(self._ask, transport, ask))
        asking.add_done_callback(lambda done: done.cancelled() or done.exception())  # looked at, though given up
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.shield(asking)
        except TimeoutError:
            raise transport.failure(TimeoutError()) from None
        finally:
            transport.abort()

    def _ask(self, transport: Transport, ask: Callable[[_Client], T]) -> T:
        try:
            return ask(_Client(self._location.repository, transport))
        except KtError:
            raise
        except (TooLarge, PackTooLarge):
            raise KtError(
                "unavailable",
                f"The repository is too large: a snapshot of it has more than {MAX_RECEIVED_BYTES:,} bytes.",
                "Keep the configuration in a repository of its own.",
            ) from None
        except OSError as error:
            raise transport.failure(error) from None
        except Exception as error:  # noqa: BLE001  dulwich raises many, and some quote what the server sent
            log.warning("git.unreadable", extra={"kind": type(error).__name__})
            raise KtError(
                "unavailable",
                f"The Git server gave an answer that can't be read ({type(error).__name__}).",
                "Is it a Git repository that is served over HTTP, and does it have that commit?",
            ) from None
        finally:
            transport.close()

    def _tip(self, client: _Client) -> str:
        if self._location.pinned:
            return self._location.ref
        refs = client.get_refs("", ref_prefix=prefixes(self._location.ref)).refs
        return tip_of(self._location.ref, _known(refs)).decode()

    def _snapshot(self, client: _Client) -> Snapshot:
        received = bytearray()
        tips: list[ObjectID] = []

        def wants(refs: Mapping[Any, Any], depth: int | None = None) -> list[ObjectID]:  # noqa: ARG001  dulwich's
            tips.append(ObjectID(tip_of(self._location.ref, _known(refs))))
            return tips

        def take(data: bytes) -> int:
            received.extend(data)
            return len(data)

        client.fetch_pack(
            "",
            wants,
            _NoHistory(),
            take,
            depth=1,
            ref_prefix=prefixes(self._location.ref),
            filter_spec=_FILTER,
        )
        pack = Pack(bytes(received))
        commit = commit_of(pack, tips[0])
        tip, name = tips[0].decode(), commit.decode()
        try:
            return Snapshot(tip, name, file_in(pack, commit, self._location.path))
        except NoSuchFile as why:
            return Snapshot(tip, name, problem=str(why))


def _verifying(ca_bundle: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_bundle or None)
    except OSError:
        raise KtError("misconfigured", "SSL_CERT_FILE holds no CA certificates in PEM; expected a bundle.") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _known(refs: Mapping[Any, Any]) -> dict[bytes, bytes]:
    return {bytes(name): bytes(tip) for name, tip in refs.items() if tip is not None}


class _NoHistory:
    """Says that there is nothing here yet."""

    def __next__(self) -> ObjectID | None:
        return None

    def ack(self, sha: ObjectID, /) -> None:
        """Nothing was offered."""

    def nak(self) -> None:
        """Nothing was offered."""


class _Client(AbstractHttpGitClient):
    """dulwich's protocol on our transport."""

    def __init__(self, url: str, transport: Transport) -> None:
        super().__init__(url, quiet=True)
        self._transport = transport

    def _http_request(
        self,
        url: str,
        headers: dict[str, str] | None = None,
        data: bytes | Iterator[bytes] | None = None,
        raise_for_status: bool = True,  # noqa: ARG002  the signature is dulwich's
    ) -> Any:
        answer: Response
        if data is None:
            answer = self._transport.get(url, headers or {})
            self._check_smart(answer)
        else:
            body = data if isinstance(data, bytes) else b"".join(data)
            answer = self._transport.post(url, headers or {}, body)
        return answer, answer.read

    def _check_smart(self, answer: Response) -> None:
        if answer.content_type.partition(";")[0] != _ADVERTISEMENT:
            answer.close()
            raise KtError(
                "unavailable",
                "What answers there is no Git server that speaks smart HTTP.",
                "Name the address that `git clone` takes, with https://.",
            )

    @staticmethod
    def _warn_filter_objects() -> None:
        """A server that knows no filter sends everything; the limit on size holds all the same."""
