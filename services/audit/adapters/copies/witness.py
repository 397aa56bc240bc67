"""Asking a witness to cosign (C2SP tlog-witness, ``POST /add-checkpoint``)."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

import aiohttp

from libs.common.errors import KtError
from libs.common.transparency.merkle import NotProven
from libs.common.transparency.note import Signature
from services.audit.domain.copies import Witness

TIMEOUT_S: Final = 15.0
_MAX_ANSWER: Final = 16 * 1024


class HttpWitness:
    """Implements ``Cosigner``."""

    def __init__(self, session: aiohttp.ClientSession, witness: Witness) -> None:
        self._session = session
        self._witness = witness

    async def cosign(self, old_size: int, proof: Sequence[bytes], note: str, text: str) -> str:
        lines = [f"old {old_size}", *(base64.b64encode(hash_).decode() for hash_ in proof), "", note]
        status, answer = await self._post("\n".join(lines).encode())
        if status == HTTPStatus.CONFLICT:
            size = answer.strip()
            known = int(size) if size.isascii() and size.isdigit() and len(size) < 17 else -1  # noqa: PLR2004
            raise KtError("conflict", "The witness knows another state of the log.", extra={"size": known})
        if status != HTTPStatus.OK:
            raise KtError("unavailable", f"The witness refused the checkpoint with HTTP {status}.")
        return self._verified(answer, text)

    def _verified(self, answer: str, text: str) -> str:
        """The line of its signature, which is what it answers with, if it holds."""
        key = self._witness.key
        for line in answer.splitlines():
            try:
                signature = Signature.parse(line)
                if key.made(signature):
                    key.verify(text, signature)
                    return line
            except NotProven:
                continue
        raise KtError("not_proven", "The witness answered without a signature of its key that holds.")

    async def _post(self, body: bytes) -> tuple[int, str]:
        url = f"{self._witness.url}/add-checkpoint"
        limit = aiohttp.ClientTimeout(total=TIMEOUT_S)
        try:
            async with self._session.post(url, data=body, allow_redirects=False, timeout=limit) as answer:
                return answer.status, (await answer.content.read(_MAX_ANSWER)).decode("utf-8", "replace")
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise KtError("unavailable", f"The witness can't be reached ({type(error).__name__}).") from None
