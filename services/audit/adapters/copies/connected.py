"""The places that the settings name, connected."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from libs.common.clock import Clock
from libs.common.errors import KtError
from libs.common.secret import Secret
from services.audit.adapters.copies.branch import BranchCopies
from services.audit.adapters.copies.bucket import BucketCopies, BucketKey
from services.audit.adapters.copies.folder import FolderCopies
from services.audit.adapters.copies.witness import HttpWitness
from services.audit.application.ports import Copies, Cosigner
from services.audit.domain.copies import Bucket, Folder, Target, Witness


@dataclass(frozen=True, slots=True)
class Credentials:
    """``bucket_key`` is the id that belongs to ``bucket_secret``."""

    bucket_key: str = ""
    bucket_secret: Secret | None = None
    bucket_region: str = ""
    git_token: Secret | None = None


@asynccontextmanager
async def connected(
    targets: Mapping[str, Target], witnesses: Mapping[str, Witness], credentials: Credentials, clock: Clock
) -> AsyncIterator[tuple[dict[str, Copies], dict[str, Cosigner]]]:
    """
    Raises:
        KtError: ``misconfigured`` for a bucket without credentials.
    """
    async with aiohttp.ClientSession() as session:
        copies = {name: _copies(session, target, credentials, clock) for name, target in targets.items()}
        yield copies, {name: HttpWitness(session, witness) for name, witness in witnesses.items()}


def _copies(session: aiohttp.ClientSession, target: Target, credentials: Credentials, clock: Clock) -> Copies:
    if isinstance(target, Folder):
        return FolderCopies(target)
    if isinstance(target, Bucket):
        if not credentials.bucket_key or credentials.bucket_secret is None:
            raise KtError(
                "misconfigured",
                "Copies of checkpoints go to a bucket, but there are no credentials for it.",
                "Set KEEPTRUSTS_AUDIT_BUCKET_ACCESS_KEY and KEEPTRUSTS_AUDIT_BUCKET_SECRET_KEY(_FILE).",
            )
        key = BucketKey(credentials.bucket_key, credentials.bucket_secret, credentials.bucket_region)
        return BucketCopies(session, target, key, clock)
    return BranchCopies(target, credentials.git_token, clock, os.environ.get("SSL_CERT_FILE", ""))
