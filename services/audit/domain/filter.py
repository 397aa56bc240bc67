"""A filter over the audit log as a value. Its text form is read by :mod:`services.audit.domain.filter_text`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Field(StrEnum):
    """A text field of an entry, by its name in the language."""

    TYPE = "type"
    CATEGORY = "category"
    ACTION = "action"
    OUTCOME = "outcome"
    ACTOR = "actor"
    RESOURCE = "resource"
    RESOURCE_TYPE = "resource_type"
    GATEWAY = "gateway"
    CORRELATION = "correlation"


TIME: Final = "time"
"""The one field that is not text: when the entry was recorded."""

ALIASES: Final[Mapping[str, Field]] = MappingProxyType(
    {"resource_id": Field.RESOURCE, "result": Field.OUTCOME, "request": Field.CORRELATION}
)


class TimeOperator(StrEnum):
    AT_LEAST = ">="
    AFTER = ">"
    AT_MOST = "<="
    BEFORE = "<"


@dataclass(frozen=True, slots=True)
class Match:
    """A text field equals ``value``, or begins with it when ``prefix``; ``negated``: it does not."""

    field: Field
    value: str
    prefix: bool = False
    negated: bool = False


@dataclass(frozen=True, slots=True)
class TimeBound:
    """The entry was recorded on this side of ``moment`` (UTC, microseconds)."""

    operator: TimeOperator
    moment: datetime


Term = Match | TimeBound


@dataclass(frozen=True, slots=True)
class Filter:
    """Every term holds. Without terms, every entry is meant."""

    terms: tuple[Term, ...] = ()
