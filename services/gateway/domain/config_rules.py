"""From plain data that fits the schema to a :class:`GatewayConfig`: the rules a JSON Schema can't say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from libs.common.secret import Secret
from services.gateway.domain.config import AuditLogger, GatewayConfig, Pack, Target
from services.gateway.domain.header_value import header_problem
from services.gateway.domain.providers import PROVIDERS, Provider
from services.gateway.domain.references import Reference, ReferenceKind
from services.gateway.domain.upstreams import BaseUrlError, Upstream, parse_base_url

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken rule: where in the data, what is wrong, what was expected. Never the value."""

    path: Path
    problem: str
    expected: str


class BrokenRulesError(ValueError):
    def __init__(self, findings: list[Finding]) -> None:
        super().__init__(f"{len(findings)} rules are broken")
        self.findings = findings


def build_config(data: Mapping[str, Any], digest: str, environment: Mapping[str, str]) -> GatewayConfig:
    """``environment`` is checked here, so that a missing variable stops the start and not the first request.

    Raises:
        BrokenRulesError: everything that is wrong, not only the first thing.
    """
    builder = _Builder(environment)
    targets = tuple(
        target
        for index, item in enumerate(data["providers"]["targets"])
        if (target := builder.target(item, ("providers", "targets", index)))
    )
    if "policy" in data and "policy" in data.get("policies", {}):
        builder.found(("policy",), "the settings of the policies stand in two places", "policy once")
    if builder.findings:
        raise BrokenRulesError(builder.findings)
    return GatewayConfig(
        pack=Pack(data["pack"]["name"], data["pack"]["version"]),
        targets=targets,
        audit_logger=_audit_logger(data),
        digest=digest,
    )


def _audit_logger(data: Mapping[str, Any]) -> AuditLogger | None:
    if "audit-logger" not in data.get("policies", {}).get("chain", ()):
        return None
    policies = data["policies"].get("policy") or data.get("policy") or {}
    settings = policies.get("audit-logger", {})
    if "retention_days" in settings:
        settings = {**settings, "retention_days": int(settings["retention_days"])}
    return AuditLogger(**settings)


class _Builder:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self.findings: list[Finding] = []
        self._environment = environment
        self._ids: set[str] = set()

    def found(self, path: Path, problem: str, expected: str) -> None:
        self.findings.append(Finding(path, problem, expected))

    def target(self, item: Mapping[str, Any], path: Path) -> Target | None:
        if item["id"] in self._ids:
            self.found((*path, "id"), "another target has the same id", "an id of its own for each target")
        self._ids.add(item["id"])
        provider = self._provider(item, path)
        if provider is None:
            return None
        upstream = self._upstream(item, provider, path)
        reference = self._reference(item, provider, path)
        if upstream is None or reference is None:
            return None
        model = item.get("model", ())
        models = (model,) if isinstance(model, str) else tuple(model)
        return Target(item["id"], provider, models, upstream, reference)

    def _provider(self, item: Mapping[str, Any], path: Path) -> Provider | None:
        name = item.get("provider") or item["id"]
        provider = PROVIDERS.get(name)
        if provider is None:
            expected = f"provider: one of {', '.join(PROVIDERS)}"
            self.found((*path, "id"), "the target names no provider and its id is not one", expected)
        return provider

    def _upstream(self, item: Mapping[str, Any], provider: Provider, path: Path) -> Upstream | None:
        text = item.get("base_url") or provider.base_url
        if not text:
            self.found(path, "this provider has no common address, and base_url is missing", "base_url: https://…")
            return None
        path = (*path, "base_url")
        try:
            upstream = parse_base_url(text)
        except BaseUrlError as error:
            self.found(path, f"the URL {error}", "a URL such as https://api.openai.com")
            return None
        if not upstream.tls and not upstream.loopback and not item.get("allow_insecure", False):
            expected = "https://, or allow_insecure: true on this target"
            self.found(path, "the key would cross the network in clear text (http)", expected)
            return None
        return upstream

    def _reference(self, item: Mapping[str, Any], provider: Provider, path: Path) -> Reference | None:
        given = item.get("secret_key_ref")
        if given is None:
            return Reference(ReferenceKind.STORE, provider.default_variable)
        if "store" in given:
            return Reference(ReferenceKind.STORE, given["store"])
        name = given["env"]
        path = (*path, "secret_key_ref", "env")
        value = self._environment.get(name, "")
        if not value:
            state = "empty" if name in self._environment else "not set"
            self.found(path, f"the environment variable {name} is {state}", f"{name} in the gateway's environment")
            return None
        if problem := header_problem(Secret.from_text(value)):
            expected = "a key on one line, without blanks around it"
            self.found(path, f"the value of the environment variable {name} {problem}", expected)
            return None
        return Reference(ReferenceKind.ENV, name)
