"""Which version a request carried: certain, or both that it may have been."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.gateway.domain.versions import MAX_KEPT, SETTLED_US, History, carried, confirmed, handed_over

SECOND = 1_000_000


def history(*steps: tuple[int, int, int | None]) -> History:
    made: History = ()
    for version, at, confirmed_at in steps:
        made = handed_over(made, version, at)
        if confirmed_at is not None:
            made = confirmed(made, confirmed_at)
    return made


ROTATED = history((1, 0, 1000), (2, 10 * SECOND, 10 * SECOND + 3000))


def test_before_the_new_key_was_handed_over_it_can_only_be_the_old_one() -> None:
    assert carried(ROTATED, 9 * SECOND, 10 * SECOND - 1) == (1, 1)


def test_after_it_was_confirmed_and_settled_it_can_only_be_the_new_one() -> None:
    assert carried(ROTATED, 10 * SECOND + 3000 + SETTLED_US + 1, 11 * SECOND) == (2, 2)


def test_in_between_it_may_be_either() -> None:
    assert carried(ROTATED, 10 * SECOND + 1500, 10 * SECOND + 1600) == (1, 2)
    assert carried(ROTATED, 10 * SECOND - 500, 10 * SECOND + 1) == (1, 2)


def test_until_the_proxy_confirms_the_old_one_stays_possible() -> None:
    stuck = history((1, 0, 1000), (2, 10 * SECOND, None))
    assert carried(stuck, 60 * SECOND, 60 * SECOND) == (1, 2)


def test_a_request_that_waited_through_two_rotations_may_have_carried_any_of_three() -> None:
    twice = history((1, 0, 1000), (2, 10 * SECOND, 10 * SECOND), (3, 20 * SECOND, 20 * SECOND))
    assert carried(twice, 9 * SECOND, 21 * SECOND) == (1, 3)
    assert carried(twice, 15 * SECOND, 16 * SECOND) == (2, 2)


def test_of_a_key_that_was_never_handed_over_nothing_is_said() -> None:
    assert carried((), 1, 2) == (0, 0)


@given(st.lists(st.tuples(st.integers(1, 10**6), st.integers(0, 10**5)), min_size=1, max_size=100), st.data())
def test_the_version_that_was_in_force_is_always_among_those_named(
    rotations: list[tuple[int, int]], data: st.DataObject
) -> None:
    """Whatever a worker has at a moment lies between the last confirmed version and the last handed over."""
    made: History = ()
    now, spans = 0, []
    for version, (pause, took) in enumerate(rotations, 1):
        now += pause
        made = handed_over(made, version, now)
        spans.append((now, now + took))
        now += took
        made = confirmed(made, now)
    injected = data.draw(st.integers(spans[0][1], now + 10**6))
    began = data.draw(st.integers(max(0, injected - 10**6), injected))
    possible = [number for number, (at, _) in enumerate(spans, 1) if at <= injected]
    in_force = data.draw(
        st.sampled_from([n for n in possible if n == len(spans) or spans[n][1] + SETTLED_US >= injected])
    )
    if in_force > len(rotations) - MAX_KEPT:
        earliest, latest = carried(made, began, injected)
        assert earliest <= in_force <= latest
