"""The adapters and use cases of one gateway, put together."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from libs.common.clock import SystemClock
from libs.common.ids import Uuid7Factory
from libs.common.secret import Secret
from services.gateway.adapters.api_client import ApiClient
from services.gateway.adapters.config_file import ConfigFile, parse_config
from services.gateway.adapters.environment import EnvironmentKeys, KeySources
from services.gateway.adapters.envoy.admin import Admin
from services.gateway.adapters.envoy.bootstrap import Sockets
from services.gateway.adapters.envoy.clusters import find_ca_bundle
from services.gateway.adapters.envoy.data_plane import EnvoyDataPlane
from services.gateway.adapters.envoy.names import CONTROL_CLUSTER
from services.gateway.adapters.envoy.xds_cache import XdsCache
from services.gateway.adapters.home import EpochFile, find_system
from services.gateway.adapters.optional_system import LinkedSystem, OptionalSystem, needs_system
from services.gateway.application.access_log import AccessLog
from services.gateway.application.background import Background
from services.gateway.application.following import SourceFollower
from services.gateway.application.gateway import Gateway
from services.gateway.application.git_token import GitToken
from services.gateway.application.keyring import Keyring
from services.gateway.application.listeners import Listeners
from services.gateway.application.ports import ChangeListener, ConfigSource, TokenVerifier
from services.gateway.application.repository_config import RepositoryConfig
from services.gateway.application.rotation import PendingChanges, RotationFollower
from services.gateway.domain.client_auth import ClientAuth
from services.gateway.domain.config import GatewayConfig
from services.gateway.domain.git_location import GitLocation
from services.gateway.domain.references import Reference, ReferenceKind
from services.gateway.settings import GatewaySettings

EPOCH_FILE: Final = "access-log.json"

Link = Callable[[ChangeListener], LinkedSystem]
"""Makes the connection to the system; it tells the listener what changes."""


@dataclass(frozen=True, slots=True)
class Places:
    """``home`` is the gateway's own and stays, ``runtime`` is for sockets and goes with the process."""

    home: Path
    runtime: Path


class Parts:
    """The adapters and use cases of one gateway, before anything runs."""

    def __init__(
        self,
        settings: GatewaySettings,
        places: Places,
        background: Background,
        link: Link | None,
    ) -> None:
        self._settings = settings
        self._link_for_tests = link
        self.background = background
        self.clock = SystemClock()
        self.changes = PendingChanges()
        self.listeners = Listeners(self.changes)
        self.keyring = Keyring(self.clock)
        git_token = Reference(ReferenceKind.GIT_TOKEN, settings.git_token) if settings.git_token else None
        self.system = OptionalSystem(self._link, background.start, [git_token] if git_token else [])
        self.access = AccessLog(
            sink=self.system,
            epochs=EpochFile(places.home / EPOCH_FILE),
            history_of=self.keyring.history_of,
            clock=self.clock,
            new_epoch=Uuid7Factory(self.clock).new,
            control=CONTROL_CLUSTER,
        )
        self.keys = KeySources(EnvironmentKeys(os.environ), self.system)
        ca_bundle = find_ca_bundle(settings.ca_bundle)
        self.source = self._source(git_token, ca_bundle)
        self.sockets = Sockets.under(places.runtime)
        self.bootstrap_file = places.runtime / "envoy.json"
        self.cache = XdsCache()
        self.admin = Admin(self.sockets.admin)
        self.data_plane = EnvoyDataPlane(self.cache, self.admin, ca_bundle)

    def gateway(self, auth: ClientAuth) -> Gateway:
        return Gateway(
            name=self._settings.name,
            client_auth=auth.name,
            source=self.source,
            keys=self.keys,
            feed=self.system,
            data_plane=self.data_plane,
            reporter=self.system,
            keyring=self.keyring,
            access=self.access,
            clock=self.clock,
        )

    async def first_config(self) -> GatewayConfig:
        """Raises: KtError, why there is none to begin with."""
        # Watched before it is resolved, so that no change of the access token falls between the two.
        await self.system.watch(())
        return await self.source.load()

    def _source(self, git_token: Reference | None, ca_bundle: str) -> ConfigSource:
        place, settings = self._settings.policy_config, self._settings
        if not isinstance(place, GitLocation):
            return ConfigFile(place, os.environ)
        # Only here: most gateways read a file, and dulwich takes a moment to import.
        from services.gateway.adapters.git.repository import GitRepository  # noqa: PLC0415

        repository = GitRepository(
            place,
            username=settings.git_username,
            ca_bundle=ca_bundle,
            timeout_s=settings.git_timeout_seconds,
        )
        token = GitToken(git_token, self.keys, self.clock) if git_token else None
        if token is not None:
            self.listeners.add(token)
        return RepositoryConfig(
            place,
            repository,
            token,
            lambda raw: parse_config(raw, os.environ),
            reporter=self.system,
            clock=self.clock,
        )

    def source_follower(self, gateway: Gateway) -> SourceFollower | None:
        """None for a file, which is read anew when somebody says so."""
        if not isinstance(self.source, RepositoryConfig):
            return None
        interval = 0.0 if self.source.pinned else self._settings.git_poll_seconds
        follower = SourceFollower(gateway, self.source, interval, random.random)
        self.listeners.add(follower)
        return follower

    def follower(self, gateway: Gateway) -> RotationFollower:
        return RotationFollower(
            gateway=gateway,
            keys=self.keys,
            data_plane=self.data_plane,
            keyring=self.keyring,
            changes=self.changes,
            jitter=random.random,
        )

    def token_verifier(self) -> TokenVerifier | None:
        """Who tells what an operator's token is good for; None where no system is known."""
        url, token = self._known_system()
        return ApiClient(url, token) if url and token is not None else None

    def _known_system(self) -> tuple[str, Secret | None]:
        return find_system(self._settings.home, self._settings.api_url, self._settings.token)

    def _link(self) -> LinkedSystem:
        if self._link_for_tests is not None:
            return self._link_for_tests(self.listeners)
        url, token = self._known_system()
        if not url or token is None:
            raise needs_system()
        # Only here: a gateway with environment references alone runs without a NATS client.
        from services.gateway.adapters.system import System  # noqa: PLC0415

        return System(self._settings.name, url, token, self.listeners, self.clock)
