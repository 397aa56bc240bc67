"""Public keys and checkpoints from files: what somebody kept, to check the log against."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from libs.common.clock import rfc3339
from libs.common.errors import KtError
from libs.common.transparency.merkle import NotProven
from libs.common.transparency.note import (
    COSIGNATURE,
    Checkpoint,
    Note,
    VerifierKey,
    cosigned_at,
    signers,
    verified_checkpoint,
)
from libs.common.transparency.origin import LogOrigin

_MAX_FILE_BYTES: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class KeptCheckpoint:
    """A checkpoint whose signature holds, and where it came from."""

    source: str
    stream: str
    checkpoint: Checkpoint


def keys_from(texts: Iterable[str]) -> list[VerifierKey]:
    """Keys given as text, or as the path of a file with one a line; ``#`` begins a comment.

    Raises:
        KtError: ``usage`` for a file that can't be read; ``not_proven`` for a key that was cut or changed.
    """
    keys: list[VerifierKey] = []
    for text in texts:
        lines = [text] if _is_key(text) else content(Path(text)).decode("utf-8", "replace").splitlines()
        keys.extend(_key(line, text) for line in map(str.strip, lines) if line and not line.startswith("#"))
    if not keys:
        raise KtError(
            "usage",
            "No public key was given.",
            "Give the file that you kept, `--key keys.txt`; `kt events keys` printed it.",
        )
    return keys


def kept_checkpoint(path: Path, keys: Sequence[VerifierKey]) -> KeptCheckpoint:
    """
    Raises:
        KtError: ``not_proven`` when none of the keys signed it.
    """
    try:
        raw = content(path)
        found = verified_checkpoint(raw, keys)
        demand_witnesses(raw, keys)
        return KeptCheckpoint(str(path), LogOrigin.parse(found.origin).stream, found)
    except NotProven as reason:
        raise not_proven(path, reason) from None


def demand_witnesses(note: bytes, keys: Sequence[VerifierKey]) -> list[str]:
    """See that every witness among the keys signed a checkpoint; returns who and when.

    Raises:
        NotProven: one has not, or its signature does not hold.
    """
    parsed, said = Note.parse(note), []
    for witness in (key for key in keys if key.algorithm == COSIGNATURE):
        if not signers(parsed, [witness]):
            raise NotProven(f"the checkpoint is not cosigned by {witness.name}")
        (first, *_) = (cosigned_at(one) for one in parsed.signatures if witness.made(one))
        said.append(f"{witness.name} at {rfc3339(datetime.fromtimestamp(first, UTC))}")
    return said


def content(path: Path) -> bytes:
    """Raises: KtError ``usage`` when the file can't be read or is too long."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise KtError("usage", f"{path} can't be read: {error.strerror}.") from None
    if len(raw) > _MAX_FILE_BYTES:
        raise KtError("usage", f"{path} is longer than {_MAX_FILE_BYTES} bytes.")
    return raw


def not_proven(path: Path | str, reason: NotProven) -> KtError:
    return KtError(
        "not_proven",
        f"{path} proves nothing: {reason}.",
        "Compare the file and the keys with where they came from.",
    )


def _is_key(text: str) -> bool:
    return text.count("+") >= 2 and not Path(text).exists()  # noqa: PLR2004 - name+id+key


def _key(line: str, source: str) -> VerifierKey:
    try:
        return VerifierKey.parse(line)
    except NotProven as reason:
        raise not_proven(source, reason) from None
