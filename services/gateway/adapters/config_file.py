"""The gateway configuration as a YAML file."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from libs.common.errors import FieldProblem, KtError
from libs.common.names import looks_like_secret
from services.gateway.adapters.config_schema import check_structure, dotted
from services.gateway.adapters.yaml_document import MAX_BYTES, Document, config_error, read_document
from services.gateway.domain.config import GatewayConfig
from services.gateway.domain.config_rules import BrokenRulesError, Finding, build_config

_KEY_FIELDS: Final = frozenset(
    {
        "apikey",
        "key",
        "secret",
        "secretkey",
        "token",
        "accesstoken",
        "password",
        "authorization",
        "bearer",
        "credential",
    }
)
_REFERENCE: Final = "secret_key_ref with env: NAME or store: NAME"


def parse_config(raw: bytes, environment: Mapping[str, str]) -> GatewayConfig:
    """Parse and check a configuration.

    Raises:
        KtError: ``invalid_config``; its ``fields`` name every problem with line, column and what was expected.
    """
    document = read_document(raw)
    leaked = list(_plaintext_keys(document.data, ()))
    seen = {finding.path for finding in leaked}
    findings = leaked + [f for f in check_structure(document.data) if f.path not in seen]
    if not findings:
        try:
            return build_config(document.data, hashlib.sha256(raw).hexdigest(), environment)
        except BrokenRulesError as error:
            findings = error.findings
    raise config_error(_placed(findings, document))


def _placed(findings: list[Finding], document: Document) -> tuple[FieldProblem, ...]:
    placed = [
        (document.keys.get(f.path) if "field" in f.problem else None) or document.place(f.path) for f in findings
    ]
    ordered = sorted(zip(placed, findings, strict=True), key=lambda pair: (pair[0].line, pair[0].column))
    return tuple(FieldProblem(dotted(f.path), f"{place}: {f.problem}", f.expected) for place, f in ordered)


def _plaintext_keys(value: Any, path: tuple[str | int, ...]) -> Iterator[Finding]:
    if isinstance(value, dict):
        for name, item in value.items():
            plain = "".join(filter(str.isalnum, name.lower()))
            if looks_like_secret(name):
                yield Finding((*path, name), "a field whose name has the shape of a key", _REFERENCE)
            elif plain in _KEY_FIELDS and item is not None:
                yield Finding(
                    (*path, name), "a field for a key in clear text; this file never holds keys", _REFERENCE
                )
            else:
                yield from _plaintext_keys(item, (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _plaintext_keys(item, (*path, index))
    elif isinstance(value, str) and looks_like_secret(value):
        yield Finding(path, "a value with the shape of a key; this file never holds keys", _REFERENCE)


class ConfigFile:
    """Reads and checks the file anew on every call."""

    def __init__(self, path: Path, environment: Mapping[str, str]) -> None:
        self._path = path
        self._environment = environment

    async def load(self) -> GatewayConfig:
        """Raises: KtError ``invalid_config``, also when the file can't be read."""
        # In a thread: a large file takes a second to parse, and rotations go on meanwhile.
        return await asyncio.to_thread(self._load)

    def applied(self, config: GatewayConfig) -> None:
        """A file is not told."""

    def refused(self, error: KtError) -> None:
        """A file is not told."""

    @property
    def status(self) -> None:
        return None

    def _load(self) -> GatewayConfig:
        try:
            with self._path.open("rb") as file:
                raw = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise KtError(
                "invalid_config",
                f"The gateway configuration {self._path} can't be read: {error.strerror}.",
                "Give the path of a readable YAML file with --policy-config.",
            ) from None
        return parse_config(raw, self._environment)
