"""Exports on the command line: fetched and checked, while telling how far it is."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from libs.cli.client import HttpClient
from libs.cli.discovery import connect
from libs.cli.documents import print_json
from libs.cli.export_directory import ExportDirectory, VerifiedLog
from libs.cli.exporting import Download
from libs.cli.progress import Bar, Progress
from libs.cli.session import Session
from libs.cli.tables import print_details
from libs.cli.terminal import absolute, size
from libs.common.errors import KtError
from libs.common.transparency.manifest import Format, Manifest
from libs.common.transparency.note import VerifierKey

ANSWER_SECONDS: Final = 90.0
RETRY_SECONDS: Final = 2.0


def fetch(session: Session, directory: Path, query: Mapping[str, str]) -> None:
    """Write an export into a directory, or go on with the one that is there."""
    with Progress("") as progress:
        manifest = download(connect(session, timeout=ANSWER_SECONDS), directory, query, progress)
    if session.json:
        print_json({"directory": str(directory), **manifest.model_dump(mode="json")})
        return
    print_details([("DIRECTORY", directory), *_details(manifest)])
    click.echo(f"Check it: `kt events verify {directory} --key keys.txt` (from `kt events keys`).", err=True)


def download(client: HttpClient, directory: Path, query: Mapping[str, str], progress: Progress) -> Manifest:
    """Raises: KtError as :meth:`libs.cli.exporting.Download.run`."""
    bar = _EntriesBar(Bar(progress))
    run = Download(client, directory, {k: v for k, v in query.items() if v}, bar.show)
    if run.resumed:
        progress.note("Going on with the export that is there.")

    def retry(error: KtError) -> None:
        progress.note(f"{error.detail} Trying again.")
        time.sleep(RETRY_SECONDS)

    return run.run(retry)


def check(directory: Path, keys: Sequence[VerifierKey]) -> dict[str, Any]:
    """Verify the export in a directory. What that shows, for programs, and in ``text`` for people.

    Raises:
        NotProven: naming the first thing that is wrong.
    """
    with Progress("") as progress:
        found = ExportDirectory(directory, keys)
        bar = Bar(progress)
        bar.step("verifying", found.size)
        verified = found.verify(bar.moved)
    manifest = verified.manifest
    rows = sum(log.rows for log in manifest.logs)
    state = "complete" if manifest.complete else "not complete"
    requester = f"{manifest.requester.type}/{manifest.requester.id}"
    lines = [
        f"{directory}: an export of {rows:,} events for {requester}, as it was signed, {state}.",
        *(f"  {title.lower():<9}  {value}" for title, value in _details(manifest)),
        *(f"  {line}" for log in verified.logs for line in _shown(manifest, log)),
    ]
    document = manifest.model_dump(mode="json", exclude={"files"})
    return {"file": str(directory), "kind": "export", **document, "text": "\n".join(lines)}


def _details(manifest: Manifest) -> list[tuple[str, object]]:
    files = manifest.files
    total = sum(file.bytes + (file.proofs.bytes if file.proofs else 0) for file in files)
    period = f"{_moment(manifest.begins, 'the beginning')} to {_moment(manifest.ends, 'when it was asked for')}"
    return [
        ("PERIOD", period),
        ("FILTER", manifest.filter or "none"),
        ("COMPLETE", "yes" if manifest.complete else "no: entries that don't match, or of other orgs, are not in it"),
        ("ROWS", f"{sum(log.rows for log in manifest.logs):,}"),
        ("FILES", f"{len(files):,} of {manifest.format}, {size(total)}"),
        ("ASKED FOR", f"{absolute(manifest.requested_at)} by {manifest.requester.type}/{manifest.requester.id}"),
    ]


def _shown(manifest: Manifest, found: VerifiedLog) -> list[str]:
    log, checkpoint = found.log, found.checkpoint
    if checkpoint is None or log.last < log.first:
        return [f"{log.stream}: nothing was recorded in this time."]
    place = f"{log.stream}: {log.rows:,} of the entries {log.first:,} to {log.last:,}"
    if manifest.format != Format.NDJSON:
        return [f"{place}; the files are those that were signed."]
    every = "no entry is missing, and " if log.rows == log.last - log.first + 1 else ""
    return [f"{place}; {every}each is in the log of {checkpoint.size:,} that was signed."]


def _moment(text: str, without: str) -> str:
    return absolute(text) if text else without


class _EntriesBar:
    """Shows how many entries of an export came."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._begun = False
        self._shown = 0

    def show(self, entries: int, total: int) -> None:
        if not self._begun:
            self._bar.step("exporting", total)
            self._begun = True
        self._bar.moved(entries - self._shown)
        self._shown = entries
