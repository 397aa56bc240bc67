"""What a gateway knows of the repository that its configuration comes from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from libs.common.clock import rfc3339
from libs.common.errors import KtError
from services.gateway.domain.git_location import GitLocation


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the last look at the repository, or the last commit, led to nothing. ``commit`` is empty when it is not
    about one."""

    error: KtError
    at: datetime
    commit: str = ""

    def as_document(self) -> dict[str, Any]:
        return {
            "code": self.error.code,
            "detail": self.error.detail,
            "hint": self.error.hint,
            "at": rfc3339(self.at),
            "commit": self.commit or None,
        }


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """``commit`` is the one in force since ``applied_at``; ``checked_at`` is when the repository answered last."""

    location: GitLocation
    commit: str
    applied_at: datetime | None
    checked_at: datetime | None
    failure: Failure | None

    def as_document(self) -> dict[str, Any]:
        return {
            "repository": self.location.repository,
            "path": self.location.path,
            "ref": self.location.ref or None,
            "commit": self.commit,
            "applied_at": rfc3339(self.applied_at) if self.applied_at else None,
            "checked_at": rfc3339(self.checked_at) if self.checked_at else None,
            "error": self.failure.as_document() if self.failure else None,
        }
