"""Event types: permanent names, strict reading, stepwise upcasting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from libs.common.events import REGISTRY, EventRegistry, MalformedEvent, UnknownEventType


def registry_with_three_versions() -> tuple[EventRegistry, type[Any]]:
    registry = EventRegistry()

    @registry.event("kt.thing.made.v3", action="make")
    @dataclass(frozen=True, slots=True)
    class Made:
        title: str
        size: int

    @registry.upcaster("kt.thing.made.v1", "kt.thing.made.v2")
    def name_became_title(detail: dict[str, Any]) -> dict[str, Any]:
        return {"title": detail["name"]}

    @registry.upcaster("kt.thing.made.v2", "kt.thing.made.v3")
    def size_was_added(detail: dict[str, Any]) -> dict[str, Any]:
        return {**detail, "size": 0}

    return registry, Made


@pytest.mark.parametrize(
    ("wire_name", "detail"),
    [
        ("kt.thing.made.v1", {"name": "x"}),
        ("kt.thing.made.v2", {"title": "x"}),
        ("kt.thing.made.v3", {"title": "x", "size": 0}),
    ],
)
def test_every_version_ever_written_is_read_as_the_current_one(wire_name: str, detail: dict[str, Any]) -> None:
    registry, made = registry_with_three_versions()
    assert registry.read(wire_name, detail) == made("x", 0)


@pytest.mark.parametrize("name", ["kt.thing.made.v1", "kt.thing.made.v3"])
def test_a_name_is_never_used_twice(name: str) -> None:
    registry, _ = registry_with_three_versions()
    with pytest.raises(ValueError, match="taken"):
        registry.event(name, action="make")(type("Other", (), {}))


@pytest.mark.parametrize("name", ["Made", "kt.thing.made", "kt.thing.made.v0", "kt.Thing.made.v1"])
def test_a_name_has_the_form_of_wire_names(name: str) -> None:
    with pytest.raises(ValueError, match="form"):
        EventRegistry().event(name, action="make")(type("Other", (), {}))


@pytest.mark.parametrize(
    "detail", [{"title": "x"}, {"title": "x", "size": 1, "more": 2}, {"title": 1, "size": "x"}, {}]
)
def test_a_detail_of_another_shape_is_not_read(detail: dict[str, Any]) -> None:
    registry, _ = registry_with_three_versions()
    with pytest.raises(MalformedEvent):
        registry.read("kt.thing.made.v3", detail)


def test_a_type_from_the_future_is_named() -> None:
    registry, _ = registry_with_three_versions()
    with pytest.raises(UnknownEventType, match=r"kt\.thing\.made\.v4"):
        registry.read("kt.thing.made.v4", {})


def test_whatever_hands_out_a_value_is_an_access() -> None:
    handed_out = {kind.wire_name for kind in REGISTRY.types().values() if kind.action in ("resolve", "reveal")}
    accesses = {kind.wire_name for kind in REGISTRY.types().values() if kind.access}
    assert handed_out
    assert handed_out <= accesses
