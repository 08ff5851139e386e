"""What a trial is worth."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drpo.teleprompters.tuning.objective import Objective, fold_of, mean_with_interval


def result(**changes: Any) -> dict[str, Any]:
    return {
        "gain": 0.1, "gain_ci": [0.05, 0.15], "decision": "improved", "returned": "both", "lm_calls": {"task": 150, "judge": 50},
        "tokens": {"task": 1000}, "cost": {"task": 0.5, "judge": 0.25}, "seconds": {"task": 3.0}, "true_gain": None, "stopped": None,
        "bill": {"roles": {"task": {"errors": 2}, "judge": {"errors": 1}}}, **changes,
    }  # fmt: skip


def test_gain_per_1000_calls() -> None:
    """A gain of 0.1 in 200 answered calls is 0.5 per 1,000; failed tries are no calls of the settings'."""
    fold = fold_of(result())
    assert fold is not None
    assert fold.value(Objective.GAIN_PER_CALL) == pytest.approx(0.5)
    assert fold.value(Objective.GAIN) == 0.1
    assert (fold.lm_calls, fold.errors, fold.cost) == (200, 3, 0.75)


def test_no_gain_counts_as_none() -> None:
    """Where the student is returned its user gains exactly 0, whatever the best candidate was thought to gain."""
    fold = fold_of(result(returned="seed", decision="no_gain", gain=0.04))
    assert fold is not None
    assert fold.value(Objective.GAIN_PER_CALL) == 0
    nothing_found = fold_of(result(returned="seed", decision="no_gain", gain=None))
    assert nothing_found is not None
    assert nothing_found.gain == 0


def test_what_was_returned_unproven_counts_with_its_own_gain() -> None:
    """Under `on_no_gain: best`, and in the paper's search, a loss is a loss."""
    fold = fold_of(result(decision="no_gain", gain=-0.02))
    assert fold is not None
    assert fold.gain == -0.02


@pytest.mark.parametrize("changes", [{"gain": None}, {"returned": "seed", "decision": None, "gain": None}])
def test_what_could_not_be_judged_is_no_number(changes: dict[str, Any]) -> None:
    """Without a comparison there is no fold: missing is not 0."""
    assert fold_of(result(**changes)) is None


def test_an_unknown_price_stays_unknown() -> None:
    """One call without a price makes the sum unknown."""
    fold = fold_of(result(cost={"task": 0.5, "judge": None}))
    assert fold is not None
    assert fold.cost is None


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=6))
def test_the_interval_is_students(values: list[float]) -> None:
    """It is around the mean, and as scipy has it."""
    from scipy import stats

    mean, interval = mean_with_interval(values)
    assert interval is not None
    assert interval[0] <= mean <= interval[1]
    if len({round(value, 6) for value in values}) > 1:
        expected = stats.t.interval(0.95, len(values) - 1, loc=mean, scale=stats.sem(values))
        assert interval == pytest.approx(list(expected), abs=1e-9)


def test_one_fold_has_no_interval() -> None:
    """A single compile says nothing of its own luck."""
    assert mean_with_interval([0.3]) == (0.3, None)
