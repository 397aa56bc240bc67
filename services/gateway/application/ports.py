"""What the gateway's use cases need from the outside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from libs.common.secret import Secret
from services.gateway.domain.access import Recording
from services.gateway.domain.client_auth import ClientAuth
from services.gateway.domain.config import GatewayConfig
from services.gateway.domain.references import Purpose, Reference, Resolution
from services.gateway.domain.routing import RoutingPlan


class ConfigSource(Protocol):
    async def load(self) -> GatewayConfig:
        """The configuration as it is now. Raises: KtError ``invalid_config``."""


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

    def changed(self, name: str) -> None:
        """A config variable got a new version, or was deleted."""

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


@dataclass(frozen=True, slots=True)
class TargetVersion:
    target: str
    reference: Reference
    version: int


@dataclass(frozen=True, slots=True)
class Report:
    """``reason`` is the error code of a refused reload."""

    kind: ReportKind
    config_digest: str
    targets: tuple[TargetVersion, ...] = ()
    reason: str = ""


class Reporter(Protocol):
    def report(self, report: Report) -> None:
        """Tell the system, in the background and in order. Returns at once and never fails."""


class TokenVerifier(Protocol):
    async def may_control(self, token: str) -> bool:
        """Does this bearer token hold the scope ``gateways:control``?"""
