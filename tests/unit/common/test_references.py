"""References and globs: each speaks of one kind of secret."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.references import is_reference, permitted, reference_to, split_reference
from libs.common.secret_kinds import KINDS

names = st.text("ABCdef012_-.", min_size=1, max_size=12).filter(lambda name: name.strip("."))


@given(st.sampled_from(sorted(KINDS)), names)
def test_a_reference_means_one_secret(kind: str, name: str) -> None:
    assert split_reference(reference_to(kind, name)) == (kind, name)
    assert is_reference(reference_to(kind, name), KINDS)


@pytest.mark.parametrize(
    ("reference", "globs", "expected"),
    [
        ("OPENAI_KEY", ["OPENAI_*"], True),
        ("OPENAI_KEY", ["git_token/*"], False),
        ("git_token/REPO", ["*"], False),
        ("git_token/REPO", ["*/*"], False),
        ("git_token/REPO", ["g*/REPO", "git_token*", "*REPO"], False),
        ("git_token/REPO", ["git_token/*"], True),
        ("git_token/REPO", ["other", "git_token/RE?O"], True),
        ("git_token/REPO", [], False),
    ],
)
def test_a_glob_is_for_its_own_kind_alone(reference: str, globs: list[str], expected: bool) -> None:
    assert permitted(reference, globs) is expected


@pytest.mark.parametrize(
    "text", ["", "/", "git_token/", "/A", "git_token/A/B", "nothing/A", "git_token/a b", "config_variable//A"]
)
def test_what_is_no_reference(text: str) -> None:
    assert not is_reference(text, KINDS)


def test_a_reference_of_another_kind_than_asked_for_is_none() -> None:
    assert not is_reference("git_token/A", {"config_variable"})
    assert not is_reference("A", {"git_token"})
