"""Keys from the environment of the gateway process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from libs.common.secret import Secret
from services.gateway.application.ports import KeySource
from services.gateway.domain.references import (
    Purpose,
    Reason,
    Reference,
    ReferenceKind,
    Resolution,
    Resolved,
    Unresolved,
)


class EnvironmentKeys:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    async def resolve(self, references: Sequence[Reference], _purpose: Purpose) -> Sequence[Resolution]:
        return [self._resolve(reference) for reference in references]

    def _resolve(self, reference: Reference) -> Resolution:
        value = self._environment.get(reference.name, "")
        if not value:
            return Unresolved(reference, Reason.NOT_FOUND)
        # A byte that is not UTF-8 reaches Python as a surrogate; here it becomes that byte again, and is refused.
        return Resolved(reference, Secret(value.encode(errors="surrogateescape")))


class KeySources:
    """Each kind of reference to its own source. The store is not asked when nothing refers to it."""

    def __init__(self, environment: KeySource, store: KeySource) -> None:
        self._by_kind = {
            ReferenceKind.ENV: environment,
            ReferenceKind.STORE: store,
            ReferenceKind.GIT_TOKEN: store,
        }

    async def resolve(self, references: Sequence[Reference], purpose: Purpose) -> Sequence[Resolution]:
        resolutions: list[Resolution] = []
        for kind, source in self._by_kind.items():
            if wanted := [reference for reference in references if reference.kind is kind]:
                resolutions.extend(await source.resolve(wanted, purpose))
        return resolutions
