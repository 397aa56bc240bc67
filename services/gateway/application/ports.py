"""What the gateway's use cases need from the outside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from libs.common.errors import KtError
from libs.common.secret import Secret
from services.gateway.domain.access import Recording
from services.gateway.domain.client_auth import ClientAuth
from services.gateway.domain.config import GatewayConfig
from services.gateway.domain.git_location import GitLocation
from services.gateway.domain.references import Purpose, Reference, Resolution
from services.gateway.domain.routing import RoutingPlan
from services.gateway.domain.source import SourceStatus


class ConfigSource(Protocol):
    """Where the configuration comes from. It is told what became of what it loaded last."""

    async def load(self) -> GatewayConfig:
        """The configuration as it is now. Raises: KtError ``invalid_config``, or why it can't be had."""

    def applied(self, config: GatewayConfig) -> None:
        """It is in force from now on."""

    def refused(self, error: KtError) -> None:
        """It is not; what was in force before stays."""

    @property
    def status(self) -> SourceStatus | None:
        """Of a repository; None for a file."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One commit. ``tip`` is what the ref points to: the commit, or a tag of it.

    ``problem`` says, in words, why the path names no file there.
    """

    tip: str
    commit: str
    content: bytes = b""
    problem: str = ""


class Repository(Protocol):
    """A repository and a ref in it. Nothing it raises or returns holds the token.

    Each call raises KtError: ``unreachable`` or ``unavailable``; ``forbidden`` when it refuses the token;
    ``not_found`` when there is no such repository or ref.
    """

    async def tip(self, token: Secret | None) -> str:
        """What the ref points to now."""

    async def snapshot(self, token: Secret | None) -> Snapshot:
        """The file, as of now."""


class KeySource(Protocol):
    async def resolve(self, references: Sequence[Reference], purpose: Purpose) -> Sequence[Resolution]:
        """One resolution for each reference.

        Raises:
            KtError: ``unreachable`` or ``unavailable`` when no answer can be had; nothing is known then.
        """


class ChangeFeed(Protocol):
    async def watch(self, references: Sequence[Reference]) -> None:
        """From now on tell about changes of exactly these references.

        Raises:
            KtError: ``unreachable`` or ``unavailable``.
        """


class ChangeListener(Protocol):
    """Told by a :class:`ChangeFeed`; both calls return at once."""

    def changed(self, reference: Reference) -> None:
        """A secret of the system got a new version, or was deleted."""

    def missed(self) -> None:
        """Changes may have been missed: after a reconnect or a gap."""


class DataPlane(Protocol):
    """The proxy that serves requests. It has what it was given last; a restart of it loses nothing."""

    @property
    def connected(self) -> bool:
        """Does the proxy take updates at the moment?"""

    async def apply(self, plan: RoutingPlan, key_of: Callable[[Reference], Secret | None]) -> None:
        """Switch to ``plan``, atomically: every request is served by the old plan or by the new one. On return every
        key of the plan has been acknowledged.

        ``key_of`` gives the value held for a reference at the moment it is asked.

        Raises:
            KtError: ``unavailable`` when the proxy refuses or does not answer; the old plan stays.
        """

    def set_key(self, reference: Reference, value: Secret | None) -> None:
        """Give the proxy another value for a reference in use; None withdraws it. Returns at once."""

    async def acknowledgement(self, reference: Reference, timeout_s: float) -> None:
        """Wait until the proxy has confirmed the value given last.

        Raises:
            KtError: ``unavailable``.
        """

    def acknowledged(self, reference: Reference) -> bool:
        """Has the proxy that runs now confirmed the value given last?"""

    def set_recording(self, recording: Recording) -> None:
        """Which requests the proxy tells of from now on. Returns at once."""

    async def set_client_auth(self, auth: ClientAuth) -> None:
        """How requests are authenticated from now on. Open streams are not touched.

        Raises:
            KtError: ``unavailable``.
        """


class ReportKind(StrEnum):
    CONFIG_LOADED = "config_loaded"
    CONFIG_RELOADED = "config_reloaded"
    RELOAD_REFUSED = "reload_refused"
    VERSION_ADOPTED = "version_adopted"
    SOURCE_APPLIED = "config_source_applied"
    SOURCE_REFUSED = "config_source_refused"
    AUDIT_POLICY_APPLIED = "audit_policy_applied"


@dataclass(frozen=True, slots=True)
class TargetVersion:
    target: str
    reference: Reference
    version: int


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit of a repository that configurations come from. ``id`` is empty when none could be read."""

    location: GitLocation
    id: str


@dataclass(frozen=True, slots=True)
class AuditPolicy:
    """What a config asks of the audit log; ``retention_days`` is 0 when it asks for nothing."""

    retention_days: int
    log_all_access: bool


@dataclass(frozen=True, slots=True)
class Report:
    """``reason`` is the error code of what was refused. A report of a source has a ``commit``."""

    kind: ReportKind
    config_digest: str
    targets: tuple[TargetVersion, ...] = ()
    reason: str = ""
    commit: Commit | None = None
    policy: AuditPolicy | None = None


class Reporter(Protocol):
    def report(self, report: Report) -> None:
        """Tell the system, in the background and in order. Returns at once and never fails."""


class TokenVerifier(Protocol):
    async def may_control(self, token: str) -> bool:
        """Does this bearer token hold the scope ``gateways:control``?"""
