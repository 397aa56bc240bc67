"""Fixtures of every test: real engines."""

from hypothesis import settings

from tests.engines import nats_server, postgres, postgres_server

__all__ = ["nats_server", "postgres", "postgres_server"]

# A busy machine is slow, not wrong.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
