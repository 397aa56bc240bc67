"""Copies of checkpoints in a bucket: one signed PUT each (AWS Signature Version 4), which replaces nothing."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Final
from urllib.parse import quote, urlsplit

import aiohttp
from yarl import URL

from libs.common.clock import Clock
from libs.common.errors import KtError
from libs.common.secret import Secret
from services.audit.domain.copies import Bucket

TIMEOUT_S: Final = 15.0
_ALGORITHM: Final = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class BucketKey:
    """An access key; ``region`` is the one that its requests are signed for."""

    id: str
    secret: Secret
    region: str


class BucketCopies:
    """Implements ``Copies``."""

    def __init__(self, session: aiohttp.ClientSession, target: Bucket, key: BucketKey, clock: Clock) -> None:
        self._session = session
        self._target = target
        self._key = key
        self._clock = clock

    async def put(self, name: str, content: bytes) -> None:
        path = quote(f"/{self._target.name}/{self._target.prefix}{name}", safe="/-_.~")
        host = urlsplit(self._target.endpoint).netloc
        headers = self._signed(path, host, content, self._clock.now())
        try:
            async with self._session.put(
                URL(f"{self._target.endpoint}{path}", encoded=True),
                data=content,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
            ) as answer:
                status = answer.status
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise KtError("unavailable", f"The bucket can't be reached ({type(error).__name__}).") from None
        # There is a copy of that name already, and only this log's checkpoints get such names.
        if status not in (HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.NO_CONTENT, HTTPStatus.PRECONDITION_FAILED):
            raise KtError("unavailable", f"The bucket refused the copy with HTTP {status}.")

    def _signed(self, path: str, host: str, content: bytes, now: datetime) -> dict[str, str]:
        moment = now.strftime("%Y%m%dT%H%M%SZ")
        digest = hashlib.sha256(content).hexdigest()
        headers = {
            "content-type": "text/plain; charset=utf-8",
            "host": host,
            "if-none-match": "*",
            "x-amz-content-sha256": digest,
            "x-amz-date": moment,
        }
        names = ";".join(headers)
        canonical = "\n".join(["PUT", path, "", *(f"{k}:{v}" for k, v in headers.items()), "", names, digest])
        scope = f"{moment[:8]}/{self._key.region}/s3/aws4_request"
        text = "\n".join([_ALGORITHM, moment, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        key = b"AWS4" + self._key.secret.reveal()
        for part in (moment[:8], self._key.region, "s3", "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        credential = f"{self._key.id}/{scope}"
        authorization = f"{_ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={signature}"
        return {**headers, "authorization": authorization}
