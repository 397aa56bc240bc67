"""Where a configuration in a repository is: what is read, and what is refused without repeating it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.domain.git_location import GitLocation, GitLocationError, is_remote, parse_git_location

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CANARY = "cnry0pw"


@pytest.mark.parametrize(
    ("text", "repository", "path", "ref"),
    [
        ("git+https://example.com/a/b.git#c.yaml", "https://example.com/a/b.git", "c.yaml", ""),
        ("git+https://example.com/a/b.git/#c/d.yaml@main", "https://example.com/a/b.git", "c/d.yaml", "main"),
        ("git+https://example.com:8443/b#c@feature/x@2", "https://example.com:8443/b", "c", "feature/x@2"),
        ("git+https://example.com/b#a%40b%20c.yaml@v1.0", "https://example.com/b", "a@b c.yaml", "v1.0"),
        ("git+https://example.com/b#c@refs/tags/v1", "https://example.com/b", "c", "refs/tags/v1"),
        ("git+http://[::1]:80/b#c", "http://[::1]:80/b", "c", ""),
        (f"git+https://example.com/b#c@{COMMIT}", "https://example.com/b", "c", COMMIT),
    ],
)
def test_a_location_has_a_repository_a_path_and_a_ref(text: str, repository: str, path: str, ref: str) -> None:
    location = parse_git_location(text)
    assert (location.repository, location.path, location.ref) == (repository, path, ref)
    assert location.pinned is (ref == COMMIT)


@pytest.mark.parametrize(
    ("text", "position", "problem"),
    [
        ("https://example.com/b#c", 1, "scheme"),
        ("git+ssh://git@example.com/b#c", 1, "scheme"),
        ("git+file:///b#c", 1, "scheme"),
        ("git+https://#c", 13, "no name of a host"),
        ("git+https:///b#c", 13, "no name of a host"),
        (f"git+https://bob:{CANARY}@example.com/b#c", 13, "user name or password"),
        (f"git+https://{CANARY}@example.com/b#c", 13, "user name or password"),
        (f"git+https://bob:{CANARY}/x@example.com/b#c", 17, "no port"),
        ("git+https://example.com:0/b#c", 25, "no port"),
        ("git+https://example.com:65536/b#c", 25, "no port"),
        ("git+https://[::g]/b#c", 13, "no name of a host"),
        ("git+https://exa_mple.com/b#c", 13, "no name of a host"),
        ("git+https://example.com", 24, "no repository"),
        ("git+https://example.com/#c", 24, "no repository"),
        (f"git+https://example.com/b?token={CANARY}#c", 26, "query"),
        ("git+https://example.com/a/../b#c", 24, ". or .."),
        ("git+https://example.com/b", 26, "no file"),
        ("git+https://example.com/b#", 26, "no file"),
        ("git+https://example.com/b#@main", 27, "no path"),
        ("git+https://example.com/b#/etc/passwd", 27, "no path"),
        ("git+https://example.com/b#a/../b", 27, "no path"),
        ("git+https://example.com/b#a/%2e%2e/b", 27, "no path"),
        ("git+https://example.com/b#a//b", 27, "no path"),
        ("git+https://example.com/b#a%00b", 27, "no path"),
        ("git+https://example.com/b#%ff", 27, "not UTF-8"),
        ("git+https://example.com/b#c@", 29, "no ref"),
        ("git+https://example.com/b#c@ma..in", 31, "no ref can have"),
        ("git+https://example.com/b#c@ma:in", 31, "no ref can have"),
        ("git+https://example.com/b#c@-x", 29, "no name of a ref"),
        ("git+https://example.com/b #c", 26, "no place in a URL"),
        ("git+https://example.com/b#ü", 27, "no place in a URL"),
        (f"git+https://example.com/b#c@ghp_{'a1' * 18}", 1, "shape of a key"),
        ("git+https://example.com/" + "b" * 2048 + "#c", 2049, "too long"),
    ],
)
def test_an_error_counts_characters_and_says_what_was_expected(text: str, position: int, problem: str) -> None:
    with pytest.raises(GitLocationError) as error:
        parse_git_location(text)
    told = str(error.value)
    assert told.startswith(f"at character {position}: ")
    assert problem in told
    assert "; expected " in told
    assert CANARY not in told


@given(st.text("git+htps:/@#?%[]. a1\0ü", max_size=40))
def test_any_text_is_read_or_refused_in_words_of_ours(text: str) -> None:
    try:
        location = parse_git_location(f"git+https://{text}")
    except GitLocationError as refused:
        told = str(refused)
    else:
        assert parse_git_location(str(location)) == location
        return
    assert re.match(r"at character [0-9]+: ", told)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("git+http://127.0.0.1:1/b#c", False),
        ("git+http://localhost/b#c", False),
        ("git+http://[::1]/b#c", False),
        ("git+http://10.0.0.1/b#c", True),
        ("git+http://localhost.example.com/b#c", True),
        ("git+https://10.0.0.1/b#c", False),
    ],
)
def test_clear_text_is_for_this_machine(text: str, expected: bool) -> None:
    assert parse_git_location(text).clear_text is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("policy-config.yaml", False),
        ("/etc/git+https.yaml", False),
        ("C:/x.yaml", False),
        ("git+https://example.com/b#c", True),
        ("https://example.com/b", True),
        ("git@example.com:b.git", True),
        ("git+anything", True),
    ],
)
def test_what_is_no_path_of_a_file(text: str, expected: bool) -> None:
    assert is_remote(text) is expected


def test_it_reads_as_it_was_written() -> None:
    text = "git+https://example.com/a/b.git#c.yaml@main"
    assert str(parse_git_location(text)) == text
    assert parse_git_location(text) == GitLocation("https://example.com/a/b.git", "example.com", "c.yaml", "main")
