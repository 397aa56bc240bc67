"""Roles and what each may do. Default deny: a route names the scope it needs, a role lists the scopes it has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

VARIABLES_READ: Final = "config_variables:read"
VARIABLES_WRITE: Final = "config_variables:write"
GIT_TOKENS_READ: Final = "git_tokens:read"
GIT_TOKENS_WRITE: Final = "git_tokens:write"
SECRETS_RESOLVE: Final = "secrets:resolve"
EVENTS_READ: Final = "events:read"
EVENTS_REPAIR: Final = "events:repair"
EVENTS_KEEP: Final = "events:keep"
EVENTS_EXPORT: Final = "events:export"
GATEWAYS_READ: Final = "gateways:read"
GATEWAYS_CONTROL: Final = "gateways:control"
GATEWAYS_CONNECT: Final = "gateways:connect"
KEYS_READ: Final = "keys:read"
KEYS_ROTATE: Final = "keys:rotate"
TOKENS_READ: Final = "tokens:read"
TOKENS_ISSUE: Final = "tokens:issue"
WEBHOOKS_READ: Final = "webhooks:read"
WEBHOOKS_WRITE: Final = "webhooks:write"
TOKENS_REVOKE: Final = "tokens:revoke"

ROLES: Final[Mapping[str, frozenset[str]]] = {
    "admin": frozenset(
        {
            VARIABLES_READ,
            VARIABLES_WRITE,
            GIT_TOKENS_READ,
            GIT_TOKENS_WRITE,
            EVENTS_READ,
            EVENTS_REPAIR,
            EVENTS_KEEP,
            EVENTS_EXPORT,
            GATEWAYS_READ,
            GATEWAYS_CONTROL,
            GATEWAYS_CONNECT,
            KEYS_READ,
            KEYS_ROTATE,
            SECRETS_RESOLVE,
            TOKENS_READ,
            TOKENS_ISSUE,
            WEBHOOKS_READ,
            WEBHOOKS_WRITE,
            TOKENS_REVOKE,
        }
    ),
    "operator": frozenset(
        {
            VARIABLES_READ,
            VARIABLES_WRITE,
            GIT_TOKENS_READ,
            GIT_TOKENS_WRITE,
            EVENTS_READ,
            GATEWAYS_READ,
            GATEWAYS_CONTROL,
            KEYS_READ,
            TOKENS_READ,
            WEBHOOKS_READ,
            WEBHOOKS_WRITE,
        }
    ),
    "auditor": frozenset(
        {
            VARIABLES_READ,
            GIT_TOKENS_READ,
            EVENTS_READ,
            EVENTS_EXPORT,
            GATEWAYS_READ,
            KEYS_READ,
            TOKENS_READ,
            WEBHOOKS_READ,
        }
    ),
    "gateway": frozenset({GATEWAYS_CONNECT}),
    "machine": frozenset({SECRETS_RESOLVE}),
}

CLIENT_ROLE: Final = "client"
"""Clients of a gateway. Their tokens are signed with another key and mean nothing to the API."""
