"""The streams that the log covers. The numbers are stored in every row and in every cursor: permanent."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from libs.common.subjects import ACCESS, EVENTS

STREAM_NUMBERS: Final[Mapping[str, int]] = MappingProxyType({EVENTS: 1, ACCESS: 2})
STREAM_NAMES: Final[Mapping[int, str]] = MappingProxyType({number: name for name, number in STREAM_NUMBERS.items()})
