"""Keys and checkpoints that an auditor kept: read, believed as far as they prove something, refused otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from libs.cli.trusted_keys import kept_checkpoint, keys_from
from libs.common.errors import KtError
from libs.common.transparency.merkle import EMPTY_ROOT, leaf_hash
from libs.common.transparency.note import Note
from libs.common.transparency.proof import EntryProof
from tests.unit.cli.conftest import Kt
from tests.unit.transparency.signing import Signer

LOG = Signer()
WITNESS = Signer("witness.example.com/w1", seed=2, algorithm=4)
STRANGER = Signer(seed=3)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys.txt"
    path.write_text(f"# kept in November\n\n{LOG.key}\n")
    return path


def checkpoint(tmp_path: Path, note: Note) -> Path:
    path = tmp_path / "kept.checkpoint"
    path.write_text(str(note))
    return path


def test_keys_come_from_files_and_from_the_command_line(keys: Path) -> None:
    assert keys_from([str(keys), str(WITNESS.key)]) == [LOG.key, WITNESS.key]
    with pytest.raises(KtError, match="can't be read"):
        keys_from(["nowhere.txt"])
    keys.write_text(f"{LOG.key}x")
    with pytest.raises(KtError) as caught:
        keys_from([str(keys)])
    assert caught.value.code == "not_proven"


def test_a_checkpoint_of_a_stranger_is_refused(tmp_path: Path) -> None:
    kept = kept_checkpoint(checkpoint(tmp_path, LOG.checkpoint(0, EMPTY_ROOT)), [LOG.key])
    assert (kept.stream, kept.checkpoint.size) == ("KT_EVENTS", 0)
    with pytest.raises(KtError, match="not signed by the log's key"):
        kept_checkpoint(checkpoint(tmp_path, STRANGER.checkpoint(0, EMPTY_ROOT)), [LOG.key])


def test_an_entry_is_proven_by_its_file_and_the_keys_alone(kt: Kt, keys: Path, tmp_path: Path) -> None:
    body = b'{"id":"one"}'
    proof = EntryProof(body, 0, (), str(LOG.checkpoint(1, leaf_hash(body))).encode())
    path = tmp_path / "one.proof"
    path.write_bytes(proof.encoded())
    said = kt("events", "verify", str(path), "--key", str(keys)).out
    assert "KT_EVENTS:1 is an entry of keeptrusts/" in said
    assert '"id": "one"' in said
    path.write_bytes(proof.encoded().replace(b"index 0", b"index 1"))
    assert kt("events", "verify", str(path), "--key", str(keys)).code == 1


def test_a_witness_that_is_named_must_have_signed(kt: Kt, keys: Path, tmp_path: Path) -> None:
    note = LOG.checkpoint(0, EMPTY_ROOT)
    path = checkpoint(tmp_path, note)
    arguments = ("events", "verify", str(path), "--key", str(keys), "--key", str(WITNESS.key))
    assert "not cosigned by witness.example.com/w1" in kt(*arguments).err
    checkpoint(tmp_path, note.with_signatures([WITNESS.sign(note.text)]))
    assert "Cosigned by witness.example.com/w1 at 2023-03-20T" in kt(*arguments).out


def test_files_are_verified_alone(kt: Kt, keys: Path, tmp_path: Path) -> None:
    path = checkpoint(tmp_path, LOG.checkpoint(0, EMPTY_ROOT))
    assert "for the running log" in kt("events", "verify", str(path), "--checkpoint", str(path)).err
    assert "No public key was given" in kt("events", "verify", str(path)).err
