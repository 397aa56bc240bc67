"""Settings: environment variables with the prefix ``KEEPTRUSTS_``, one class per service."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from libs.common.errors import FieldProblem, KtError
from libs.common.secret import Secret


class ServiceSettings(BaseSettings):
    """What every service process needs. Values come from the environment alone."""

    model_config = SettingsConfigDict(
        env_prefix="KEEPTRUSTS_", extra="ignore", frozen=True, hide_input_in_errors=True
    )

    nats_url: str = Field(default="nats://127.0.0.1:4222", description="Where the NATS server listens")
    nats_creds: Path = Field(description="NATS credentials file of this service (user JWT and seed)")
    log_level: str = Field(default="info", description="debug, info, warning or error")

    @classmethod
    def load(cls) -> Self:
        """Read the environment.

        Raises:
            KtError: ``misconfigured``, naming each variable and what it should hold, never its value.
        """
        try:
            return cls()
        except ValidationError as error:
            problems = tuple(
                FieldProblem("KEEPTRUSTS_" + ".".join(map(str, e["loc"])).upper(), e["msg"]) for e in error.errors()
            )
            names = ", ".join(f"{p.field} ({p.problem.lower()})" for p in problems)
            raise KtError(
                "misconfigured",
                f"The environment is not complete: {names}.",
                "See docs/reference/settings.md.",
                problems,
            ) from None


def secret_from_environment(name: str) -> Secret | None:
    """The value of ``NAME`` or the content of the file named by ``NAME_FILE``; one final line break is dropped.

    Raises:
        KtError: ``misconfigured`` when both are set, or the file can't be read.
    """
    value, path = os.environ.get(name), os.environ.get(f"{name}_FILE")
    if value and path:
        raise KtError("misconfigured", f"{name} and {name}_FILE are both set; expected one of them.")
    if path:
        return secret_from_file(Path(path), f"The file named by {name}_FILE")
    # As bytes: a value that is not UTF-8 can't be encoded, and the error would quote it.
    return Secret(os.fsencode(value)) if value else None


def secret_from_file(path: Path, what: str) -> Secret:
    """The content of a file; one final line break is dropped.

    Raises:
        KtError: ``misconfigured``, calling the file ``what``.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise KtError("misconfigured", f"{what} can't be read: {error.strerror}.") from None
    return Secret(content.removesuffix(b"\n").removesuffix(b"\r"))
