"""Making the report: the evidence is exported and verified first, and everything else is made from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import click
import orjson

from libs.cli.discovery import connect
from libs.cli.documents import print_json
from libs.cli.export_directory import ExportDirectory, VerifiedExport
from libs.cli.export_runs import ANSWER_SECONDS, download
from libs.cli.progress import Progress
from libs.cli.session import Session
from libs.cli.soc2.findings import OLD_DAYS, Entry, Findings, Gateway, Key, Token, Use
from libs.cli.soc2.page import Figure, Proof, Section, render
from libs.cli.tables import print_details
from libs.cli.trusted_keys import keys_from, not_proven
from libs.cli.verifying import published_keys
from libs.common.transparency.merkle import NotProven
from libs.common.transparency.note import VerifierKey
from libs.exports.csv_text import csv_lines

PAGE: Final = "report.html"
_TITLE: Final = "Logical access (SOC 2, CC6)"
_EVENTS, _ACCESS = "KT_EVENTS", "KT_ACCESS"


def make(session: Session, directory: Path, begins: str, ends: str, keys: Sequence[str]) -> None:
    """Write the report into a directory, or go on with one.

    Raises:
        KtError: what the API refuses; ``not_proven`` when the evidence is not what was signed.
    """
    client = connect(session, timeout=ANSWER_SECONDS)
    trusted = keys_from(keys or published_keys(client))
    evidence = directory / "evidence"
    evidence.mkdir(mode=0o700, parents=True, exist_ok=True)
    with Progress("") as progress:
        found: Findings | None = None
        verified = []
        # Who may do what in the period was decided before it, too.
        for stream, begin in ((_EVENTS, ""), (_ACCESS, begins)):
            path = evidence / stream
            if not (path / "manifest.note").exists():
                query = {"format": "ndjson", "stream": stream, "from": begin, "to": ends}
                download(client, path, query, progress)
            progress.step(f"reading {stream}")
            export = _opened(path, trusted)
            verified.append(_verified(path, export))
            asked = export.manifest.requested_at
            found = found or Findings(_exact(begins), min(_exact(ends) or asked, asked))
            _gather(found, stream, export)
    if found is None:
        raise AssertionError
    written = _write(directory, found, verified, own_keys=not keys)
    if session.json:
        print_json({"directory": str(directory), "complete": _complete(verified), **written})
        return
    print_details([("REPORT", directory / PAGE), ("COMPLETE", "yes" if _complete(verified) else "not shown")])
    if not keys:
        click.echo("The keys came from the system itself; `--key` with kept ones needs no trust in it.", err=True)


def _exact(moment: str) -> str:
    """As events write times, so that they compare as text."""
    return moment.replace("Z", ".000000Z")


def _opened(path: Path, keys: Sequence[VerifierKey]) -> ExportDirectory:
    try:
        return ExportDirectory(path, keys)
    except NotProven as reason:
        raise not_proven(path, reason) from None


def _verified(path: Path, export: ExportDirectory) -> VerifiedExport:
    try:
        return export.verify(lambda _: None)
    except NotProven as reason:
        raise not_proven(path, reason) from None


def _gather(found: Findings, stream: str, export: ExportDirectory) -> None:
    for _, sequence, line in export.rows():
        try:
            found.take(stream, sequence, orjson.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError):
            found.unreadable += 1


def _write(directory: Path, found: Findings, verified: Sequence[VerifiedExport], *, own_keys: bool) -> dict[str, int]:
    sections = _sections(found)
    for section in sections:
        rows = [section.columns, *section.rows]
        (directory / section.file).write_bytes(csv_lines(rows))
    figures = [
        Figure(f"{len(section.rows):,}", section.file.removesuffix(".csv"), section.file) for section in sections
    ]
    manifest = verified[0].manifest
    facts = {
        "Period": f"{found.begins or 'the beginning of the log'} to {found.ends}",
        "Organisation": manifest.org,
        "Installation": manifest.installation,
        "Made for": f"{manifest.requester.type}/{manifest.requester.id}, {manifest.requested_at}",
        "Events in the period": f"{found.events:,}",
    }
    page = render(_TITLE, facts, figures, sections, _proof(found, verified, own_keys=own_keys))
    (directory / PAGE).write_text(page, encoding="utf-8")
    return {section.file.removesuffix(".csv"): len(section.rows) for section in sections}


def _sections(found: Findings) -> list[Section]:
    keys = found.keys()
    old = frozenset(number for number, key in enumerate(keys) if key.age_days > OLD_DAYS)
    return [
        _section(
            "Which tokens were valid?",
            "tokens.csv",
            Token,
            found.valid_tokens(),
            "Those valid at some time of the period.",
        ),
        _section(
            "Which gateways were enrolled?",
            "gateways.csv",
            Gateway,
            found.gateways.values(),
            "Those enrolled up to its end.",
        ),
        _section(
            "Who was given which secret?",
            "access.csv",
            Use,
            found.uses.values(),
            "By actor and secret, with counts, in the period.",
        ),
        _section(
            "Who changed what?",
            "changes.csv",
            Entry,
            found.changes,
            "Secrets, keys, tokens, gateways, webhooks, log.",
        ),
        _section("Which keys were rotated?", "rotations.csv", Entry, found.rotations, "Rotations in the period."),
        dataclasses.replace(
            _section(
                "How old is each key?",
                "keys.csv",
                Key,
                keys,
                f"Oldest first; {len(old):,} were set more than {OLD_DAYS} days before the end of the period.",
            ),
            pointed_out=old,
        ),
        _section("What failed?", "failures.csv", Entry, found.failures, "Refused or failed, with the reason."),
    ]


def _section(title: str, file: str, kind: type[Any], rows: Iterable[Any], answer: str) -> Section:
    names = [column.name for column in dataclasses.fields(kind)]
    return Section(title, answer, file, names, [[getattr(row, name) for name in names] for row in rows])


def _proof(found: Findings, verified: Sequence[VerifiedExport], *, own_keys: bool) -> Proof:
    sentences, checkpoints = [], {}
    for export in verified:
        for log in export.logs:
            entries = f"{log.log.first:,} to {log.log.last:,}" if log.log.rows else "none"
            size = log.checkpoint.size if log.checkpoint else 0
            sentences.append(
                f"{log.log.stream}: entries {entries}, {log.log.rows:,} rows in the evidence, each led to the root of"
                f" the signed log of {size:,} entries; {_gaps(export)}."
            )
            checkpoints[log.log.stream] = log.log.checkpoint
    if found.unreadable:
        sentences.append(f"{found.unreadable:,} entries are no events; they are in the evidence as they were stored.")
    trust = "published by the system itself" if own_keys else "given with --key"
    sentences.append(
        f"The signatures were checked with public keys {trust}. `kt events verify` checks the directories"
    )
    sentences[-1] += f" evidence/{_EVENTS} and evidence/{_ACCESS} again, without the system."
    return Proof(_complete(verified), sentences, checkpoints)


def _gaps(export: VerifiedExport) -> str:
    return "no sequence is missing" if export.manifest.complete else "entries of other organisations are not in it"


def _complete(verified: Sequence[VerifiedExport]) -> bool:
    return all(export.manifest.complete for export in verified)
