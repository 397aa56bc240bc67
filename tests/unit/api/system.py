"""A door with everything behind it played by functions, and callers with tokens."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from libs.common.auth.token_keys import TokenKeys
from libs.common.auth.tokens import TokenVerifier, token_claims
from libs.common.errors import KtError
from libs.common.hpke import BoxPrivateKey, BoxPublicKey
from libs.common.messaging.connection import REQUEST_TIMEOUT_S
from libs.common.messaging.rpc import Endpoint, Message
from libs.common.protocol import command, keys, resolver
from libs.common.secret import Secret
from libs.common.subjects import GatewayIdentity
from services.api.adapters.http.app import create_app
from services.api.application.audit_reads import AuditReads
from services.api.application.authentication import Authentication
from services.api.application.boxing import Boxes
from services.api.application.denials import Denials
from services.api.application.door import Door
from services.api.application.exports import Exports
from services.api.application.gateways import Gateways
from services.api.application.keeping import Keeping
from services.api.application.known_tokens import KnownTokens
from services.api.application.machine import Machine
from services.api.application.proofs import Proofs
from services.api.application.readiness import Readiness
from services.api.application.records import Records
from services.api.application.refusals import Refusals
from services.api.application.revocations import Revocations
from services.api.application.secrets import Secrets
from services.api.application.signing_keys import SigningKeys
from services.api.application.tokens import Tokens
from services.api.application.webhooks import Webhooks
from tests.unit.api.http import Answer, request

Req = TypeVar("Req", bound=Message)
Rep = TypeVar("Rep", bound=Message)

NOW = datetime(2026, 11, 23, 7, 39, 3, tzinfo=UTC)
TRANSPORT = BoxPrivateKey.generate()
KEYS = TokenKeys({"old": Secret(b"o" * 32), "new": Secret(b"n" * 32)})


class FixedClock:
    def now(self) -> datetime:
        return NOW


class CountingIds:
    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def new(self) -> str:
        return f"id-{next(self._numbers)}"


class FakeSigner:
    def sign(self, gateway: GatewayIdentity, user: str, now: datetime, expires: datetime) -> str:
        return f"jwt.{'.'.join(gateway)}.{user}.{int((expires - now).total_seconds())}"


@dataclass
class FakeBus:
    """Answers each endpoint with a function of the request, or raises what it is told to; remembers what was asked."""

    answers: dict[str, Callable[[Any], Message]] = field(default_factory=dict)
    asked: list[tuple[str, Message]] = field(default_factory=list)

    async def call(
        self, endpoint: Endpoint[Req, Rep], request: Req, *, subject: str = "", timeout_s: float = REQUEST_TIMEOUT_S
    ) -> Rep:
        wire = request.model_dump_json()
        self.asked.append((endpoint.subject, request))
        answer = self.answers.get(endpoint.subject)
        if answer is None:
            raise KtError("unavailable", f"The {endpoint.queue} service is not running.")
        return endpoint.reply.model_validate_json(
            answer(endpoint.request.model_validate_json(wire)).model_dump_json()
        )

    def on(self, endpoint: Endpoint[Req, Rep], answer: Callable[[Req], Rep]) -> None:
        self.answers[endpoint.subject] = answer

    def fails(self, endpoint: Endpoint[Any, Any], *errors: KtError) -> None:
        """The next calls raise these, one each; what answered before answers after them."""
        waiting, before = list(errors), self.answers.get(endpoint.subject)

        def answer(request: Any) -> Message:
            if waiting:
                raise waiting.pop(0)
            assert before is not None
            return before(request)

        self.answers[endpoint.subject] = answer

    def requests(self, endpoint: Endpoint[Req, Any]) -> list[Req]:
        return [r for subject, r in self.asked if subject == endpoint.subject and isinstance(r, endpoint.request)]


@dataclass
class MovingClock:
    moment: datetime = NOW

    def now(self) -> datetime:
        return self.moment


@dataclass
class FakeAccess:
    """The access stream: what was put on record, unless it can't be."""

    bodies: list[bytes] = field(default_factory=list)
    subjects: list[str] = field(default_factory=list)
    away: bool = False

    async def record(self, messages: Sequence[tuple[str, bytes]]) -> None:
        if self.away:
            raise KtError("unavailable", "The access could not be put on record, so nothing was handed out.")
        self.subjects += [subject for subject, _ in messages]
        self.bodies += [body for _, body in messages]

    def documents(self, wire_name: str) -> list[dict[str, Any]]:
        documents = [json.loads(body) for body in self.bodies]
        return [document for document in documents if document["type"] == wire_name]


class AccessRecords:
    """What was put on record of accesses, as documents."""

    def __init__(self) -> None:
        self.documents: list[dict[str, Any]] = []
        self.down = False

    async def record(self, messages: Sequence[tuple[str, bytes]]) -> None:
        if self.down:
            raise KtError("unavailable", "The stream does not answer.")
        self.documents += [{"stored_on": subject, **json.loads(body)} for subject, body in messages]


class System:
    """The door under test. ``bus`` behaves like a healthy system until told otherwise."""

    def __init__(self, max_active: int = 16) -> None:
        self.bus = FakeBus()
        self.access = FakeAccess()
        self.clock = MovingClock()
        self.elapsed = 0.0
        self._tell_bus()
        verifier, ids = TokenVerifier(lambda: KEYS, FixedClock()), CountingIds()
        revocations = Revocations(self.bus, FixedClock(), lambda: self.elapsed)
        revocations._fresh_at = float("inf")
        authentication = Authentication(verifier, revocations)
        self.records = AccessRecords()
        refusals = Refusals(self.records, FixedClock(), ids, lambda: self.elapsed)
        boxes = Boxes(self.bus, lambda: self.elapsed)
        reads = AuditReads(self.access, self.clock, ids)
        self.door = Door(
            authentication=authentication,
            ids=ids,
            variables=Secrets("config_variable", self.bus, boxes),
            git_tokens=Secrets("git_token", self.bus, boxes),
            keeping=Keeping(self.bus),
            machine=Machine(self.bus),
            gateways=Gateways(self.bus, FakeSigner(), FixedClock(), ids, "nats://bus.example:4222"),
            tokens=Tokens(self.bus, lambda: KEYS, authentication, refusals, FixedClock(), ids),
            known_tokens=KnownTokens(self.bus, ids, revocations),
            records=Records(self.bus, reads),
            proofs=Proofs(self.bus, reads),
            exports=Exports(self.bus, reads, ids, self.clock),
            readiness=Readiness(self.bus, lambda: self.elapsed),
            signing_keys=SigningKeys(KEYS, lambda: KEYS, FixedClock()),
            webhooks=Webhooks(self.bus, boxes, lambda size: bytes(range(size))),
            revocations=revocations,
            denials=Denials(self.access, self.clock, ids),
            refusals=refusals,
        )
        self.app = create_app(self.door, max_active)

    async def ask(
        self,
        method: str,
        target: str,
        document: object = None,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """As an admin unless told otherwise; ``token`` empty sends none."""
        sent = dict(headers or {})
        if token != "":
            sent.setdefault("Authorization", f"Bearer {token_for('admin') if token is None else token}")
        body = b"" if document is None else json.dumps(document).encode()
        if document is not None:
            sent.setdefault("Content-Type", "application/json")
        return await request(self.app, method, target, sent, body)

    def _tell_bus(self) -> None:
        bus = self.bus
        bus.on(
            keys.TRANSPORT_KEY,
            lambda _: keys.TransportKeyReply(key_id="t1", public_key=TRANSPORT.public.encoded),
        )
        for endpoint in command.SECRETS.values():
            bus.on(endpoint, outcome)
        bus.on(resolver.GET, lambda r: view(r.name))


def token_for(role: str, *, ttl: timedelta = timedelta(hours=1), **claims: Any) -> str:
    """A token signed with the current key; ``claims`` replace or add some."""
    made = token_claims(
        token_id="jti-1",
        subject=f"{role}-1",
        org="default",
        role=role,
        issued=NOW,
        ttl_s=int(ttl.total_seconds()),
        references=("*",),
    )
    return KEYS.sign({**made, **claims})


def outcome(request: command.SecretCommand, **changes: Any) -> command.SecretOutcome:
    known: dict[str, Any] = {
        "name": request.name,
        "version": 1,
        "description": request.description or "",
        "sensitive": True if request.sensitive is None else request.sensitive,
        "deleted": request.command == "delete",
        "sequence": 42,
        "created_at": "2026-11-23T07:39:03.192164Z",
        "updated_at": "2026-11-23T07:39:03.192164Z",
        "event_id": "e1",
        "replayed": False,
    }
    return command.SecretOutcome(**{**known, **changes})


def view(name: str, **changes: Any) -> resolver.SecretView:
    known: dict[str, Any] = {
        "name": name,
        "description": "OpenAI",
        "sensitive": True,
        "version": 3,
        "sequence": 42,
        "created_at": "2026-11-23T07:39:03.192164Z",
        "updated_at": "2026-11-23T07:39:03.192164Z",
    }
    return resolver.SecretView(**{**known, **changes})


def boxed_reply(
    caller_org: str, requester: str, recipient_key: bytes, values: Mapping[str, str]
) -> resolver.ResolveReply:
    """What the resolver and the key service answer when all is well."""
    content = json.dumps({name: base64.b64encode(value.encode()).decode() for name, value in values.items()})
    context = keys.resolve_context(caller_org, requester, recipient_key)
    box = BoxPublicKey(recipient_key).seal(Secret.from_text(content), context)
    results = [resolver.Resolution(reference=n, status="resolved", version=3, sequence=42) for n in values]
    return resolver.ResolveReply(results=results, box=box)
