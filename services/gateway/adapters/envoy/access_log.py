"""Envoy's gRPC access log (``envoy.access_loggers.http_grpc``): what is asked of it, and how its messages are read.

An entry of that service holds paths and some headers of a request. All that is wanted of it is one custom tag, a line
that Envoy formats from values that are no secret; the rest of an entry is stepped over and never decoded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from envoy_data_plane.envoy.service.accesslog.v3 import StreamAccessLogsResponse
from grpclib.const import Cardinality, Handler
from grpclib.server import Stream

from services.gateway.adapters.envoy.messages import TYPE
from services.gateway.adapters.envoy.names import RECORD_FROM_STATUS, XDS_CLUSTER
from services.gateway.adapters.envoy.wire import field
from services.gateway.domain.access import Recording
from services.gateway.domain.exchange import PROVIDER_ANSWERED, Exchange

log = logging.getLogger(__name__)

Json = dict[str, Any]

FLUSH_S: Final = 0.1
"""How long Envoy's workers collect entries: the delay of a record, against messages to read."""

_BUFFER_BYTES: Final = 64 * 1024
_TAG: Final = b"r"
_SEPARATOR: Final = "|"

_CLAIM: Final = "%DYNAMIC_METADATA(envoy.filters.http.jwt_authn:client:{})%"
_LINE: Final = _SEPARATOR.join(
    (
        "%START_TIME(%s%6f)%",
        "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%",
        "%DURATION%",
        "%COMMON_DURATION(DS_RX_BEG:US_TX_BEG:us)%",
        "%RESPONSE_CODE%",
        "%BYTES_RECEIVED%",
        "%BYTES_SENT%",
        "%UPSTREAM_CLUSTER%",
        _CLAIM.format("sub"),
        _CLAIM.format("jti"),
        "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
        "%RESPONSE_CODE_DETAILS%",  # last, because it may hold the separator
    )
)
_FIELDS: Final = _LINE.count(_SEPARATOR)

_ALL_STATUSES: Final = 0
_SERVER_ERRORS: Final = 500
_FAILURES: Final = (401, 403, 429)
_NOT_FROM_THE_PROVIDER: Final = f"response.code_details != '{PROVIDER_ANSWERED}'"
"""What the gateway answered itself, and streams that broke after they had begun with the status of a success."""

_FROM_STATUS: Final[Mapping[Recording, int]] = {Recording.ALL: _ALL_STATUSES, Recording.FAILURES: _SERVER_ERRORS}


def access_log() -> Json:
    """For the connection manager. What is recorded is decided at run time (:func:`runtime_layer`)."""
    common = {
        "log_name": "requests",
        "transport_api_version": "V3",
        "grpc_service": {"envoy_grpc": {"cluster_name": XDS_CLUSTER}},
        "buffer_flush_interval": f"{FLUSH_S}s",
        "buffer_size_bytes": _BUFFER_BYTES,
        "custom_tags": [{"tag": _TAG.decode(), "value": _LINE}],
    }
    config = {
        "@type": f"{TYPE}envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig",
        "common_config": common,
    }
    expression = {
        "@type": f"{TYPE}envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
        "expression": _NOT_FROM_THE_PROVIDER,
    }
    wanted = [
        _status("GE", _SERVER_ERRORS, RECORD_FROM_STATUS),
        *(_status("EQ", status, f"{RECORD_FROM_STATUS}.{status}") for status in _FAILURES),
        {"extension_filter": {"name": "not-from-the-provider", "typed_config": expression}},
    ]
    return {"name": "access-log", "filter": {"or_filter": {"filters": wanted}}, "typed_config": config}


def runtime_layer(recording: Recording) -> Json:
    return {RECORD_FROM_STATUS: _FROM_STATUS[recording]}


def _status(operator: str, status: int, key: str) -> Json:
    comparison = {"op": operator, "value": {"default_value": status, "runtime_key": key}}
    return {"status_code_filter": {"comparison": comparison}}


class AccessLogReader(Protocol):
    def take(self, exchanges: list[Exchange], run: int) -> None: ...

    def unreadable(self, count: int, run: int) -> None: ...


class RawMessage(bytes):
    """A ``StreamAccessLogsMessage`` that is not decoded: grpclib calls this in place of a generated class."""

    @classmethod
    def FromString(cls, data: bytes) -> RawMessage:  # noqa: N802
        return cls(data)


class AccessLogService:
    """``run_of_proxy`` numbers the runs of Envoy; a stream belongs to the one that opened it."""

    def __init__(self, reader: AccessLogReader, run_of_proxy: Callable[[], int]) -> None:
        self._reader = reader
        self._run_of_proxy = run_of_proxy

    async def stream_access_logs(self, stream: Stream[RawMessage, StreamAccessLogsResponse]) -> None:
        run = self._run_of_proxy()
        async for message in stream:
            self.read(message, run)
        await stream.send_message(StreamAccessLogsResponse())

    def read(self, message: bytes, run: int) -> None:
        read = exchanges_of(message)
        exchanges = [exchange for exchange in read if exchange is not None]
        self._reader.take(exchanges, run)
        if unreadable := len(read) - len(exchanges):
            log.error("access_log.unreadable", extra={"entries": unreadable})
            self._reader.unreadable(unreadable, run)

    def __mapping__(self) -> dict[str, Handler]:
        path = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs"
        handler = Handler(self.stream_access_logs, Cardinality.STREAM_UNARY, RawMessage, StreamAccessLogsResponse)
        return {path: handler}


_HTTP_LOGS, _LOG_ENTRY, _COMMON_PROPERTIES, _CUSTOM_TAGS, _KEY, _VALUE = 2, 1, 1, 22, 1, 2
"""Numbers of fields (envoy/service/accesslog/v3, envoy/data/accesslog/v3)."""


def exchanges_of(message: bytes) -> list[Exchange | None]:
    """One for each entry of a ``StreamAccessLogsMessage``; None for an entry without a readable line.

    Raises:
        IndexError, KeyError: it is none.
    """
    found: list[Exchange | None] = []
    at, end = field(message, _HTTP_LOGS, 0, len(message))
    while at < end:
        entry, at = field(message, _LOG_ENTRY, at, end)
        if entry < at:
            found.append(_exchange(_line(message, entry, at)))
    return found


def _line(message: bytes, entry: int, end: int) -> str:
    at, end = field(message, _COMMON_PROPERTIES, entry, end)
    while at < end:
        tag, at = field(message, _CUSTOM_TAGS, at, end)
        name, name_end = field(message, _KEY, tag, at)
        if message[name:name_end] == _TAG:
            value, value_end = field(message, _VALUE, name_end, at)
            return message[value:value_end].decode(errors="replace")
    return ""


def _exchange(line: str) -> Exchange | None:
    parts = line.split(_SEPARATOR, _FIELDS)
    try:
        started, latency, milliseconds, sent, status, received, answered, *names = parts
        destination, client, token, address, details = names
        return Exchange(
            int(started),
            int(latency) if latency else int(milliseconds) * 1000,
            int(sent) if sent else 0,
            int(status),
            int(received),
            int(answered),
            destination,
            client,
            token,
            address,
            details,
        )
    except ValueError:
        return None
