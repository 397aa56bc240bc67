"""Settings of the command service."""

from libs.common.settings import ServiceSettings


class CommandSettings(ServiceSettings):
    pass
