"""Agreement of judges, and figures corrected by what people say."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drpo.metrics.agreement import Confusion, corrected_mean, corrected_share, ordinal_alpha

SCORES = st.integers(1, 5) | st.none()


def test_alpha_is_that_of_the_published_example() -> None:
    """Krippendorff's own ordinal example (2011, "Computing Krippendorff's alpha-reliability") gives 0.815."""
    judges = (
        (1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None),
        (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3),
        (None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None),
        (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None),
    )
    assert ordinal_alpha(list(zip(*judges, strict=True))) == pytest.approx(0.815, abs=5e-4)


@given(st.lists(st.tuples(SCORES, SCORES), max_size=15))
def test_alpha_takes_no_side(units: list[tuple[int | None, int | None]]) -> None:
    """Invariant: alpha is at most 1, the same for judges in another order, and none where nothing varies."""
    found = ordinal_alpha(units)
    swapped = ordinal_alpha([(two, one) for one, two in units])
    assert (found is None) == (swapped is None)
    if found is not None:
        assert found <= 1 + 1e-9
        assert found == pytest.approx(swapped)


def test_alpha_says_nothing_of_scores_that_are_all_alike() -> None:
    """Two judges that always say 5 agree on nothing."""
    assert ordinal_alpha([(5, 5)] * 9) is None
    assert ordinal_alpha([(5, None), (None, 4)]) is None


@pytest.mark.parametrize(("specificity", "sensitivity", "share"), [(0.7, 0.9, 0.6), (0.9, 0.8, 0.2), (0.8, 0.8, 0.9)])
def test_the_corrected_interval_covers_the_truth(specificity: float, sensitivity: float, share: float) -> None:
    """Of 400 draws of 60 answers and 60 labels, 92 to 99 % of the 95 % intervals hold the true share."""
    draw = random.Random(7)
    hits = 0
    for _ in range(400):
        said = sum(draw.random() < (sensitivity if draw.random() < share else 1 - specificity) for _ in range(60))
        good, bad = (sum(draw.random() < rate for _ in range(30)) for rate in (sensitivity, specificity))
        found = corrected_share(said, 60, Confusion(good, 30, bad, 30))
        hits += found is not None and found.low <= share <= found.high
    assert 0.92 <= hits / 400 <= 0.995


def test_a_judge_no_better_than_chance_corrects_nothing() -> None:
    """With sensitivity and specificity of a coin there is no corrected share, however many labels there are."""
    assert corrected_share(50, 100, Confusion(50, 100, 50, 100)) is None
    assert corrected_share(50, 100, Confusion(5, 10, 0, 0)) is None


def test_the_corrected_mean_takes_out_a_lenient_judge() -> None:
    """A judge that gives half a level too much is put right, and of 300 intervals 91 to 98 % hold the truth."""
    draw = random.Random(3)
    hits = 0
    for _ in range(300):
        people = [draw.gauss(3.5, 0.8) for _ in range(70)]
        judge = [score + 0.5 + draw.gauss(0, 0.4) for score in people]
        found = corrected_mean(judge[20:], list(zip(people, judge, strict=True))[:20])
        assert found is not None
        hits += found.low <= 3.5 <= found.high
    assert 0.91 <= hits / 300 <= 0.98
