"""The two streams on a real server."""

import json
from typing import Any

import pytest
from nats.aio.client import Client

from libs.common.errors import KtError
from libs.common.messaging.identities import read_credentials
from libs.engines import streams
from libs.engines.streams import STREAMS, provision_streams
from tests.engines import Bus


async def api(client: Client, subject: str, request: dict[str, Any] | None = None) -> dict[str, Any]:
    answer = await client.request(f"$JS.API.{subject}", json.dumps(request or {}).encode())
    document: dict[str, Any] = json.loads(answer.data)
    return document


async def provisioned_again(bus: Bus) -> None:
    await provision_streams(bus.url, read_credentials(bus.creds("provisioner")))


@pytest.mark.parametrize("name", STREAMS)
async def test_a_stream_denies_deletion_purge_and_rollup(nats_server: Bus, name: str) -> None:
    config = (await api(await nats_server.connect("provisioner"), f"STREAM.INFO.{name}"))["config"]
    assert config["deny_delete"]
    assert config["deny_purge"]
    assert not config.get("allow_rollup_hdrs")
    assert config["discard"] == "new"
    assert config["storage"] == "file"
    assert (config["max_msgs"], config["max_bytes"], config["max_msgs_per_subject"]) == (-1, -1, -1)


async def test_events_never_expire_and_access_does_after_400_days(nats_server: Bus) -> None:
    client = await nats_server.connect("provisioner")
    ages = {name: (await api(client, f"STREAM.INFO.{name}"))["config"].get("max_age", 0) for name in STREAMS}
    assert ages == {"KT_EVENTS": 0, "KT_ACCESS": 400 * 24 * 3600 * 10**9}


async def test_even_the_provisioner_cannot_delete_an_event(nats_server: Bus) -> None:
    await (await nats_server.connect("command")).jetstream().publish("kt.evt.v1.default.config_variable.A", b"{}")
    client = await nats_server.connect("provisioner")
    assert "error" in await api(client, "STREAM.MSG.DELETE.KT_EVENTS", {"seq": 1})
    assert "error" in await api(client, "STREAM.PURGE.KT_EVENTS")


async def test_provisioning_again_changes_nothing(nats_server: Bus) -> None:
    await (await nats_server.connect("command")).jetstream().publish("kt.evt.v1.default.config_variable.A", b"{}")
    client = await nats_server.connect("provisioner")
    before = [await api(client, f"STREAM.INFO.{name}") for name in STREAMS]
    await provisioned_again(nats_server)
    after = [await api(client, f"STREAM.INFO.{name}") for name in STREAMS]
    assert [i["config"] for i in after] == [i["config"] for i in before]
    assert [i["created"] for i in after] == [i["created"] for i in before]
    assert after[0]["state"]["messages"] == 1


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"max_msgs": 5, "discard": "old"}, ["max_msgs is 5, expected -1", 'discard is "old", expected "new"']),
        ({"max_age": 10**9, "duplicate_window": 10**9}, ["max_age is 1000000000, expected 0"]),
        ({"max_msgs_per_subject": 1}, ["max_msgs_per_subject is 1, expected -1"]),
        ({"republish": None}, ["republish is null"]),
    ],
)
async def test_a_stream_that_was_changed_is_named_and_left_as_it_is(
    nats_server: Bus, changes: dict[str, Any], named: list[str]
) -> None:
    client = await nats_server.connect("provisioner")
    config = (await api(client, "STREAM.INFO.KT_EVENTS"))["config"]
    changed = {key: value for key, value in {**config, **changes}.items() if value is not None}
    assert "error" not in await api(client, "STREAM.UPDATE.KT_EVENTS", changed)
    with pytest.raises(KtError) as refused:
        await provisioned_again(nats_server)
    assert refused.value.code == "engine_failed"
    assert all(difference in refused.value.detail for difference in named)
    after = (await api(client, "STREAM.INFO.KT_EVENTS"))["config"]
    assert {key: after.get(key) for key in changes} == changes


async def test_a_server_that_is_not_there_is_reported(nats_server: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_CONNECT_SECONDS", 0.3)
    await nats_server.kill()
    with pytest.raises(KtError) as refused:
        await provisioned_again(nats_server)
    assert refused.value.code == "unavailable"
