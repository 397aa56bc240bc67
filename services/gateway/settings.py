"""What a gateway process is told: by ``kt gateway run``, or by environment variables."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from libs.common.errors import FieldProblem, KtError
from libs.common.names import checked_identity, checked_variable_name
from libs.common.secret import Secret
from services.gateway.domain.git_location import GitLocation, GitLocationError, is_remote, parse_git_location

DEFAULT_NAME: Final = "keeptrusts-proxy"
_LAST_PORT: Final = 65535
_SHORTEST_POLL_S: Final = 5
_USERNAME: Final = re.compile(r"[!-9;-~]{1,128}")


def _as_secret(value: object) -> object:
    return Secret.from_text(value) if isinstance(value, str) else value


SecretSetting = Annotated[Secret, BeforeValidator(_as_secret)]


def _as_place(value: object) -> object:
    """Raises: KtError ``misconfigured``; nothing of the text is repeated, it may hold a credential."""
    if not isinstance(value, str):
        return value
    if not is_remote(value):
        return Path(value)
    try:
        return parse_git_location(value)
    except GitLocationError as error:
        raise KtError("misconfigured", f"--policy-config is not valid {error}.", _HOW_TO_FOLLOW) from None


_HOW_TO_FOLLOW: Final = "docs/how-to/config-from-git.md shows how."
Place = Annotated[Path | GitLocation, NoDecode, BeforeValidator(_as_place)]


class GatewaySettings(BaseSettings):
    """Environment variables: ``KEEPTRUSTS_GATEWAY_<FIELD>``, or the alias a field names."""

    model_config = SettingsConfigDict(
        env_prefix="KEEPTRUSTS_GATEWAY_",
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        arbitrary_types_allowed=True,
        # An alias takes the place of the prefixed name; without this, keyword arguments would need the alias too.
        populate_by_name=True,
    )

    policy_config: Place = Field(
        description="The YAML file with targets and policies, or git+https://HOST/REPOSITORY#PATH@REF"
    )
    git_token: str = Field(default="", description="Name of the Git access token that the repository is read with")
    git_username: str = Field(default="x-access-token", description="User name sent with the token")
    git_poll_seconds: float = Field(
        default=60.0, ge=0, le=86400, description="How often to look for a new commit; 0 means only when told"
    )
    git_timeout_seconds: float = Field(default=30.0, ge=1, le=300, description="How long one look may take")
    git_allow_http: bool = Field(default=False, description="Read the repository over unencrypted http")
    listen: str = Field(default="127.0.0.1:41002", description="address:port; port 0 picks a free one")
    name: str = Field(default=DEFAULT_NAME, description="Names this gateway in the status and in audit events")
    concurrency: int = Field(default=0, ge=0, le=256, description="Envoy's worker threads; 0 means one for each core")
    allow_anonymous: bool = Field(default=False, description="Serve clients without any credential")
    client_key: SecretSetting | None = Field(
        default=None, description="Client key when the gateway runs without a system; made at start when absent"
    )
    drain_seconds: float = Field(default=10.0, ge=0, le=3600, description="How long open streams may go on at a stop")
    home: Path = Field(default=Path(".keeptrusts"), validation_alias="KEEPTRUSTS_HOME")
    api_url: str = Field(default="", validation_alias="KEEPTRUSTS_API_URL")
    token: SecretSetting | None = Field(default=None, validation_alias="KEEPTRUSTS_TOKEN")
    log_level: str = Field(default="info", validation_alias="KEEPTRUSTS_LOG_LEVEL")
    ca_bundle: str = Field(default="", validation_alias="SSL_CERT_FILE")

    @classmethod
    def of(cls, **given: Any) -> GatewaySettings:
        """The environment, overridden by what is given.

        Raises:
            KtError: ``misconfigured``, naming each setting and what it should hold, never its value.
        """
        try:
            settings = cls(**given)
        except ValidationError as error:
            problems = tuple(FieldProblem(".".join(map(str, e["loc"])), e["msg"]) for e in error.errors())
            told = ", ".join(f"{p.field} ({p.problem.lower()})" for p in problems)
            detail = f"The gateway's settings are not complete: {told}."
            raise KtError("misconfigured", detail, "", problems) from None
        checked_identity(settings.name)
        settings.address()
        settings.check_git()
        return settings

    def check_git(self) -> None:
        """Raises: KtError ``misconfigured`` or ``invalid_name``."""
        if not isinstance(self.policy_config, GitLocation):
            if self.git_token:
                raise KtError("misconfigured", "--git-token is for a config in a repository, and this one is a file.")
            return
        if self.policy_config.clear_text and not self.git_allow_http:
            raise KtError(
                "misconfigured",
                "Token and config would cross the network in clear text (git+http).",
                "Use git+https://, or --git-allow-http where the network itself is protected.",
            )
        if self.git_token:
            checked_variable_name(self.git_token)
        if not _USERNAME.fullmatch(self.git_username):
            raise KtError("misconfigured", "--git-username takes 1 to 128 visible ASCII characters without a colon.")
        if 0 < self.git_poll_seconds < _SHORTEST_POLL_S:
            raise KtError("misconfigured", f"--git-poll takes {_SHORTEST_POLL_S} seconds or more, or 0 for never.")

    def address(self) -> tuple[str, int]:
        """Host and port of :attr:`listen`.

        Raises:
            KtError: ``misconfigured``.
        """
        host, colon, port = self.listen.rpartition(":")
        host = {"localhost": "127.0.0.1", "": "127.0.0.1"}.get(host, host.removeprefix("[").removesuffix("]"))
        try:
            number = int(port) if port.isascii() and port.isdigit() else -1
            if not colon or not 0 <= number <= _LAST_PORT:
                raise ValueError
            return str(ipaddress.ip_address(host)), number
        except ValueError:
            detail = "--listen is not address:port; expected for example 0.0.0.0:41002."
            raise KtError("misconfigured", detail) from None


def local_url(host: str, port: int) -> str:
    """How a process on this machine reaches a gateway that listens on ``host``."""
    if ipaddress.ip_address(host).is_unspecified:
        host = "::1" if ":" in host else "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
