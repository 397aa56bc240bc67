"""Backups: taken, verified, restored, while telling how far it is."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from typing import Any, Final

from libs.backup.create import create
from libs.backup.manifest import MANIFEST, Manifest
from libs.backup.restore import Engines, restore, restore_into_home, restored, verify
from libs.backup.source import Source
from libs.cli.archives import authenticity, details, document, given_master_keys, opened
from libs.cli.commands.version import installed_version
from libs.cli.documents import print_json
from libs.cli.progress import Bar, Progress
from libs.cli.running import home_at
from libs.cli.session import Session
from libs.cli.tables import print_details
from libs.common.clock import SystemClock
from libs.common.errors import KtError
from libs.common.protocol.backups import archive_id
from libs.engines.home import Home
from libs.engines.provision import ProvisionSettings

_EXTERNAL: Final = "KEEPTRUSTS_NATS_CREDS"


def take(session: Session, target: Path) -> None:
    """Take a backup of the system of this home, or of the engines that the environment names."""
    source = _source(session)
    with Progress("") as progress:
        manifest = asyncio.run(create(source, target, SystemClock(), installed_version(), Bar(progress)))
    _show(session, target, manifest, [])


def check(session: Session, path: Path, master_key_file: Path | None, *, trial: bool) -> None:
    """Verify an archive; with ``trial`` also by restoring it into a directory that is removed again."""
    masters = given_master_keys(master_key_file)
    with opened(path) as archive, Progress("") as progress:
        manifest = verify(archive, Bar(progress))
        authentic = authenticity(archive, masters)
        if trial:
            with tempfile.TemporaryDirectory(prefix="kt-trial-") as directory:
                home = Home(Path(directory) / "home")
                asyncio.run(restore_into_home(archive, home, SystemClock(), Bar(progress)))
    tried = [("TRIAL RESTORE", "complete, and the same")] if trial else []
    _show(session, path, manifest, [("AUTHENTIC", authentic), *tried])


def put_back(session: Session, path: Path, into: Path, master_key_file: Path | None) -> None:
    """Restore an archive into a new home."""
    home = home_at(into)
    masters = given_master_keys(master_key_file)
    with opened(path) as archive, Progress("") as progress:
        authentic = authenticity(archive, masters)
        manifest = asyncio.run(restore_into_home(archive, home, SystemClock(), Bar(progress)))
    needed = " and ".join(manifest.sealed_store.master_fingerprints)
    _show(session, path, manifest, [("AUTHENTIC", authentic), ("HOME", home.path)])
    if not session.json:
        print(f"\nStart it with the master key {needed}: `kt --home {home.path} up`.")


def put_back_elsewhere(session: Session, path: Path, directory: Path, master_key_file: Path | None) -> None:
    """Restore an archive into empty engines that somebody else runs."""
    settings = ProvisionSettings.load()
    engines = Engines(
        nats_url=settings.nats_url,
        provisioner=settings.nats_creds,
        admin_dsn=settings.postgres_admin_dsn,
        passwords=directory,
        replicas=settings.nats_replicas,
    )
    masters = given_master_keys(master_key_file)
    with opened(path) as archive, Progress("") as progress:
        bar = Bar(progress)
        authentic = authenticity(archive, masters)
        manifest = verify(archive, bar)
        notice = restored(archive, manifest, SystemClock(), "engines")
        asyncio.run(restore(archive, manifest, engines, notice, bar))
    _show(session, path, manifest, [("AUTHENTIC", authentic), ("ENGINES", settings.nats_url)])


def _source(session: Session) -> Source:
    if os.environ.get(_EXTERNAL) and session.home_option is None:
        return Source.from_environment()
    home = home_at(session.home)
    if home.supervisor() is None:
        raise KtError(
            "not_running",
            f"Nothing runs from {home.path}; a backup is taken of a running system.",
            "Start it with `kt up`, or name its home with --home.",
        )
    return Source.of_home(home, home.state().nats_url)


def _show(session: Session, path: Path, manifest: Manifest, more: list[tuple[str, Any]]) -> None:
    with opened(path) as archive:
        identity = archive_id(archive.digest(MANIFEST))
    if session.json:
        told = {title.lower().replace(" ", "_"): str(value) for title, value in more}
        print_json({**document(path, identity, manifest), **told})
    else:
        print_details([*details(path, identity, manifest), *more])
