"""Settings that name where copies of checkpoints go."""

from __future__ import annotations

import pytest

from libs.common.errors import KtError
from services.audit.domain.copies import (
    Branch,
    Bucket,
    Folder,
    file_name,
    parse_targets,
    parse_witnesses,
)
from tests.unit.transparency.signing import Signer


def test_each_place_is_read() -> None:
    text = (
        "/var/copies, s3+https://s3.example.com/bucket/log/one, s3+https://s3.example.com/bare,"
        "git+https://git.example.com/audit.git#copies, git+http://127.0.0.1:3000/audit.git"
    )
    assert list(parse_targets(text).values()) == [
        Folder("/var/copies"),
        Bucket("https://s3.example.com", "bucket", "log/one/"),
        Bucket("https://s3.example.com", "bare", ""),
        Branch("https://git.example.com/audit.git", "copies"),
        Branch("http://127.0.0.1:3000/audit.git", "main"),
    ]
    assert parse_targets(" ") == {}


@pytest.mark.parametrize(
    "text",
    [
        "copies",
        "s3+http://s3.example.com/bucket",
        "s3+https://s3.example.com",
        "s3+https://",
        "git+https://user:password@git.example.com/a.git",
        "git+https://git.example.com/",
        "ftp+https://a/b",
        "git+https://[/a.git",
    ],
)
def test_what_is_no_place_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(KtError) as caught:
        parse_targets(text)
    assert caught.value.code == "misconfigured"
    assert "password@" not in str(caught.value)


def test_a_witness_has_an_address_and_a_key_for_cosignatures() -> None:
    witness = Signer("witness.example.com/w1", seed=2, algorithm=4).key
    found = parse_witnesses(f"https://witness.example.com/w1/ {witness}")
    assert [one.url for one in found.values()] == ["https://witness.example.com/w1"]
    for text in (
        f"https://w.example.com {Signer().key}",
        "https://w.example.com x",
        f"http://w.example.com {witness}",
    ):
        with pytest.raises(KtError, match=r"witness|https"):
            parse_witnesses(text)


def test_names_of_copies_sort_as_sizes_do() -> None:
    assert sorted([file_name("KT_EVENTS", 10), file_name("KT_EVENTS", 9)])[0].endswith("09.checkpoint")
