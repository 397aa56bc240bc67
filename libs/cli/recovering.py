"""Reading single values from an archive: with the master key, without anything that runs."""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from libs.backup.archive import Archive
from libs.backup.manifest import INDEX, KEYRING, VALUES, check_version
from libs.cli.archives import given_master_keys, opened
from libs.cli.documents import print_json
from libs.cli.session import Session
from libs.cli.tables import Column, Table
from libs.cli.terminal import absolute, clean, styled
from libs.common.errors import KtError
from libs.common.secret import Secret
from services.keys.application.recovery import recover


@dataclass(frozen=True, slots=True)
class Wanted:
    """``version`` None: the newest."""

    org: str
    kind: str
    name: str
    version: int | None


@dataclass(slots=True)
class _Reader:
    """Reads an archive as far as it can be read. A value is authenticated by its own encryption, not by the file."""

    archive: Archive
    flaws: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        if self.archive.flaw:
            self._warn(self.archive.flaw)

    def lines(self, member: str) -> Iterator[dict[str, Any]]:
        try:
            yield from self.archive.lines(member)
        except KtError as error:
            self._warn(error.detail)

    def _warn(self, flaw: str) -> None:
        if flaw not in self.flaws:
            self.flaws.add(flaw)
            print(f"{styled('warning:', 'yellow', sys.stderr)} {clean(flaw)}", file=sys.stderr)


def show_value(session: Session, path: Path, wanted: Wanted, master_key_file: Path | None, *, show: bool) -> None:
    """Write a value to stdout: as it is where that is no terminal; on a terminal only with ``show``.

    Raises:
        KtError: ``not_found``, ``wrong_master_key``, ``undecryptable``, ``backup_damaged``.
    """
    if not show and (session.json or sys.stdout.isatty()):
        raise KtError(
            "usage",
            "The value would be shown on the screen; expected --show, or an output that is no terminal.",
            "Write it to a file: `kt recover FILE NAME > value`.",
        )
    with opened(path, leniently=True) as archive:
        check_version(archive)
        reader = _Reader(archive)
        entry = _entry(reader, wanted)
        row = next((row for row in reader.lines(VALUES) if row["id"] == entry["sealed_id"]), None)
        if row is None:
            raise _gone(entry, damaged=bool(reader.flaws))
        masters = given_master_keys(master_key_file, ask=True)
        if masters is None:
            raise KtError(
                "misconfigured",
                "No master key was given; without it no value can be read.",
                "Set KEEPTRUSTS_SECRET_ENCRYPTION_KEY, or give --master-key-file.",
            )
        value = recover(row, entry["digest"], reader.lines(KEYRING), (masters.current, *masters.previous))
    _write(session, entry, value)


def show_list(session: Session, path: Path) -> None:
    """What an archive holds values of. Needs no master key."""
    with opened(path, leniently=True) as archive:
        check_version(archive)
        reader = _Reader(archive)
        there = {row["id"] for row in reader.lines(VALUES)}
        entries = [{**entry, "there": entry["sealed_id"] in there} for entry in reader.lines(INDEX)]
    if session.json:
        print_json({"items": entries})
        return
    table = Table(
        Column("ORG"), Column("KIND"), Column("NAME"), Column("VERSION", right=True), Column("SET"), Column("VALUE")
    )
    table.print(
        [e["org"], e["kind"], e["name"], e["version"], absolute(e["time"]), "there" if e["there"] else "destroyed"]
        for e in sorted(entries, key=lambda e: (e["org"], e["kind"], e["name"], e["version"]))
    )


def _entry(reader: _Reader, wanted: Wanted) -> dict[str, Any]:
    place = (wanted.org, wanted.kind, wanted.name)
    found = [e for e in reader.lines(INDEX) if (e["org"], e["kind"], e["name"]) == place]
    chosen = [e for e in found if wanted.version in (None, e["version"])]
    if not chosen:
        versions = ", ".join(str(entry["version"]) for entry in found[-10:])
        raise KtError(
            "not_found",
            f"The archive names no version {wanted.version} of it; there are {versions}."
            if found
            else f"The archive names no {wanted.kind} of this name in the org {wanted.org}.",
            "`kt recover FILE --list` shows what is in it.",
        )
    return max(chosen, key=lambda entry: int(entry["version"]))


def _gone(entry: dict[str, Any], *, damaged: bool) -> KtError:
    if damaged:
        return KtError(
            "backup_damaged",
            f"The value of version {entry['version']} lies in a part of the archive that can't be read.",
            "Use another copy of it, or another backup.",
        )
    return KtError(
        "not_found",
        f"The value of version {entry['version']} was destroyed before the backup was taken.",
        "`kt recover FILE --list` shows which values are there; an earlier backup may still hold it.",
    )


def _write(session: Session, entry: dict[str, Any], value: Secret) -> None:
    raw = value.reveal()
    if session.json:
        told = {name: entry[name] for name in ("org", "kind", "name", "version")}
        print_json({**told, "value": raw.decode(errors="replace"), "value_base64": base64.b64encode(raw).decode()})
        return
    sys.stdout.flush()
    sys.stdout.buffer.write(raw + (b"\n" if sys.stdout.isatty() else b""))
    sys.stdout.buffer.flush()
