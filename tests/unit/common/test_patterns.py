"""Patterns of event types."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.errors import KtError
from libs.common.events import REGISTRY
from libs.common.events.patterns import access_types, checked_pattern, deliverable, matches

TYPES = sorted(REGISTRY.types())


@pytest.mark.parametrize(
    "pattern",
    [
        "*",
        "kt.*",
        "kt.config_variable.*",
        "kt.config_variable.rotated.*",
        "kt.config_variable.rotated.v1",
        "kt.config_variable.resolve_failed.v1",
        "kt.gateway.version_adopted.v1",
        "kt.webhook.disabled.v1",
    ],
)
def test_a_pattern_of_something_that_is_delivered_is_accepted(pattern: str) -> None:
    assert checked_pattern(pattern) == pattern


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "**",
        "kt",
        "kt.",
        "*.v1",
        "kt.config*",
        "kt.config_variable",
        "KT.CONFIG_VARIABLE.*",
        "kt.config_variable.rotated.v1 ",
        "kt.config_variable.rotatd.v1",
        "kt.nothing.*",
        "kt.config_variable.resolved.*",
        "kt.webhook.delivered.v1",
        "kt.webhook.delivery_failed.v1",
        "kt.webhook.tested.v1",
    ],
)
def test_any_other_is_refused(pattern: str) -> None:
    with pytest.raises(KtError) as caught:
        checked_pattern(pattern)
    assert caught.value.code == "invalid_request"


@given(st.sampled_from(TYPES), st.integers(0, 3))
def test_a_pattern_means_what_begins_like_it(name: str, words: int) -> None:
    pattern = ".".join([*name.split(".")[:words], "*"])
    assert matches(pattern, name)
    assert matches(name, name)
    assert [other for other in TYPES if matches(pattern, other)] == [
        other for other in TYPES if other.split(".")[:words] == name.split(".")[:words]
    ]


def test_what_the_deliveries_themselves_record_is_not_delivered() -> None:
    left_out = {name for name, kind in REGISTRY.types().items() if not deliverable(kind)}
    assert left_out == {
        "kt.webhook.delivered.v1",
        "kt.webhook.delivery_failed.v1",
        "kt.webhook.redelivery_requested.v1",
        "kt.webhook.tested.v1",
    }
    assert not left_out & access_types()
