"""Places outside the system: a bucket that checks signatures by itself, and a witness."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from libs.common.transparency.merkle import EMPTY_ROOT, NotProven, verify_consistency
from libs.common.transparency.note import COSIGNATURE, Checkpoint, Note, VerifierKey, verified_checkpoint
from tests.unit.transparency.signing import Signer

KEY, SECRET, REGION = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "eu-central-1"


@dataclass
class Outside:
    url: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    witness: Signer = field(default_factory=lambda: Signer("witness.example.com/w1", seed=9, algorithm=COSIGNATURE))
    trusted: list[VerifierKey] = field(default_factory=list)
    seen: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    away: bool = False

    async def put(self, request: web.Request) -> web.Response:
        if self.away:
            return web.Response(status=503)
        body = await request.read()
        if not signed(request, body):
            return web.Response(status=403, text="SignatureDoesNotMatch")
        if request.path in self.objects and request.headers.get("If-None-Match") == "*":
            return web.Response(status=412)
        self.objects[request.path] = body
        return web.Response()

    async def add_checkpoint(self, request: web.Request) -> web.Response:
        """As C2SP tlog-witness says."""
        head, _, raw = (await request.read()).partition(b"\n\n")
        first, *proof = head.decode().split("\n")
        old = int(first.removeprefix("old "))
        try:
            checkpoint = verified_checkpoint(raw, self.trusted)
        except NotProven:
            return web.Response(status=403)
        size, root = self.seen.get(checkpoint.origin, (0, EMPTY_ROOT))
        if old != size:
            return web.Response(status=409, text=f"{size}\n", content_type="text/x.tlog.size")
        try:
            verify_consistency(old, root, checkpoint.size, checkpoint.root, list(map(base64.b64decode, proof)))
        except NotProven:
            return web.Response(status=422)
        self.seen[checkpoint.origin] = (checkpoint.size, checkpoint.root)
        return web.Response(text=str(self.witness.sign(Note.parse(raw).text)))

    def checkpoint_at(self, path: str) -> Checkpoint:
        return verified_checkpoint(self.objects[path], self.trusted)


def signed(request: web.Request, body: bytes) -> bool:
    """AWS Signature Version 4, computed anew from what arrived."""
    algorithm, _, rest = request.headers["Authorization"].partition(" ")
    fields = dict(part.strip().split("=", 1) for part in rest.split(","))
    names = fields["SignedHeaders"].split(";")
    digest = hashlib.sha256(body).hexdigest()
    lines = [request.method, request.rel_url.raw_path, request.query_string]
    lines += [f"{name}:{request.headers[name].strip()}" for name in names] + ["", ";".join(names), digest]
    key_id, _, scope = fields["Credential"].partition("/")
    canonical = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    text = "\n".join([algorithm, request.headers["X-Amz-Date"], scope, canonical])
    key = b"AWS4" + SECRET.encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    right = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    return key_id == KEY and digest == request.headers["X-Amz-Content-Sha256"] and right == fields["Signature"]


@asynccontextmanager
async def outside() -> AsyncIterator[Outside]:
    found = Outside()
    app = web.Application()
    app.router.add_put("/{name:.*}", found.put)
    app.router.add_post("/w1/add-checkpoint", found.add_checkpoint)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield found
    finally:
        await runner.cleanup()
