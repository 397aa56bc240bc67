"""Durations as people write them."""

from __future__ import annotations

import re
from typing import Any, Final

import click

from libs.common.errors import KtError

_FORM: Final = re.compile(r"[1-9][0-9]{0,8}[smhd]")
_NONE: Final = re.compile(r"0[smhd]")


class Duration(click.ParamType[str]):
    """A whole number and its unit, such as 90d; the API takes it as it is."""

    name = "duration"

    def __init__(self, *, zero: bool = False) -> None:
        """With ``zero`` no time at all is a duration, too."""
        self._zero = zero

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002
        if not _FORM.fullmatch(str(value)) and not (self._zero and _NONE.fullmatch(str(value))):
            option = max(param.opts, key=len) if param else "The duration"
            raise KtError("usage", f"{option} is not valid; expected a number and a unit (s, m, h, d), such as 90d.")
        return str(value)
