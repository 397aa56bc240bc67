"""Providers: which header carries the key, and where the provider is reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Provider:
    """``header`` carries ``prefix`` and the key. ``base_url`` is empty where every customer has an own one."""

    name: str
    header: str = "authorization"
    prefix: str = "Bearer "
    base_url: str = ""

    @property
    def default_variable(self) -> str:
        """The config variable of a target without ``secret_key_ref``: ``OPENAI_API_KEY`` for ``openai``."""
        return f"{self.name.upper().replace('-', '_')}_API_KEY"


PROVIDERS: Final[Mapping[str, Provider]] = {
    provider.name: provider
    for provider in (
        Provider("openai", base_url="https://api.openai.com"),
        Provider("openai-compatible"),
        Provider("anthropic", "x-api-key", "", "https://api.anthropic.com"),
        Provider("azure-openai", "api-key", ""),
        Provider("azure", "api-key", ""),
        Provider("google", "x-goog-api-key", "", "https://generativelanguage.googleapis.com"),
        Provider("mistral", base_url="https://api.mistral.ai"),
        Provider("groq", base_url="https://api.groq.com/openai"),
        Provider("together", base_url="https://api.together.xyz"),
        Provider("deepseek", base_url="https://api.deepseek.com"),
        Provider("xai", base_url="https://api.x.ai"),
        Provider("openrouter", base_url="https://openrouter.ai/api"),
        Provider("fireworks", base_url="https://api.fireworks.ai/inference"),
        Provider("cerebras", base_url="https://api.cerebras.ai"),
    )
}

CREDENTIAL_HEADERS: Final = ("authorization", "x-api-key", "api-key", "x-goog-api-key")
"""Where SDKs put the credential of their client; each is accepted for the gateway's own client credential."""

STRIPPED_HEADERS: Final = (*CREDENTIAL_HEADERS, "proxy-authorization", "cookie")
"""Taken off every request, whatever the target's header is, before the target's key is put on."""

CREDENTIAL_PARAMETERS: Final = ("key", "api_key", "api-key", "apikey", "access_token")
"""Query parameters that some providers read a key from. A key in a URL ends up in logs: such a request is refused."""
