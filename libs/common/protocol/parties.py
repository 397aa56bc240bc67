"""Who asks, as it travels with a request on the bus. Only the api service may speak for others."""

from __future__ import annotations

from libs.common.events import Actor, Origin
from libs.common.messaging.rpc import Message


class Caller(Message):
    """The authenticated principal and the request it came with."""

    org: str
    actor_type: str
    actor_id: str
    request_id: str
    source_ip: str = ""
    user_agent: str = ""

    @property
    def actor(self) -> Actor:
        return Actor(self.actor_type, self.actor_id)

    @property
    def origin(self) -> Origin:
        return Origin(self.request_id, self.source_ip, self.user_agent)
