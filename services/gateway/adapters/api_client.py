"""What a gateway asks the API: an identity for the bus, and what a token it was shown is good for."""

from __future__ import annotations

import asyncio
import http.client
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from libs.common.auth.scopes import GATEWAYS_CONTROL
from libs.common.errors import KtError
from libs.common.secret import Secret
from libs.common.subjects import GatewayIdentity
from services.gateway.domain.header_value import header_problem

_TIMEOUT_S: Final = 10.0
_MAX_ANSWER: Final = 64 * 1024
_BUS_IDENTITY: Final = "/v1/machine/bus-identity"
_INTROSPECT: Final = "/v1/tokens/introspect"


@dataclass(frozen=True, slots=True)
class BusIdentity:
    """A NATS user JWT for the user key that was sent; ``gateway`` is what the server will enforce."""

    nats_url: str
    user_jwt: str
    expires_at: datetime
    gateway: GatewayIdentity


class ApiClient:
    def __init__(self, api_url: str, token: Secret) -> None:
        """Raises: KtError ``misconfigured`` when the URL is not http(s) or the token can't be sent."""
        parts = urlsplit(api_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise KtError("misconfigured", "KEEPTRUSTS_API_URL is not an http:// or https:// URL.")
        if problem := header_problem(token):
            raise KtError("misconfigured", f"KEEPTRUSTS_TOKEN {problem}; expected the token alone.")
        self._url = parts
        self._token = token

    async def bus_identity(self, name: str, user_public_key: str) -> BusIdentity:
        """Raises: KtError what the API answered, or ``unreachable``."""
        document = await self._ask(_BUS_IDENTITY, {"name": name, "user_public_key": user_public_key})
        try:
            return BusIdentity(
                nats_url=document["nats_url"],
                user_jwt=document["user_jwt"],
                expires_at=datetime.fromisoformat(document["expires_at"]),
                gateway=GatewayIdentity(document["org"], document["name"], document["token_id"]),
            )
        except (ValueError, KeyError, TypeError):
            raise _unreadable() from None

    async def may_control(self, token: str) -> bool:
        """Does a bearer token that somebody showed hold the scope ``gateways:control``, in the gateway's own org?

        Raises:
            KtError: what the API answered, or ``unreachable``.
        """
        document = await self._ask(_INTROSPECT, {"token": token})
        return document.get("active") is True and GATEWAYS_CONTROL in document.get("scopes", ())

    async def _ask(self, path: str, question: dict[str, str]) -> dict[str, Any]:
        status, answer = await asyncio.to_thread(self._post, path, orjson.dumps(question))
        try:
            document: dict[str, Any] = orjson.loads(answer)
            if status >= http.client.BAD_REQUEST:
                raise KtError.from_wire({**document, "extra": {}})
        except (ValueError, TypeError):
            raise _unreadable() from None
        return document

    def _post(self, path: str, body: bytes) -> tuple[int, bytes]:
        # http.client follows no redirect, so the token goes nowhere else.
        kind = http.client.HTTPSConnection if self._url.scheme == "https" else http.client.HTTPConnection
        connection = kind(self._url.hostname or "", self._url.port, timeout=_TIMEOUT_S)
        headers = {
            "Authorization": f"Bearer {self._token.reveal().decode()}",
            "Content-Type": "application/json",
        }
        try:
            connection.request("POST", self._url.path.rstrip("/") + path, body, headers)
            response = connection.getresponse()
            return response.status, response.read(_MAX_ANSWER)
        except (OSError, http.client.HTTPException) as error:
            raise KtError(
                "unreachable",
                f"The API can't be reached ({type(error).__name__}).",
                "Is it running, and is KEEPTRUSTS_API_URL right?",
            ) from None
        finally:
            connection.close()


def _unreadable() -> KtError:
    return KtError("unavailable", "The API gave an answer that can't be read.", "Is KEEPTRUSTS_API_URL right?")
