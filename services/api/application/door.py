"""Everything the door offers, as one object."""

from __future__ import annotations

from dataclasses import dataclass

from libs.common.ids import IdFactory
from services.api.application.authentication import Authentication
from services.api.application.denials import Denials
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


@dataclass(frozen=True, slots=True)
class Door:
    authentication: Authentication
    ids: IdFactory
    variables: Secrets
    git_tokens: Secrets
    keeping: Keeping
    machine: Machine
    gateways: Gateways
    tokens: Tokens
    known_tokens: KnownTokens
    records: Records
    proofs: Proofs
    exports: Exports
    readiness: Readiness
    signing_keys: SigningKeys
    webhooks: Webhooks
    revocations: Revocations
    denials: Denials
    refusals: Refusals
