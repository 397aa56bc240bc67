"""A small JSON client on the standard library: it starts fast, keeps its connection, and bounds every wait.

Neither token nor body ever appears in an error or a trace.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import IO, Any, Final
from urllib.parse import SplitResult, urlencode, urlsplit

from libs.cli.answers import Answer, read_answer
from libs.common.errors import KtError
from libs.common.secret import Secret

CONNECT_SECONDS: Final = 5.0
_MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
_ATTEMPTS: Final = 3
_PAUSE_SECONDS: Final = 0.25
_PASSING: Final = frozenset({"unavailable", "overloaded", "outcome_unknown"})
_START_HINT: Final = "See `kt status`; start the system with `kt up`, or check the address."


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token (RFC 6750), and the place it was found in, to be named when it is refused."""

    secret: Secret
    place: str


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer that is read as it comes; header names in lower case."""

    headers: Mapping[str, str]
    body: IO[bytes]


@dataclass(slots=True)
class Lost(Exception):
    """The connection failed. ``sent`` tells whether the other side may have seen the request."""

    error: KtError
    sent: bool


class HttpClient:
    """Requests to one address with one token. ``hint`` says what to do when nothing answers there.

    A request that is safe to repeat (a GET, or one with an ``Idempotency-Key``) is repeated when a part of the system
    is away for a moment or the connection breaks.
    """

    def __init__(
        self,
        url: str,
        token: Token | None,
        *,
        timeout: float = 30.0,
        hint: str = _START_HINT,
        attempts: int = _ATTEMPTS,
        trace: Callable[[str], None] = lambda _: None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._address = checked_address(url)
        self._token = token
        self._hint = hint
        self._timeout = timeout
        self._connect_timeout = min(CONNECT_SECONDS, timeout)
        self._attempts = attempts
        self._trace = trace
        self._sleep = sleep
        self._connection: http.client.HTTPConnection | None = None

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Answer:
        return self.request("GET", path, query=query)

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request. ``path`` is percent-encoded already; empty query values are left out.

        Raises:
            KtError: the problem that was answered; ``unreachable`` or ``outcome_unknown`` when nothing was.
        """
        target = f"{self._address.path.rstrip('/')}{path}"
        filled = {name: value for name, value in (query or {}).items() if value}
        if filled:
            target = f"{target}?{urlencode(filled)}"
        sent = self._headers(headers or {}, has_body=body is not None)
        content = None if body is None else json.dumps(body).encode()
        repeatable = method == "GET" or "Idempotency-Key" in sent
        for attempt in range(1, self._attempts + 1):
            last = attempt == self._attempts or not repeatable
            try:
                answer = self._once(method, target, content, sent)
            except Lost as lost:
                if last or not lost.sent:
                    raise outcome(lost, method, repeatable=repeatable) from None
            else:
                if answer.problem is None:
                    return answer
                if last or answer.problem.code not in _PASSING:
                    raise self._placed(answer.problem)
            self._sleep(_PAUSE_SECONDS * 2 ** (attempt - 1))
        raise AssertionError("unreachable: the last attempt returns or raises")

    @contextmanager
    def stream(self, path: str, query: Mapping[str, str]) -> Iterator[Stream]:
        """Send a GET whose answer is not JSON and may be of any length. Not repeated.

        Raises:
            KtError: the problem that was answered; ``unreachable`` when nothing was.
        """
        target = f"{self._address.path.rstrip('/')}{path}?{urlencode({k: v for k, v in query.items() if v})}"
        try:
            connection = self._connected()
            connection.request("GET", target, headers={**self._headers({}, has_body=False), "Accept": "*/*"})
            response = connection.getresponse()
        except Lost as lost:
            raise lost.error from None
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise self._unreachable(_reason(error, self._timeout)) from None
        try:
            if response.status != http.client.OK:
                raw = response.read(_MAX_ANSWER_BYTES)
                answer = read_answer(response.status, dict(response.headers.items()), raw)
                raise self._placed(answer.problem or KtError("internal", "The answer is not the one expected."))
            self._trace(f"GET {target} -> {response.status}  {response.headers.get('X-Request-Id', '')}".rstrip())
            yield Stream({name.lower(): value for name, value in response.headers.items()}, response)
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(_reason(error, self._timeout)) from None
        finally:
            self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _headers(self, given: Mapping[str, str], *, has_body: bool) -> dict[str, str]:
        headers = {"Accept": "application/json", "User-Agent": "kt", **given}
        if has_body:
            headers["Content-Type"] = "application/json"
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token.secret.reveal().decode()}"
        return headers

    def _once(self, method: str, target: str, content: bytes | None, headers: Mapping[str, str]) -> Answer:
        connection = self._connected()
        began = time.monotonic()
        try:
            connection.request(method, target, body=content, headers=dict(headers))
            response = connection.getresponse()
            raw = response.read(_MAX_ANSWER_BYTES + 1)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Lost(self._unreachable(_reason(error, self._timeout)), sent=True) from None
        if len(raw) > _MAX_ANSWER_BYTES or response.will_close:
            self.close()
        answer = read_answer(response.status, dict(response.headers.items()), raw)
        took = (time.monotonic() - began) * 1000
        self._trace(f"{method} {target} -> {response.status} in {took:.0f} ms  {answer.request_id}".rstrip())
        return answer

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is not None:
            return self._connection
        host, port = self._address.hostname or "", self._address.port
        connection: http.client.HTTPConnection
        if self._address.scheme == "https":
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(host, port, timeout=self._connect_timeout, context=context)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=self._connect_timeout)
        try:
            connection.connect()
        except (OSError, http.client.HTTPException) as error:
            raise Lost(self._unreachable(_reason(error, self._connect_timeout)), sent=False) from None
        connection.sock.settimeout(self._timeout)
        self._connection = connection
        return connection

    def _placed(self, problem: KtError) -> KtError:
        if problem.code != "unauthenticated" or self._token is None:
            return problem
        hint = f"It came from {self._token.place}. `kt token issue` makes another, run by an admin."
        return replace(problem, hint=hint)

    def _unreachable(self, reason: str) -> KtError:
        where = f"{self._address.scheme}://{self._address.netloc}"
        return KtError("unreachable", f"No answer from {where}: {reason}.", self._hint)


def outcome(lost: Lost, method: str, *, repeatable: bool) -> KtError:
    """What a lost request means: a change that was sent may have happened."""
    if not lost.sent or method == "GET":
        return lost.error
    hint = "Look at the current state before you repeat it."
    if repeatable:
        hint = "Repeat it with the same --idempotency-key: then it happens once at most."
    return KtError("outcome_unknown", f"{lost.error.detail} The change may have been made.", hint)


def checked_address(url: str) -> SplitResult:
    """An ``http`` or ``https`` address with a host and without credentials, query or fragment.

    Raises:
        KtError: ``misconfigured``; the address is not repeated, it may hold what was pasted by mistake.
    """
    try:
        parts = urlsplit(url.strip())
        _ = parts.port
    except ValueError:
        parts = SplitResult("", "", "", "", "")
    usable = parts.scheme in {"http", "https"} and parts.hostname and "@" not in parts.netloc
    if not usable or parts.query or parts.fragment or not url.isprintable() or not url.isascii():
        raise KtError(
            "misconfigured",
            "The address is not usable; expected http://HOST:PORT or https://HOST.",
            "Check --api-url, KEEPTRUSTS_API_URL or --gateway-url.",
        )
    return parts


_REASONS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (ConnectionRefusedError, "nothing listens there"),
    (socket.gaierror, "the host name can't be resolved"),
    (ssl.SSLError, "TLS failed; is it an https:// address?"),
    (http.client.HTTPException, "it closed the connection, or does not speak HTTP"),
)


def _reason(error: Exception, seconds: float) -> str:
    if isinstance(error, TimeoutError):
        return f"nothing within {seconds:.0f} seconds"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message})"
    for kind, reason in _REASONS:
        if isinstance(error, kind):
            return reason
    return (getattr(error, "strerror", None) or type(error).__name__).lower()
