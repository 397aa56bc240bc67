"""A configuration that comes from a repository, and what is known of that repository."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import Final, TypeVar

from libs.common.clock import Clock
from libs.common.errors import KtError
from libs.common.secret import Secret
from services.gateway.application.git_token import GitToken
from services.gateway.application.ports import Commit, Report, Reporter, ReportKind, Repository, Snapshot
from services.gateway.domain.config import GatewayConfig
from services.gateway.domain.git_location import GitLocation
from services.gateway.domain.source import Failure, SourceStatus

FINAL: Final = "invalid_config"
"""The code of a refusal that another attempt with the same commit would not change."""


T = TypeVar("T")


class RepositoryConfig:
    """Implements ``ConfigSource``. ``parse`` makes a configuration of a file's bytes."""

    def __init__(
        self,
        location: GitLocation,
        repository: Repository,
        token: GitToken | None,
        parse: Callable[[bytes], GatewayConfig],
        *,
        reporter: Reporter,
        clock: Clock,
    ) -> None:
        self._location = location
        self._repository = repository
        self._token = token
        self._parse = parse
        self._reporter = reporter
        self._clock = clock
        self._loaded: Snapshot | None = None
        self._applied: Snapshot | None = None
        self._refused_tip = ""
        self._applied_at: datetime | None = None
        self._checked_at: datetime | None = None
        self._unanswered: Failure | None = None
        self._refusal: Failure | None = None

    @property
    def status(self) -> SourceStatus:
        commit = self._applied.commit if self._applied else ""
        failure = self._unanswered or self._refusal
        return SourceStatus(self._location, commit, self._applied_at, self._checked_at, failure)

    @property
    def pinned(self) -> bool:
        """Whether there will never be anything new."""
        return self._location.pinned

    async def load(self) -> GatewayConfig:
        """The configuration of the commit that the ref points to now.

        Raises:
            KtError: ``invalid_config`` for a commit without a usable one, else as ``Repository`` and ``GitToken``.
        """
        self._loaded = None
        snapshot = self._loaded = await self._ask(self._repository.snapshot)
        if snapshot.problem:
            raise KtError(
                "invalid_config",
                f"The file of the configuration can't be read in commit {snapshot.commit[:12]}: {snapshot.problem}.",
                "Correct the path behind #, or the repository; nothing was changed.",
            )
        # In a thread: a large file takes a second to parse, and rotations go on meanwhile.
        return replace(await asyncio.to_thread(self._parse, snapshot.content), commit=snapshot.commit)

    async def moved(self) -> bool:
        """Whether the ref points to something that was neither applied nor refused for good.

        Raises: as :meth:`load`.
        """
        tip = await self._ask(self._repository.tip)
        if tip == self._refused_tip:
            return False
        self._refused_tip = ""
        if self._applied is not None and tip == self._applied.tip:
            self._refusal = None
            return False
        return True

    def applied(self, config: GatewayConfig) -> None:
        again = self._applied is not None and self._applied.commit == config.commit
        loaded = self._loaded
        current = loaded is not None and loaded.commit == config.commit
        self._applied = loaded if current else Snapshot(config.commit, config.commit)
        self._refusal, self._refused_tip = None, ""
        if not again:
            self._applied_at = self._clock.now()
            self._report(ReportKind.SOURCE_APPLIED, config.commit, config.digest)

    def refused(self, error: KtError) -> None:
        loaded = self._loaded
        if loaded is None:
            return  # no commit could be read; that is told by now
        if error.code == FINAL:
            self._refused_tip = loaded.tip
        before, self._refusal = self._refusal, Failure(error, self._clock.now(), loaded.commit)
        if before is None or (before.commit, before.error.code) != (loaded.commit, error.code):
            self._report(ReportKind.SOURCE_REFUSED, loaded.commit, "", error.code)

    async def _ask(self, question: Callable[[Secret | None], Awaitable[T]]) -> T:
        try:
            answer = await question(await self._token.value() if self._token else None)
        except KtError as error:
            if error.code == "forbidden" and self._token is not None:
                self._token.doubted()
            self._unanswered = Failure(error, self._clock.now())
            raise
        self._checked_at, self._unanswered = self._clock.now(), None
        return answer

    def _report(self, kind: ReportKind, commit: str, digest: str, reason: str = "") -> None:
        self._reporter.report(Report(kind, digest, reason=reason, commit=Commit(self._location, commit)))
