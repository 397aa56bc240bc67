"""``kt events keys|checkpoint|prove|verify|repair``: the proofs of the audit log."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from libs.cli.base import KtCommand, pass_session
from libs.cli.discovery import connect
from libs.cli.documents import print_json
from libs.cli.progress import Progress
from libs.cli.session import Session
from libs.cli.trusted_keys import content, demand_witnesses, kept_checkpoint, keys_from, not_proven
from libs.cli.verifying import STREAMS, LogCheck, StreamResult, published_keys
from libs.common.errors import Exit, KtError
from libs.common.transparency.merkle import NotProven
from libs.common.transparency.note import VerifierKey, verified_checkpoint
from libs.common.transparency.origin import LogOrigin
from libs.common.transparency.proof import EntryProof

PROOF_HEADER: Final = b"c2sp.org/tlog-proof@v1\n"

_FILE = click.Path(dir_okay=False, path_type=Path)
stream_option = click.option(
    "--stream", type=click.Choice(STREAMS), metavar="STREAM", help="KT_EVENTS or KT_ACCESS; both if not given."
)
keys_option = click.option(
    "--key",
    "keys",
    multiple=True,
    metavar="FILE|KEY",
    help="Public keys that were kept from `kt events keys`. May be repeated.",
)


@click.command(cls=KtCommand, examples=("kt events keys > keys.txt",))
@pass_session
def keys(session: Session) -> None:
    """Print the public keys that verify the log's checkpoints, also retired ones.

    Keep them where nobody who can change the log can change them: with them, `kt events verify` needs no trust in the
    system that it checks.
    """
    client = connect(session)
    if session.json:
        print_json(client.get("/v1/events/checkpoint-keys").document)
        return
    for key in published_keys(client):
        click.echo(key)


@click.command(cls=KtCommand, examples=("kt events checkpoint --stream KT_EVENTS > 2026-11-23.checkpoint",))
@click.option("--stream", type=click.Choice(STREAMS), default=STREAMS[0], show_default=True, metavar="STREAM")
@pass_session
def checkpoint(session: Session, stream: str) -> None:
    """Print the newest signed state of the log: its size and root, as a signed note (C2SP tlog-checkpoint)."""
    found = connect(session).get("/v1/events/checkpoint", {"stream": stream}).document
    if session.json:
        print_json(found)
    else:
        click.echo(found["note"], nl=False)


@click.command(
    cls=KtCommand,
    examples=("kt events prove KT_EVENTS:17 --out event.proof", "kt events verify event.proof --key keys.txt"),
)
@click.argument("event", metavar="ID|STREAM:SEQUENCE")
@click.option("--out", type=_FILE, metavar="FILE", help="Where to write it; else it is printed.")
@pass_session
def prove(session: Session, event: str, out: Path | None) -> None:
    """Give one event, byte for byte, with the proof that it is in the log: a file that says everything (C2SP
    tlog-proof). `kt events verify FILE --key KEYS` checks it anywhere."""
    client = connect(session)
    if "/" in event or "?" in event or "#" in event:
        raise KtError("usage", "The event is named by its id, or by STREAM:SEQUENCE as `kt events list` shows it.")
    found = client.get(f"/v1/events/{event}/proof").document
    proof = EntryProof(
        entry=base64.b64decode(found["body"]),
        index=found["sequence"] - 1,
        path=tuple(map(base64.b64decode, found["path"])),
        note=found["checkpoint"]["note"].encode(),
    )
    try:
        proof.verify(keys_from(published_keys(client)))
    except NotProven as reason:
        raise not_proven("The proof that the system gave", reason) from None
    if out is not None:
        out.write_bytes(proof.encoded())
        click.echo(f"{found['stream']}:{found['sequence']} is proven by {out}.", err=True)
    elif session.json:
        print_json(found)
    else:
        click.echo(proof.encoded().decode(), nl=False)


@click.command(
    cls=KtCommand,
    examples=(
        "kt events verify --key keys.txt --checkpoint 2026-11-01.checkpoint",
        "kt events verify event.proof --key keys.txt",
        "kt events verify january --key keys.txt",
    ),
)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE]...")
@keys_option
@click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    type=_FILE,
    metavar="FILE",
    help="An older checkpoint that the log must continue. May be repeated.",
)
@stream_option
@pass_session
def verify(
    session: Session, files: Sequence[Path], keys: Sequence[str], checkpoints: Sequence[Path], stream: str | None
) -> Exit:
    """Check the running log: against its signatures, the stream, and older checkpoints.

    With FILEs, which are proofs of events, checkpoints or directories of exports, nothing but them and the keys is
    needed: no system, no network. Exits 1 when something is wrong, and names it.
    """
    if files:
        if checkpoints or stream:
            raise KtError("usage", "--checkpoint and --stream are for the running log; FILEs are checked alone.")
        _offline(session, files, keys_from(keys))
        return Exit.OK
    return _running(session, keys, checkpoints, stream, repair=False)


@click.command(cls=KtCommand, examples=("kt events verify", "kt events repair --key keys.txt"))
@keys_option
@stream_option
@pass_session
def repair(session: Session, keys: Sequence[str], stream: str | None) -> Exit:
    """Restore rows of the log from the stream, where the proofs say that the stream is right.

    What can't be restored is named, and why. The repair itself is put on record.
    """
    return _running(session, keys, (), stream, repair=True)


def _offline(session: Session, files: Sequence[Path], keys: Sequence[VerifierKey]) -> None:
    documents = [_verified_file(path, keys) for path in files]
    if session.json:
        print_json({"verified": True, "files": [{k: v for k, v in d.items() if k != "text"} for d in documents]})
        return
    for document in documents:
        click.echo(document["text"])


def _verified_file(path: Path, keys: Sequence[VerifierKey]) -> dict[str, Any]:
    try:
        if path.is_dir():
            from libs.cli.export_runs import check  # noqa: PLC0415 - takes libraries that are slow to import

            return check(path, keys)
        raw = content(path)
        if not raw.startswith(PROOF_HEADER):
            found = verified_checkpoint(raw, keys)
            seen_by = demand_witnesses(raw, keys)
            text = f"{path}: a checkpoint of {found.origin}: {found.size:,} entries." + _cosigned(seen_by)
            document = {"file": str(path), "kind": "checkpoint", "origin": found.origin, "size": found.size}
            return {**document, "cosigned": seen_by, "text": text}
        proof = EntryProof.parse(raw)
        signed = proof.verify(keys)
        seen_by = demand_witnesses(proof.note, keys)
        stream = LogOrigin.parse(signed.origin).stream
    except NotProven as reason:
        raise not_proven(path, reason) from None
    place = f"{stream}:{proof.index + 1}"
    return {
        "file": str(path),
        "kind": "proof",
        "origin": signed.origin,
        "size": signed.size,
        "position": place,
        "cosigned": seen_by,
        "event": _event(proof.entry),
        "text": f"{path}: {place} is an entry of {signed.origin}, which had {signed.size:,} entries when it was"
        f" signed.{_cosigned(seen_by)}\n{json.dumps(_event(proof.entry), indent=2)}",
    }


def _cosigned(seen_by: Sequence[str]) -> str:
    return "".join(f" Cosigned by {one}." for one in seen_by)


def _event(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return {"base64": base64.b64encode(body).decode()}


def _running(
    session: Session, texts: Sequence[str], checkpoints: Sequence[Path], stream: str | None, *, repair: bool
) -> Exit:
    client = connect(session)
    trusted = keys_from(texts or published_keys(client))
    kept = [kept_checkpoint(path, trusted) for path in checkpoints]
    with Progress("reading the log") as progress:
        check = LogCheck(client, trusted, progress.step)
        results = [check.run(name, kept, repair=repair) for name in ((stream,) if stream else STREAMS)]
    left = [f for result in results for f in result.findings if f.outcome != "repaired"]
    if session.json:
        print_json({"verified": not left, "streams": [result.document() for result in results]})
    else:
        for result in results:
            _tell(result)
        if not texts:
            click.echo("The keys came from the system itself; `--key` with kept ones needs no trust in it.", err=True)
    return Exit.FAILED if left else Exit.OK


def _tell(result: StreamResult) -> None:
    for found in result.findings:
        place = f"{result.stream}:{found.first}" + (f"-{found.last}" if found.last > found.first else "")
        outcome = f" ({found.outcome})" if found.outcome else ""
        click.echo(f"{place}  {found.kind}: {found.meaning()}{outcome}.")
    if result.halted:
        click.echo(f"{result.stream}: nothing is put on record until this is repaired: {result.halted}", err=True)
    if any(found.outcome != "repaired" for found in result.findings):
        return
    signed = result.checkpoint.size if result.checkpoint else 0
    click.echo(
        f"{result.stream}: {result.size:,} entries, {signed:,} of them signed for; log, stream and tree agree"
        + "".join(f"; continues {kept.source} ({kept.checkpoint.size:,})" for kept in result.continues)
        + (f"; {result.behind:,} more are not on record yet" if result.behind else "")
        + "."
    )
