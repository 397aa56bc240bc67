"""The key service as the command service asks it."""

from __future__ import annotations

import pytest
from nats.aio.msg import Msg

from libs.common.errors import KtError
from libs.common.messaging.connection import REQUEST_TIMEOUT_S, WITHIN_REQUEST_TIMEOUT_S
from libs.common.messaging.rpc import RpcClient
from libs.common.protocol.command import BoxedValue
from services.command.adapters.sealer import BusSealer
from tests.engines import Bus


async def test_a_key_service_that_hangs_is_given_up_before_the_one_who_asked_gives_up(
    nats_server: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(_: Msg) -> None:
        pass

    assert WITHIN_REQUEST_TIMEOUT_S <= REQUEST_TIMEOUT_S - 1
    monkeypatch.setattr("services.command.adapters.sealer.WITHIN_REQUEST_TIMEOUT_S", 0.2)
    keys = await nats_server.connect("keys")
    await keys.subscribe("kt.keys.v1.seal", queue="keys", cb=silent)
    await keys.flush()
    asked = BusSealer(RpcClient(await nats_server.connect("command")), "git_token")
    with pytest.raises(KtError, match=r"within 0\.2 s") as caught:
        await asked.seal("id", "acme", "A", BoxedValue(key_id="t", box=b"x"))
    assert caught.value.code == "unavailable"
