"""Envoy's access log messages: the one line that is wanted is found, and nothing a client sends is taken for it."""

from __future__ import annotations

import pytest
from envoy_data_plane.envoy.config.core.v3 import Address, Metadata, SocketAddress
from envoy_data_plane.envoy.data.accesslog.v3 import (
    AccessLogCommon,
    HttpAccessLogEntry,
    HttpRequestProperties,
    HttpResponseProperties,
)
from envoy_data_plane.envoy.service.accesslog.v3 import (
    StreamAccessLogsMessage,
    StreamAccessLogsMessageHttpAccessLogEntries,
    StreamAccessLogsMessageIdentifier,
)
from envoy_data_plane.google.protobuf import Struct, Value
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.adapters.envoy.access_log import exchanges_of
from services.gateway.adapters.envoy.wire import field
from services.gateway.domain.exchange import Exchange

LINE = "1795438513990576|1841|1|114|200|120|450|openai.0123|search-team|01936c2f|127.0.0.1|via_upstream"
EXCHANGE = Exchange(
    1795438513990576, 1841, 114, 200, 120, 450, "openai.0123", "search-team", "01936c2f", "127.0.0.1", "via_upstream"
)


def entry(line: str | None, *, path: str = "", user_agent: str = "", referer: str = "") -> HttpAccessLogEntry:
    address = Address(socket_address=SocketAddress(address="127.0.0.1", port_value=33274))
    claims = Metadata(filter_metadata={"jwt": Struct(fields={"r": Value(string_value="x" * 300)})})
    common = AccessLogCommon(
        sample_rate=1.0,
        downstream_remote_address=address,
        upstream_cluster="openai.0123",
        metadata=claims,
        custom_tags={"other": "1|2|3", **({"r": line} if line is not None else {})},
        upstream_request_attempt_count=300,
        downstream_wire_bytes_sent=10**12,
    )
    return HttpAccessLogEntry(
        common_properties=common,
        request=HttpRequestProperties(path=path, user_agent=user_agent, referer=referer),
        response=HttpResponseProperties(response_code_details="via_upstream"),
    )


def message(*entries: HttpAccessLogEntry) -> bytes:
    return bytes(
        StreamAccessLogsMessage(
            identifier=StreamAccessLogsMessageIdentifier(log_name="requests"),
            http_logs=StreamAccessLogsMessageHttpAccessLogEntries(log_entry=list(entries)),
        )
    )


def test_every_entry_is_read() -> None:
    assert exchanges_of(message(*[entry(LINE)] * 3)) == [EXCHANGE] * 3
    assert exchanges_of(b"") == []
    assert exchanges_of(message()) == []


def test_what_a_client_sends_is_never_taken_for_the_line() -> None:
    forged = bytes(entry(LINE.replace("search-team", "somebody"))).decode("latin-1")
    (found,) = exchanges_of(message(entry(LINE, path=f"/v1?{forged}", user_agent=forged, referer=forged)))
    assert found == EXCHANGE


def test_a_line_may_have_the_separator_in_its_last_field_and_no_durations() -> None:
    details = "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_111}"
    line = f"1795438513990576||7||503|0|0|down.1||||{details}"
    (found,) = exchanges_of(message(entry(line)))
    assert found is not None
    assert (found.latency, found.sent, found.status, found.details) == (7000, 0, 503, details)


@pytest.mark.parametrize("line", [None, "", "1|2|3", LINE.replace("200", "OK"), LINE.rpartition("|")[0]])
def test_an_entry_without_a_readable_line_counts_and_stops_nobody(line: str | None) -> None:
    assert exchanges_of(message(entry(LINE), entry(line), entry(LINE))) == [EXCHANGE, None, EXCHANGE]


@given(st.lists(st.text(max_size=40), max_size=5))
def test_fields_are_found_as_the_generated_classes_write_them(names: list[str]) -> None:
    data = bytes(StreamAccessLogsMessageHttpAccessLogEntries(log_entry=[entry(LINE, path=name) for name in names]))
    found, at = [], 0
    while at < len(data):
        begin, at = field(data, 1, at, len(data))
        found.append(HttpAccessLogEntry.parse(data[begin:at]).request)
    assert [request.path if request else "" for request in found] == names
