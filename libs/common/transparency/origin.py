"""What a log is called in its checkpoints: unique among all installations, and saying what it is a log of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

from libs.common.transparency.merkle import NotProven

ALL_ORGS: Final = "*"
_FORM: Final = re.compile(r"keeptrusts/([0-9a-f-]{36})/(\*|[a-z0-9][a-z0-9-]{0,62})/([A-Z][A-Z0-9_]{0,31})")


@dataclass(frozen=True, slots=True)
class LogOrigin:
    """``installation`` is a UUID made once; ``stream`` the stream whose messages are the entries."""

    installation: str
    org: str
    stream: str

    def __str__(self) -> str:
        return f"keeptrusts/{self.installation}/{self.org}/{self.stream}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Raises:
            NotProven: the text is not the origin of a log of this software.
        """
        found = _FORM.fullmatch(text)
        if found is None:
            raise NotProven("the origin is not of the form keeptrusts/<installation>/<org>/<stream>")
        return cls(*found.groups())


def export_origin(installation: str) -> str:
    """What an installation's manifests of exports are signed under: no log is called so."""
    return f"keeptrusts/{installation}/{ALL_ORGS}/export"
