"""The Git access token that a gateway reads its configuration with: in memory, asked for again when it changed."""

from __future__ import annotations

from typing import Final

from libs.common.clock import Clock
from libs.common.errors import KtError
from libs.common.secret import Secret
from services.gateway.application.ports import KeySource
from services.gateway.domain.keys import HeldKey, evolve
from services.gateway.domain.references import EXPLANATION, Purpose, Reason, Reference

_CODES: Final = {Reason.NOT_PERMITTED: "forbidden"}


class GitToken:
    """A :class:`ChangeListener`: what it holds is good until it is told otherwise.

    While the system can't be asked, what is held goes on being used; a token that was deleted does not.
    """

    def __init__(self, reference: Reference, keys: KeySource, clock: Clock) -> None:
        self._reference = reference
        self._keys = keys
        self._clock = clock
        self._held: HeldKey | None = None
        self._due: Purpose | None = Purpose.STARTUP

    @property
    def reference(self) -> Reference:
        return self._reference

    def changed(self, reference: Reference) -> None:
        if reference == self._reference:
            self._due = Purpose.ROTATION

    def missed(self) -> None:
        self._due = self._due or Purpose.RECONNECT

    def doubted(self) -> None:
        """The server does not accept it: a change of it may have been missed."""
        self._due = self._due or Purpose.RELOAD

    async def value(self) -> Secret:
        """Raises: KtError ``unresolved``, ``forbidden``, or why the system can't be asked."""
        if self._due is not None:
            await self._ask(self._due)
        if self._held is None or self._held.value is None:
            reason = (self._held and self._held.reason) or Reason.UNREACHABLE
            self._due = self._due or Purpose.RECONNECT
            raise _unusable(self._reference, reason)
        return self._held.value

    async def _ask(self, purpose: Purpose) -> None:
        self._due = None
        try:
            (resolution,) = await self._keys.resolve([self._reference], purpose)
        except KtError:
            self._due = purpose
            if self._held is None or self._held.value is None:
                raise
        else:
            self._held = evolve(self._held, resolution, self._clock.now())


def _unusable(reference: Reference, reason: Reason) -> KtError:
    hint = "Store it with `kt git-tokens create`, or correct --git-token."
    if reason is Reason.NOT_PERMITTED:
        issue = f"kt token issue --role gateway … --reference {reference.in_system}"
        hint = f"Run the gateway with a token of its own that names it: `{issue}`."
    detail = f"The Git access token {reference.name} can't be used: {EXPLANATION[reason]}."
    return KtError(_CODES.get(reason, "unresolved"), detail, hint)
