"""The embedded NATS server."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from libs.common.errors import KtError
from libs.engines.identities import ensure_identities
from libs.engines.nats_server import NatsServer
from tests.engines import Bus


async def test_every_acknowledged_event_survives_a_crash(nats_server: Bus) -> None:
    js = (await nats_server.connect("command")).jetstream()
    acknowledged = [
        (await js.publish(f"kt.evt.v1.default.config_variable.V{n}", str(n).encode())).seq for n in range(50)
    ]
    await nats_server.kill()
    await nats_server.restart()
    client = await nats_server.connect("command")
    bodies = [
        (await client.request("$JS.API.DIRECT.GET.KT_EVENTS", f'{{"seq":{seq}}}'.encode())).data
        for seq in acknowledged
    ]
    assert bodies == [str(n).encode() for n in range(50)]


async def test_clients_find_a_restarted_server_at_the_same_address(nats_server: Bus) -> None:
    before = nats_server.url
    await nats_server.kill()
    await nats_server.restart()
    assert nats_server.url == before


async def test_a_server_that_cannot_start_tells_why(tmp_path: Path) -> None:
    identities = ensure_identities(tmp_path / "identities", datetime.now(UTC))
    server = NatsServer(tmp_path / "nats", tmp_path / "nats.log", identities)
    (tmp_path / "nats").mkdir()
    (tmp_path / "nats" / "store").mkdir()
    (tmp_path / "nats" / "store" / "jetstream").write_text("in the way")
    with pytest.raises(KtError) as failed:
        await server.start()
    assert failed.value.code == "engine_failed"
    assert "Can't start JetStream" in failed.value.hint


async def test_a_path_with_odd_characters_is_quoted(tmp_path: Path) -> None:
    directory = tmp_path / 'a "quoted" \\ $HOME # home'
    directory.mkdir()
    identities = ensure_identities(directory / "identities", datetime.now(UTC))
    process = await NatsServer(directory / "nats", directory / "nats.log", identities).start()
    await process.stop()
    assert (directory / "nats" / "store" / "jetstream").is_dir()


async def test_a_second_server_on_the_same_store_waits_for_the_first(tmp_path: Path) -> None:
    identities = ensure_identities(tmp_path / "identities", datetime.now(UTC))
    first = await NatsServer(tmp_path / "nats", tmp_path / "nats.log", identities).start()
    second = NatsServer(tmp_path / "nats", tmp_path / "nats.log", identities)
    starting = asyncio.create_task(second.start())
    await asyncio.sleep(0.2)
    assert not starting.done()
    await first.stop()
    process = await starting
    assert first.exit_status is not None
    await process.stop()


async def test_a_port_that_somebody_took_first_is_left_to_them(tmp_path: Path) -> None:
    identities = ensure_identities(tmp_path / "identities", datetime.now(UTC))
    others = ensure_identities(tmp_path / "others", datetime.now(UTC))
    other = NatsServer(tmp_path / "other", tmp_path / "other.log", others)
    server = NatsServer(tmp_path / "nats", tmp_path / "nats.log", identities)
    other.port = server.port
    first = await other.start()
    second = await server.start()
    assert server.port != other.port
    assert server.is_ready()
    await first.stop()
    await second.stop()
