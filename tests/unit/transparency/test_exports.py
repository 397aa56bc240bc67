"""An export is checked with nothing but its files and a public key, and whatever was done to it is named."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from libs.cli.export_directory import ExportDirectory, VerifiedExport
from libs.common.transparency.export_rows import WRAPPER, body_of, line_of
from libs.common.transparency.manifest import MANIFEST, SIGNATURE, ExportedFile, Manifest, is_file_name
from libs.common.transparency.merkle import NotProven
from tests.unit.transparency.exporter import STREAM, Exporter, bodies
from tests.unit.transparency.signing import Signer

FIRST, SECOND = f"{STREAM}-000000000003-000000000006.ndjson.zst", f"{STREAM}-000000000007-000000000010.ndjson.zst"


def whole(**changes: Any) -> Exporter:
    """Twelve of fifteen entries, in three files."""
    return Exporter(bodies(15), range(3, 15), **changes)


def filtered(**changes: Any) -> Exporter:
    return Exporter(bodies(15), (2, 5, 6, 11, 12, 13), filter="actor=alice", **changes)


def verified(directory: Path, exporter: Exporter) -> VerifiedExport:
    return ExportDirectory(directory, [exporter.key]).verify(lambda _: None)


def refusal(directory: Path, exporter: Exporter) -> str:
    with pytest.raises(NotProven) as caught:
        verified(directory, exporter)
    return str(caught.value)


@pytest.mark.parametrize("size", [1, 2, 4, 7, 15])
@pytest.mark.parametrize("per_file", [1, 3, 8])
def test_what_was_exported_verifies(tmp_path: Path, size: int, per_file: int) -> None:
    exporter = Exporter(bodies(size), range(1, size + 1), per_file)

    found = verified(exporter.write(tmp_path), exporter)

    assert found.manifest.complete
    assert found.logs[0].checkpoint is not None
    assert (found.logs[0].log.rows, found.logs[0].checkpoint.size) == (size, size)


def test_a_filtered_export_proves_each_of_its_rows(tmp_path: Path) -> None:
    exporter = filtered()

    found = verified(exporter.write(tmp_path), exporter)

    assert not found.manifest.complete
    assert any(file.proofs for file in found.manifest.files)
    assert any(file.contiguous for file in found.manifest.files)


def _without(directory: Path) -> None:
    (directory / FIRST).unlink()


def _with_another(directory: Path) -> None:
    (directory / "notes.txt").write_text("mine")


def _cut(directory: Path) -> None:
    content = (directory / FIRST).read_bytes()
    (directory / FIRST).write_bytes(content[:-1])


def _padded(directory: Path) -> None:
    with (directory / FIRST).open("ab") as file:
        file.write(b"\n")


def _changed(directory: Path) -> None:
    content = bytearray((directory / FIRST).read_bytes())
    content[-1] ^= 1
    (directory / FIRST).write_bytes(content)


def _swapped(directory: Path) -> None:
    one, two = (directory / FIRST).read_bytes(), (directory / SECOND).read_bytes()
    assert len(one) != len(two)
    (directory / FIRST).write_bytes(two)
    (directory / SECOND).write_bytes(one)


def _rewritten(directory: Path) -> None:
    raw = (directory / FIRST).read_bytes()
    plain = zstandard.decompress(raw, 1 << 20).replace(b"acme", b"evil")
    (directory / FIRST).write_bytes(zstandard.compress(plain))


def _without_manifest(directory: Path) -> None:
    (directory / MANIFEST).unlink()


def _without_signature(directory: Path) -> None:
    (directory / SIGNATURE).unlink()


def _padded_manifest(directory: Path) -> None:
    with (directory / MANIFEST).open("ab") as file:
        file.write(b"\n")


def _padded_signature(directory: Path) -> None:
    with (directory / SIGNATURE).open("ab") as file:
        file.write(b"\n")


def _edited_manifest(directory: Path) -> None:
    raw = (directory / MANIFEST).read_bytes()
    (directory / MANIFEST).write_bytes(raw.replace(b'"auditor"', b'"somebody"'))


@pytest.mark.parametrize(
    ("attack", "named"),
    [
        (_without, f"{FIRST} is missing"),
        (_with_another, "'notes.txt' is not in the manifest"),
        (_cut, f"{FIRST} was cut"),
        (_padded, f"{FIRST} has bytes behind its end"),
        (_changed, FIRST),
        (_swapped, FIRST),
        (_rewritten, FIRST),
        (_without_manifest, "manifest.json is missing"),
        (_without_signature, "manifest.note is missing"),
        (_padded_manifest, "canonical"),
        (_padded_signature, "note"),
        (_edited_manifest, "not the one that was signed"),
    ],
)
def test_what_was_done_to_the_files_is_named(tmp_path: Path, attack: Callable[[Path], None], named: str) -> None:
    exporter = whole()
    attack(exporter.write(tmp_path))

    assert named in refusal(tmp_path, exporter)


def test_a_manifest_signed_by_a_stranger_is_refused(tmp_path: Path) -> None:
    whole(seed=2).write(tmp_path)

    assert "signed by one of the given keys" in refusal(tmp_path, whole())


def test_a_checkpoint_signed_by_a_stranger_is_refused(tmp_path: Path) -> None:
    exporter = whole(checkpoint_seed=2)
    exporter.write(tmp_path)

    assert "not signed by the log's key" in refusal(tmp_path, exporter)


def test_a_key_of_another_installation_is_a_strangers(tmp_path: Path) -> None:
    exporter = whole()
    exporter.write(tmp_path)
    other = Signer("keeptrusts/019aaf9c-6b1e-7c3a-9a53-0d7d3a2f4b12/*/KT_EVENTS", 1).key

    with pytest.raises(NotProven, match="signed by one of the given keys"):
        ExportDirectory(tmp_path, [other])


@pytest.mark.parametrize("make", [whole, filtered])
def test_a_row_that_the_log_does_not_hold_is_found_even_when_the_manifest_is_signed(
    tmp_path: Path, make: Callable[..., Exporter]
) -> None:
    exporter = make(shown={6: b'{"id":"6","org":"evil"}'})
    exporter.write(tmp_path)

    text = refusal(tmp_path, exporter)
    assert "another root" in text
    assert STREAM in text


def test_rows_in_another_order_are_found_even_when_the_manifest_is_signed(tmp_path: Path) -> None:
    log = bodies(15)
    exporter = whole(shown={3: log[3], 4: log[2]})
    exporter.write(tmp_path)

    assert "another root" in refusal(tmp_path, exporter)


def _manifest(directory: Path) -> Manifest:
    return Manifest.parse((directory / MANIFEST).read_bytes())


def _signed_anew(exporter: Exporter, directory: Path, files: list[ExportedFile], **changes: Any) -> None:
    exporter.sign(directory, _manifest(directory).model_copy(update={"files": files, **changes}))


def test_a_file_left_out_of_a_signed_manifest_is_found(tmp_path: Path) -> None:
    exporter = whole()
    exporter.write(tmp_path)
    files = _manifest(tmp_path).files
    (tmp_path / files[1].name).unlink()
    _signed_anew(exporter, tmp_path, [files[0], files[2]])

    assert "as many rows" in refusal(tmp_path, exporter)


def test_bytes_behind_the_compressed_content_are_found_even_when_the_manifest_is_signed(tmp_path: Path) -> None:
    exporter = whole()
    exporter.write(tmp_path)
    files = _manifest(tmp_path).files
    for more in (b"\0", zstandard.compress(b"{}\n")):
        content = (tmp_path / FIRST).read_bytes()
        (tmp_path / FIRST).write_bytes(content + more)
        entry = files[0].model_copy(
            update={"bytes": len(content + more), "sha256": sha256(content + more).hexdigest()}
        )
        _signed_anew(exporter, tmp_path, [entry, *files[1:]])

        assert "goes on behind the end of its content" in refusal(tmp_path, exporter)
        (tmp_path / FIRST).write_bytes(content)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"complete": False}, "complete"),
        ({"filter": "actor=alice"}, "complete"),
        ({"format": "xml"}, "format"),
        ({"version": "keeptrusts-export/v2"}, "version"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    exporter = whole(changes=changes)
    exporter.write(tmp_path)

    assert named in refusal(tmp_path, exporter)


def test_an_incomplete_filtered_export_can_not_call_itself_complete(tmp_path: Path) -> None:
    exporter = filtered(changes={"complete": True})
    exporter.write(tmp_path)

    assert "claims to be complete" in refusal(tmp_path, exporter)


def test_a_checkpoint_note_does_not_pass_for_a_signature_of_a_manifest(tmp_path: Path) -> None:
    exporter = whole()
    exporter.write(tmp_path)
    (tmp_path / SIGNATURE).write_text(_manifest(tmp_path).logs[0].checkpoint)

    assert "not the one that was signed" in refusal(tmp_path, exporter)


@given(st.binary(max_size=40) | st.builds(lambda tail: WRAPPER + tail, st.binary(max_size=40)), st.booleans())
def test_any_stored_bytes_come_back_from_their_line(body: bytes, is_event: bool) -> None:
    line = line_of(body, is_event=is_event)

    assert b"\n" not in line
    assert body_of(line) == body


@pytest.mark.parametrize(
    "line", [WRAPPER + b'e30="', WRAPPER + b'e30=" }', WRAPPER + b'e3=="}', WRAPPER + b'e30\n="}']
)
def test_a_wrapped_line_has_one_form(line: bytes) -> None:
    with pytest.raises(NotProven):
        body_of(line)


@pytest.mark.parametrize(
    "name",
    ["../manifest.json", "/etc/passwd", "KT_EVENTS-1-2.ndjson.zst", "KT_EVENTS-000000000001-000000000002.sh", ""],
)
def test_no_other_name_is_a_files_of_an_export(name: str) -> None:
    assert not is_file_name(name)
