"""The same specifications on PostgreSQL."""

from __future__ import annotations

from tests.unit.keys.deep_rotation_spec import FindingDamage, Recording, RotatingAroundDamage, RotatingDeeply
from tests.unit.keys.keyring_spec import OpeningTheKeyring, UsingTheKeyring
from tests.unit.keys.sealing_spec import OpeningValues, SealingAnew, SealingValues, Sweeping, instance

__all__ = ["instance"]


class TestOpeningTheKeyring(OpeningTheKeyring): ...


class TestUsingTheKeyring(UsingTheKeyring): ...


class TestSealingValues(SealingValues): ...


class TestSealingAnew(SealingAnew): ...


class TestOpeningValues(OpeningValues): ...


class TestSweeping(Sweeping): ...


class TestRotatingDeeply(RotatingDeeply): ...


class TestRotatingAroundDamage(RotatingAroundDamage): ...


class TestFindingDamage(FindingDamage): ...


class TestRecording(Recording): ...
