"""Which event types exist, how each is read, and how old versions become new ones.

Wire names such as ``kt.config_variable.rotated.v1`` are permanent. A version that was ever written stays readable:
an upcaster takes its detail one version further, and reading applies them until the current version is reached.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

_WIRE_NAME = re.compile(r"kt\.[a-z_]+\.[a-z_]+\.v[1-9][0-9]*")

Detail = dict[str, Any]
Upcaster = Callable[[Detail], Detail]
_Model = TypeVar("_Model", bound=type[Any])
_SCALARS = frozenset({str, int, bool})


class UnknownEventType(Exception):
    """A stored event has a type this version of the software does not know; upgrade before reading on."""


class MalformedEvent(Exception):
    """A stored event does not have the shape its type promises."""


@dataclass(frozen=True, slots=True)
class EventType:
    """The current version of one event: wire name, class, and its place in the audit vocabulary.

    ``access``: it is recorded in ``KT_ACCESS``, not in ``KT_EVENTS``.
    """

    wire_name: str
    model: type[Any]
    category: str
    action: str
    failure: bool
    access: bool
    adapter: TypeAdapter[Any]
    fields: tuple[str, ...]


class EventRegistry:
    """Event classes are frozen dataclasses; unknown members are refused when they are read."""

    def __init__(self) -> None:
        self._by_name: dict[str, EventType] = {}
        self._by_model: dict[type[Any], EventType] = {}
        self._upcasters: dict[str, tuple[str, Upcaster]] = {}

    def event(
        self,
        wire_name: str,
        *,
        action: str,
        category: str = "secret_management",
        failure: bool = False,
        access: bool = False,
    ) -> Callable[[_Model], _Model]:
        """Class decorator that registers the current version of an event. A reused name raises ``ValueError``."""

        def register(model: _Model) -> _Model:
            self._claim(wire_name)
            model.__pydantic_config__ = {"extra": "forbid"}
            adapter: TypeAdapter[Any] = TypeAdapter(model)
            names = tuple(field.name for field in fields(model))
            kind = EventType(wire_name, model, category, action, failure, access, adapter, names)
            self._by_name[wire_name] = self._by_model[model] = kind
            return model

        return register

    def upcaster(self, old: str, new: str) -> Callable[[Upcaster], Upcaster]:
        """Decorator for a pure function that turns the detail of version ``old`` into that of ``new``."""

        def register(step: Upcaster) -> Upcaster:
            self._claim(old)
            self._upcasters[old] = (new, step)
            return step

        return register

    def of(self, event: object) -> EventType:
        return self._by_model[type(event)]

    def types(self) -> Mapping[str, EventType]:
        return dict(self._by_name)

    def historic(self) -> tuple[str, ...]:
        """Wire names that are read but no longer written."""
        return tuple(self._upcasters)

    def read(self, wire_name: str, detail: Detail) -> Any:
        """The event object for a stored detail, upcast to the current version.

        Raises:
            UnknownEventType: the name is not registered here.
            MalformedEvent: the detail does not fit the type.
        """
        while wire_name in self._upcasters:
            wire_name, step = self._upcasters[wire_name]
            detail = step(detail)
        kind = self._by_name.get(wire_name)
        if kind is None:
            raise UnknownEventType(wire_name)
        try:
            return kind.adapter.validate_python(detail)
        except ValidationError as error:
            where = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['type']}" for e in error.errors())
            raise MalformedEvent(f"{wire_name}: {where}") from None

    def write(self, event: object) -> tuple[EventType, Detail]:
        kind = self.of(event)
        return kind, {name: _plain(getattr(event, name)) for name in kind.fields}

    def _claim(self, wire_name: str) -> None:
        if not _WIRE_NAME.fullmatch(wire_name):
            raise ValueError(f"{wire_name} does not have the form kt.<aggregate>.<past tense>.v<n>")
        if wire_name in self._by_name or wire_name in self._upcasters:
            raise ValueError(f"{wire_name} is taken; wire names are permanent")


def _plain(value: Any) -> Any:
    """As ``asdict`` does it, without its deep copies of what can't be changed."""
    if type(value) in _SCALARS:
        return value
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


REGISTRY = EventRegistry()
"""The system's events. Importing ``libs.common.events`` fills it."""
