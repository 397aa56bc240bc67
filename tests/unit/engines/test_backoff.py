"""Waiting before a restart."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from libs.engines.backoff import HEALTHY_SECONDS, LONGEST_SECONDS, Backoff


def test_the_first_start_does_not_wait() -> None:
    assert Backoff().seconds == 0.0


def test_waits_double_from_a_tenth_of_a_second_up_to_ten_seconds() -> None:
    backoff, waits = Backoff(), []
    for _ in range(9):
        backoff = backoff.after_death(0.01)
        waits.append(backoff.seconds)
    assert waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]


def test_a_healthy_life_starts_the_waits_anew() -> None:
    backoff = Backoff(deaths_in_a_row=7)
    assert backoff.after_death(HEALTHY_SECONDS).seconds == 0.1


@given(st.lists(st.floats(min_value=0, max_value=HEALTHY_SECONDS - 0.001), min_size=1, max_size=60))
def test_waits_never_shrink_while_it_keeps_dying_and_stay_bounded(lives: list[float]) -> None:
    backoff, waits = Backoff(), []
    for lived in lives:
        backoff = backoff.after_death(lived)
        waits.append(backoff.seconds)
    assert all(0 < wait <= LONGEST_SECONDS for wait in waits)
    assert all(earlier <= later for earlier, later in pairwise(waits))
