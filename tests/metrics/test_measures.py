"""Means with intervals, and differences of two programs.

Invariants: a missing score is no number; an interval keeps to the scale and holds the mean; it covers the true mean also
where nearly all scores are 5; pairs are found by the queries' ids.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from drpo.metrics.measures import OVERALL, Marked, compared, mean_of, measured

scores = st.lists(st.one_of(st.none(), st.integers(1, 5)), max_size=40)


@given(scores)
def test_missing_scores_are_no_numbers(values: list[int | None]) -> None:
    """They are counted, and mean and interval are those of the scores that are there."""
    known = [value for value in values if value is not None]
    found = mean_of(values)
    assert (found.n, found.missing) == (len(known), len(values) - len(known))
    assert (found.mean, found.low, found.high) == (mean_of(known).mean, mean_of(known).low, mean_of(known).high)
    assert (found.mean is None) == (not known)
    if len(known) > 1:
        assert 1 <= found.low <= found.mean + 1e-9
        assert found.mean - 1e-9 <= found.high <= 5


def test_in_the_middle_of_the_scale_it_is_students_interval() -> None:
    """With many scores around the middle it is the textbook's mean plus and minus t standard errors."""
    values = [1, 2, 3, 4, 5, 3, 3, 2, 4] * 100
    found, student = mean_of(values), stats.t.interval(0.95, len(values) - 1, 3.0, stats.sem(values))
    assert (found.low, found.high) == pytest.approx(student, abs=0.002)


def test_a_run_of_fives_is_no_certainty() -> None:
    """Twenty fives do not prove that there is never a four; two hundred prove more."""
    few, many = mean_of([5] * 20), mean_of([5] * 200)
    assert few.low < many.low < 5 == few.high == many.high


@pytest.mark.parametrize("share", [0.97, 0.9, 0.5])
def test_intervals_cover_near_the_ceiling(share: float) -> None:
    """With so many fives and the rest spread below, 200 scores give an interval that holds the mean nine times in ten."""
    draw = random.Random(0)
    weights = [(1 - share) / 4] * 4 + [share]
    true = sum(score * weight for score, weight in zip(range(1, 6), weights, strict=True))
    samples = [mean_of(draw.choices(range(1, 6), weights, k=200)) for _ in range(300)]
    covered = sum(found.low <= true <= found.high for found in samples) / len(samples)
    assert 0.90 <= covered <= 0.98


def marked(name: str, score: int | None, *, words: int = 100, dataset: str = "a", safety: bool = False) -> Marked:
    aspect = "Safety" if safety else "Clarity"
    return Marked(name, words, {aspect: score}, None if safety else score, not safety, {"dataset": dataset})


def test_a_breakdown_by_data_set() -> None:
    """Each group has its own means; safety queries count for no overall mean, in no group."""
    items = [marked("1", 5), marked("2", 3), marked("3", None, dataset="b"), marked("4", 1, safety=True)]
    found = measured(items)
    assert (found[OVERALL]["mean"], found[OVERALL]["n"], found[OVERALL]["missing"]) == (4.0, 2, 1)
    assert found["aspects"]["Safety"]["mean"] == 1.0
    assert found["groups"]["dataset"]["b"]["Clarity"]["missing"] == 1
    assert OVERALL in found["groups"]["dataset"]["b"]
    assert found["words"] == {"mean": 100.0, "median": 100.0}


def test_only_safety_queries() -> None:
    """Without any regular query there is no overall mean."""
    assert measured([marked("1", 1, safety=True), marked("2", 5, safety=True)])[OVERALL] is None


def test_differences_are_those_of_the_same_queries() -> None:
    """Queries are paired by their ids, whatever their order; a query that misses a score makes no pair."""
    first = [marked("1", 1), marked("2", 5), marked("3", 2), marked("9", 1)]
    second = [marked("3", None), marked("2", 5), marked("1", 4)]
    found = compared(first, second, seed=0)["Clarity"]
    assert (found["first"], found["second"], found["difference"], found["n"]) == (3.0, 4.5, 1.5, 2)
    assert found["length_controlled"] is None  # too few


def test_overall_comes_first() -> None:
    """The difference to go by stands first."""
    items = [marked(str(number), 3) for number in range(3)]
    assert list(compared(items, items, seed=0)) == [OVERALL, "Clarity"]
