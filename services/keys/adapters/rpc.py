"""The key service on the bus: endpoints of ``libs.common.protocol.keys`` onto use cases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from libs.common.errors import KtError
from libs.common.hpke import BoxPublicKey
from libs.common.messaging.server import RpcServer
from libs.common.names import checked_org
from libs.common.protocol import keys as protocol
from libs.common.protocol.backups import AUTHENTICATE_BACKUP, AuthenticateBackup, AuthenticateBackupReply
from libs.common.secret import Secret
from services.keys.adapters import views
from services.keys.application.backups import Backups
from services.keys.application.checkpoint_signing import CheckpointSigner
from services.keys.application.client_tokens import ClientTokens
from services.keys.application.deep_rotation import DeepRotator
from services.keys.application.keyring import Keyring
from services.keys.application.legacy import LegacyRows
from services.keys.application.opening import Opening, OpenItem, SealedReference
from services.keys.application.sealing import Sealed, Sealing
from services.keys.application.status import Status
from services.keys.application.webhook_signatures import WebhookSignatures
from services.keys.domain.backup_mark import ALGORITHM, mark
from services.keys.domain.checkpoint_signing import Head
from services.keys.domain.deep_rotation import Requester
from services.keys.domain.master import MasterKey
from services.keys.domain.sealed import Binding, is_sealed_id
from services.keys.domain.webhook_signature import signed_content

KIND: Final = "config_variable"
MAX_EXAMPLES: Final = 100
"""Unusable rows that are named; all are counted."""


@dataclass(frozen=True, slots=True)
class KeysEndpoints:
    """One handler per endpoint. The bus lets only the services that need one publish to it."""

    keyring: Keyring
    sealing: Sealing
    opening: Opening
    client_tokens: ClientTokens
    webhook_signatures: WebhookSignatures
    status: Status
    legacy: LegacyRows
    rotator: DeepRotator
    master: MasterKey
    checkpoints: CheckpointSigner
    backups: Backups

    def serve(self, rpc: RpcServer) -> None:
        rpc.serve(protocol.TRANSPORT_KEY, self.transport_key)
        rpc.serve(protocol.SEAL, self.seal, direct=True)
        rpc.serve(protocol.RESEAL, self.reseal)
        rpc.serve(protocol.OPEN, self.open, direct=True)
        rpc.serve(protocol.LEGACY_ROWS, self.legacy_rows)
        rpc.serve(protocol.TAKE_OVER, self.take_over)
        rpc.serve(protocol.LEGACY_STATUS, self.legacy_status)
        rpc.serve(protocol.SIGN_CLIENT_TOKEN, self.sign_client_token)
        rpc.serve(protocol.SIGN_WEBHOOK, self.sign_webhook)
        rpc.serve(protocol.CLIENT_KEYS, self.client_keys)
        rpc.serve(protocol.SIGN_CHECKPOINT, self.sign_checkpoint)
        rpc.serve(protocol.SIGN_EXPORT, self.sign_export)
        rpc.serve(protocol.CHECKPOINT_KEYS, self.checkpoint_keys)
        rpc.serve(protocol.STATUS, self.keys_status)
        rpc.serve(protocol.DEEP_ROTATE, self.deep_rotate)
        rpc.serve(protocol.DEEP_ROTATION, self.deep_rotation)
        rpc.serve(protocol.PRESENT, self.present)
        rpc.serve(AUTHENTICATE_BACKUP, self.authenticate_backup)

    async def transport_key(self, _: str, __: protocol.TransportKeyRequest) -> protocol.TransportKeyReply:
        key = await self.keyring.transport()
        return protocol.TransportKeyReply(key_id=key.id, public_key=key.private.public.encoded)

    async def seal(self, _: str, request: protocol.SealRequest) -> protocol.SealReply:
        binding = Binding.checked(request.org, request.kind, request.name, request.sealed_id)
        if request.first and request.kind == KIND:
            await self.legacy.check_free(request.org, request.name)
        return _sealed(await self.sealing.seal(binding, request.key_id, request.box))

    async def reseal(self, _: str, request: protocol.ResealRequest) -> protocol.SealReply:
        binding = Binding.checked(request.org, request.kind, request.name, request.sealed_id)
        source = SealedReference(request.from_id, request.from_digest)
        return _sealed(await self.sealing.reseal(source, binding))

    async def open(self, _: str, request: protocol.OpenRequest) -> protocol.OpenReply:
        recipient = BoxPublicKey(request.recipient_key)
        context = protocol.resolve_context(checked_org(request.org), request.requester, request.recipient_key)
        items = [OpenItem(i.reference, i.kind, i.name, SealedReference(i.id, i.digest)) for i in request.items]
        rows = await self.legacy.values(request.org, request.legacy, reveal=request.reveal)
        opened = await self.opening.open(request.org, items, recipient, context, rows.values)
        return protocol.OpenReply(box=opened.box, failed={**opened.failed, **rows.failed}, legacy=list(rows.values))

    async def legacy_rows(self, _: str, request: protocol.LegacyRowsRequest) -> protocol.LegacyRowsReply:
        page = (
            await self.legacy.named(request.org, request.names)
            if request.names
            else await self.legacy.page(request.org, request.prefix, request.after, request.limit)
        )
        rows = [protocol.LegacyRow(name=r.name, description=r.description, sensitive=r.sensitive) for r in page.rows]
        return protocol.LegacyRowsReply(rows=rows, after=page.after, more=page.more)

    async def take_over(self, _: str, request: protocol.TakeOverRequest) -> protocol.TakeOverReply:
        taken = await self.legacy.take_over(Binding.checked(request.org, KIND, request.name, request.sealed_id))
        if taken is None:
            return protocol.TakeOverReply(sealed=None)
        return protocol.TakeOverReply(
            sealed=_sealed(taken.sealed), description=taken.row.description, sensitive=taken.row.sensitive
        )

    async def legacy_status(self, _: str, request: protocol.LegacyStatusRequest) -> protocol.LegacyStatusReply:
        found = await self.legacy.status(checked_org(request.org), MAX_EXAMPLES)
        if found is None:
            return protocol.LegacyStatusReply(configured=False)
        return protocol.LegacyStatusReply(
            configured=True,
            table=found.table,
            usable_rows=found.usable,
            unusable_rows=found.unusable,
            unusable=[protocol.UnusableLegacyRow(name=row.label, problem=row.problem) for row in found.examples],
            waiting=found.waiting,
            may_delete=found.may_delete,
        )

    async def sign_client_token(
        self, _: str, request: protocol.SignClientTokenRequest
    ) -> protocol.SignClientTokenReply:
        signed = await self.client_tokens.sign(request.org, request.claims)
        recipient = BoxPublicKey(request.recipient_key)
        context = protocol.client_token_context(request.org, request.recipient_key)
        return protocol.SignClientTokenReply(
            box=recipient.seal(Secret.from_text(signed.token), context), key_id=signed.key_id
        )

    async def sign_webhook(self, _: str, request: protocol.SignWebhookRequest) -> protocol.SignWebhookReply:
        secrets = [SealedReference(secret.id, secret.digest) for secret in request.secrets]
        content = signed_content(request.message_id, request.timestamp, request.payload)
        org = checked_org(request.org)
        return protocol.SignWebhookReply(
            signature=await self.webhook_signatures.sign(org, request.webhook, secrets, content)
        )

    async def client_keys(self, _: str, request: protocol.ClientKeysRequest) -> protocol.ClientKeysReply:
        return protocol.ClientKeysReply(jwks=await self.client_tokens.json_web_keys(request.org))

    async def present(self, _: str, __: protocol.PresentRequest) -> protocol.PresentReply:
        """Raises: Declined by an instance that is superseded."""
        self.keyring.decline_if_superseded()
        return protocol.PresentReply(master_fingerprint=self.keyring.fingerprint)

    async def deep_rotate(self, _: str, request: protocol.DeepRotateRequest) -> protocol.DeepRotationView:
        caller = request.caller
        if not is_sealed_id(request.command_id):
            raise KtError("invalid_request", "The command id is not a UUID in lower-case text form (RFC 9562).")
        who = Requester(caller.actor_type, caller.actor_id, caller.request_id, caller.source_ip, caller.user_agent)
        return views.deep_rotation(await self.rotator.start(request.command_id, checked_org(caller.org), who))

    async def deep_rotation(self, _: str, request: protocol.DeepRotationRequest) -> protocol.DeepRotationView:
        return views.deep_rotation(await self.rotator.find(checked_org(request.org), request.id))

    async def sign_checkpoint(self, _: str, request: protocol.SignCheckpointRequest) -> protocol.SignCheckpointReply:
        tree = Head(request.size, request.root)
        signed = await self.checkpoints.sign(request.stream, tree, request.old_size, request.consistency)
        return protocol.SignCheckpointReply(note=str(signed.note), key_id=signed.key_id)

    async def sign_export(self, _: str, request: protocol.SignExportRequest) -> protocol.SignExportReply:
        signed = await self.checkpoints.sign_export(request.manifest_sha256)
        return protocol.SignExportReply(note=str(signed.note), key_id=signed.key_id)

    async def checkpoint_keys(self, _: str, __: protocol.CheckpointKeysRequest) -> protocol.CheckpointKeysReply:
        entries = await self.checkpoints.keys()
        return views.checkpoint_keys(self.checkpoints.installation(entries), entries)

    async def keys_status(self, _: str, request: protocol.KeysStatusRequest) -> protocol.KeysStatusReply:
        return views.status(await self.status.of(checked_org(request.org)))

    async def authenticate_backup(self, _: str, request: AuthenticateBackup) -> AuthenticateBackupReply:
        """The mark comes last: no archive has one that is not on record."""
        await self.backups.record_made(request)
        return AuthenticateBackupReply(
            algorithm=ALGORITHM,
            master_fingerprint=self.master.fingerprint,
            mac=mark(request.manifest_sha256, self.master),
        )


def _sealed(sealed: Sealed) -> protocol.SealReply:
    return protocol.SealReply(id=sealed.id, digest=sealed.digest, outcome=sealed.outcome)
