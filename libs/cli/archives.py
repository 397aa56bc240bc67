"""Archives of backups on the command line: opening them, saying what is in them, master keys to read them with."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from getpass import getpass
from pathlib import Path
from typing import Any, Final

from libs.backup.archive import Archive
from libs.backup.manifest import MANIFEST, Manifest, read_authentication
from libs.cli.terminal import absolute, size
from libs.common.errors import KtError
from libs.common.secret import Secret
from libs.common.settings import secret_from_environment
from services.keys.domain.backup_mark import ALGORITHM, is_marked
from services.keys.domain.master import VARIABLE, MasterKey, parse_master_key
from services.keys.settings import MasterKeys, master_keys_from_environment

_MAX_KEY_FILE: Final = 64 * 1024


@contextmanager
def opened(path: Path, *, leniently: bool = False) -> Iterator[Archive]:
    """Raises: KtError ``usage`` when the file can't be read; ``backup_damaged``."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise KtError("usage", f"{path} can't be read: {error.strerror}.") from None
    with file:
        yield Archive.read_leniently(file) if leniently else Archive.read(file)


def given_master_keys(path: Path | None, *, ask: bool = False) -> MasterKeys | None:
    """The master keys from ``path``, else the environment, else with ``ask`` from the terminal; None without any.

    Raises:
        KtError: ``weak_master_key`` or ``misconfigured``, never with a key in it.
    """
    if path is not None:
        try:
            with path.open("rb") as file:
                text = file.read(_MAX_KEY_FILE)
        except OSError as error:
            raise KtError("usage", f"The master key file can't be read: {error.strerror}.") from None
        return MasterKeys(parse_master_key(Secret(text.removesuffix(b"\n").removesuffix(b"\r")), "The master key"))
    if secret_from_environment(VARIABLE) is not None:
        return master_keys_from_environment()
    if ask and sys.stdin.isatty():
        return MasterKeys(parse_master_key(Secret.from_text(getpass("Master key (hidden): ")), "The master key"))
    return None


def authenticity(archive: Archive, masters: MasterKeys | None) -> str:
    """Whether the system of a master key made the archive: ``yes``, or why that is not known.

    Raises:
        KtError: ``backup_damaged`` when it was changed since.
    """
    mark = read_authentication(archive)
    given = [] if masters is None else [masters.current, *masters.previous]
    for master in given:
        if master.fingerprint == mark.master_fingerprint and mark.algorithm == ALGORITHM:
            return _checked(archive.digest(MANIFEST), mark.mac, master)
    return f"not checked: that takes the master key {mark.master_fingerprint}"


def _checked(digest: str, mac: str, master: MasterKey) -> str:
    if not is_marked(digest, mac, master):
        raise KtError(
            "backup_damaged",
            f"The archive was changed by somebody who does not have the master key {master.fingerprint}.",
            "Do not use it. Take another copy of it, or another backup.",
        )
    return "yes"


def details(path: Path, identity: str, manifest: Manifest) -> list[tuple[str, object]]:
    """What an archive holds, for people. ``identity`` is what the audit log calls it."""
    streams = [
        (stream.name, f"{stream.messages:,} ({stream.first_sequence:,} to {stream.last_sequence:,})")
        for stream in manifest.streams
    ]
    sealed = manifest.sealed_store
    return [
        ("FILE", path),
        ("ID", identity),
        ("SIZE", size(path.stat().st_size)),
        ("TAKEN", absolute(manifest.created_at)),
        *streams,
        ("VALUES", f"{sealed.values:,}, under {sealed.keys:,} keys"),
        ("MASTER KEY", " and ".join(sealed.master_fingerprints)),
    ]


def document(path: Path, identity: str, manifest: Manifest) -> dict[str, Any]:
    """The same for programs: the manifest, and the file."""
    return {"file": str(path), "id": identity, "bytes": path.stat().st_size, **manifest.model_dump(mode="json")}
