"""The lists when their database is away: an answer that says so, in time."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import sql

from libs.common import postgres as common
from libs.common.errors import KtError
from libs.common.postgres import open_pool
from libs.common.projection import ProjectionRunner
from services.resolver.adapters.read_model import ReadModel, SecretsProjection
from tests.engines import Bus, Database


def close_to_everybody(database: Database) -> None:
    with psycopg.connect(database.admin_dsn, autocommit=True) as admin:
        name = admin.info.dbname
        admin.execute(sql.SQL("ALTER DATABASE {} CONNECTION LIMIT 0").format(sql.Identifier(name)))
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
            (name,),
        )


async def test_without_its_database_it_is_unavailable(
    nats_server: Bus, postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, "ACQUIRE_TIMEOUT_S", 0.3)
    nc = await nats_server.connect("resolver")
    async with open_pool(postgres.dsn("resolver"), "resolver") as pool:
        lists, runner = ReadModel(pool), ProjectionRunner(nc, pool, SecretsProjection())
        assert await lists.page("acme", "config_variable", "", "", 10) == []
        close_to_everybody(postgres)
        for _ in range(2):
            for question in (
                lists.page("acme", "config_variable", "", "", 10),
                lists.gateways("acme"),
                runner.wait_for(1, 0.5),
            ):
                with pytest.raises(KtError) as caught:
                    await question
                assert caught.value.code == "unavailable"
