"""Duels in both orders: which verdicts count, and what a set of them says."""

from __future__ import annotations

import json
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from drpo.metrics.pairwise import Duel, Outcome, duel, win_rate
from drpo.metrics.statistics import share_interval
from drpo.programs.judge import Asked
from drpo.programs.pairwise import Comparison, PairwiseJudge, Preferred
from drpo.serving.scripted import scripted_lm

VERDICTS = st.sampled_from([*Preferred, None])


def said(verdict: Preferred | None) -> Comparison | None:
    return None if verdict is None else Comparison(preferred=verdict.value)


def pair(forward: Preferred | None, backward: Preferred | None) -> Duel:
    return Duel("q", said(forward), said(backward))


def test_only_what_both_orders_say_counts() -> None:
    """Of the nine pairs of verdicts, three agree; the others are inconsistent, never a tie."""
    outcomes = {(one, two): pair(one, two).outcome for one, two in product(Preferred, Preferred)}
    assert outcomes.pop((Preferred.FIRST, Preferred.SECOND)) is Outcome.WIN
    assert outcomes.pop((Preferred.SECOND, Preferred.FIRST)) is Outcome.LOSS
    assert outcomes.pop((Preferred.TIE, Preferred.TIE)) is Outcome.TIE
    assert set(outcomes.values()) == {Outcome.INCONSISTENT}


@given(VERDICTS, VERDICTS)
def test_changing_sides_turns_a_win_into_a_loss_and_nothing_else(one: Preferred | None, two: Preferred | None) -> None:
    """Invariant: asked from the other side, a pair has the mirrored outcome, and the same preferred place."""
    mirrored = {Outcome.WIN: Outcome.LOSS, Outcome.LOSS: Outcome.WIN}
    here, there = pair(one, two), pair(two, one)
    expected = here.outcome and mirrored.get(here.outcome, here.outcome)
    assert there.outcome is expected
    assert there.place is here.place


def test_a_judge_that_always_takes_the_first_wins_nobody_anything() -> None:
    """A judge with a fixed place is inconsistent on every pair, and its lean shows in full."""
    lm = scripted_lm(lambda _: json.dumps({"comparison": {"rationale": "", "preferred": "first"}}))
    found = duel(PairwiseJudge(), lm=lm, query="q", one="a", other="b", criteria=[Asked("Clarity", "Clear.")])
    rate = win_rate([found] * 5)
    assert (rate.wins, rate.losses, rate.inconsistent, rate.win_rate, rate.first_rate) == (0, 0, 5, None, 1.0)
    assert rate.consistency == 0.0


@given(st.lists(st.tuples(VERDICTS, VERDICTS), max_size=12))
def test_every_pair_is_counted_once(pairs: list[tuple[Preferred | None, Preferred | None]]) -> None:
    """Invariant: wins, ties, losses, inconsistent and missing pairs add up; rates are shares, within their intervals."""
    rate = win_rate([pair(*one) for one in pairs])
    assert rate.wins + rate.ties + rate.losses + rate.inconsistent + rate.missing == len(pairs)
    for share, interval in ((rate.win_rate, rate.win_rate_ci), (rate.consistency, rate.consistency_ci)):
        assert (share is None) == (interval is None)
        if share is not None and interval is not None:
            assert 0 <= interval[0] <= share + 1e-12 <= interval[1] + 2e-12 <= 1 + 2e-12


@pytest.mark.parametrize(("successes", "count"), [(0, 5), (3, 5), (5, 5), (40, 100)])
def test_the_interval_of_a_share_is_wilsons(successes: int, count: int) -> None:
    """The interval is that of scipy, which takes whole numbers only."""
    expected = stats.binomtest(successes, count).proportion_ci(method="wilson")
    assert share_interval(successes, count) == pytest.approx((expected.low, expected.high), abs=1e-6)
