"""Paired differences: an interval that is reproducible and never claims what is not there."""

from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drpo.metrics.statistics import PairedDifference, mean_reward, paired_difference

REWARD = st.none() | st.floats(0, 1) | st.integers(0, 4).map(lambda quarter: quarter / 4)


@given(st.lists(st.tuples(REWARD, REWARD), max_size=12))
def test_the_interval_holds_the_mean(pairs: list[tuple[float | None, float | None]]) -> None:
    """Invariant: pairs with a missing reward do not count; the interval is around the mean; swapping mirrors it."""
    first, second = [one for one, _ in pairs], [two for _, two in pairs]
    known = [(one, two) for one, two in pairs if one is not None and two is not None]
    found = paired_difference(first, second, seed=0)
    if not known:
        assert found is None
        return
    assert found is not None
    assert found.count == len(known)
    assert found.mean == pytest.approx(sum(two - one for one, two in known) / len(known))
    if len(known) == 1:
        assert (found.low, found.high, found.significant) == (None, None, False)
        return
    assert found.low is not None
    assert found.high is not None
    assert found.low - 1e-9 <= found.mean <= found.high + 1e-9
    differences = [two - one for one, two in known]
    assert min(differences) - 1e-9 <= found.low <= found.high <= max(differences) + 1e-9
    mirrored = paired_difference(second, first, seed=0)
    assert mirrored is not None
    assert mirrored.mean == pytest.approx(-found.mean)


def test_the_same_seed_gives_the_same_interval() -> None:
    first, second = [n * 7 % 23 / 23 for n in range(40)], [n * 11 % 31 / 31 for n in range(40)]
    assert paired_difference(first, second, seed=0) == paired_difference(first, second, seed=0)
    assert paired_difference(first, second, seed=0) != paired_difference(first, second, seed=1)


@pytest.mark.parametrize(
    ("first", "second", "significant"),
    [
        ([0.1, 0.2, 0.3, 0.2], [0.6, 0.6, 0.9, 0.8], True),
        ([0.6, 0.6, 0.9, 0.8], [0.1, 0.2, 0.3, 0.2], False),
        ([0.5, 0.5, 0.5, 0.5], [0.0, 1.0, 0.1, 0.9], False),
        ([0.5, 0.5], [0.75, 0.75], True),
        ([0.5, 0.5], [0.5, 0.5], False),
        ([0.5], [1.0], False),
    ],
)
def test_significance(first: list[float], second: list[float], significant: bool) -> None:
    found = paired_difference(first, second, seed=0)
    assert found is not None
    assert found.significant is significant


@pytest.mark.slow
def test_it_is_a_95_percent_interval() -> None:
    """For many pairs it is that of the normal distribution: 1.96 standard errors to either side."""
    differences = [random.Random(n).gauss(0.1, 0.3) for n in range(400)]
    found = paired_difference([0.0] * len(differences), differences, seed=0)
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    error = statistics.stdev(differences) / len(differences) ** 0.5
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.05)


def test_an_interval_that_touches_zero_is_not_significant() -> None:
    assert not PairedDifference(0.1, 0.0, 0.2, 9).significant
    assert PairedDifference(0.1, 0.01, 0.2, 9).significant


def test_the_two_programs_are_judged_on_the_same_queries() -> None:
    with pytest.raises(ValueError, match=r"shorter|longer"):
        paired_difference([0.1], [0.1, 0.2], seed=0)


@pytest.mark.parametrize(
    ("rewards", "mean"), [([], None), ([None], None), ([0.5, None, 1.0], 0.75), ([0.0], 0.0), ([0, 1, 1], 2 / 3)]
)
def test_mean_reward(rewards: list[float | None], mean: float | None) -> None:
    assert mean_reward(rewards) == mean
