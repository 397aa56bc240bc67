"""Fixtures of every test: real engines."""

from tests.engines import nats_server, postgres, postgres_server

__all__ = ["nats_server", "postgres", "postgres_server"]
