"""The figures of a comparison: what differences say, and that they say no more than the rewards do."""

from __future__ import annotations

import random
from typing import Any

import pytest

from drpo.teleprompters.comparison.figures import Row, Verdict, entrant_figures, pair_figures
from drpo.teleprompters.comparison.judging import Marks
from drpo.teleprompters.comparison.lengths import Length


def row(rewards: list[float | None] | None, *, seed: int = 0, program: str = "", quality: float | None = None) -> Row:
    usage = {name: {"task": 10, "judge": 10} for name in ("lm_calls", "truncated", "tokens", "seconds")}
    told = {
        "failure": None,
        **usage,
        "cost": {"task": None, "judge": 0.5},
        "stopped": None,
        "imputed": 1,
        "settings": {},
    }
    if rewards is None:
        failed = {**told, "failure": {"kind": "ValueError", "message": "no"}}
        return Row(seed, failed, None, None, None, None, None)
    missing = sum(reward is None for reward in rewards)
    return Row(seed, told, program or str(rewards), Marks(tuple(rewards), missing, 0), Length(5, 30, 2, 40, 200), {"p": "Do."}, quality)  # fmt: skip


def figures(**rows: list[Row]) -> dict[str, Any]:
    return entrant_figures(
        rows, baselines=("seed",), budget=25, num_test=len(rows["seed"][0].rewards), bootstrap_seed=0
    )


def noisy(shift: float, *, count: int = 40, spread: float = 0.2) -> list[float | None]:
    draw = random.Random(f"{shift}")
    return [0.5 + 0.2 * (n % 2) + shift + draw.gauss(0, spread) for n in range(count)]


BASE: list[float | None] = [0.5 + 0.2 * (n % 2) for n in range(40)]


@pytest.mark.parametrize(
    ("rewards", "verdict"),
    [
        ([None if reward is None else reward + 0.2 for reward in BASE], Verdict.BETTER),
        ([None if reward is None else reward - 0.2 for reward in BASE], Verdict.WORSE),
        (noisy(0.0), Verdict.NO_DIFFERENCE),
        ([*BASE[:35], *[None if reward is None else reward + 0.3 for reward in BASE[35:]]], Verdict.PERHAPS_BETTER),
        ([*[None] * 33, *noisy(0.3)[33:]], Verdict.UNKNOWN),
        (BASE, Verdict.SAME),
    ],
)
def test_verdicts(rewards: list[float | None], verdict: Verdict) -> None:
    """The strong words need an interval that holds for all comparisons at once, and seven queries say nothing."""
    others = {f"other{n}": [row(noisy(0.01 * n))] for n in range(12)}
    found = figures(seed=[row(BASE)], it=[row(rewards)], **others)["it"]
    assert found["verdict"] == verdict.value
    if verdict in (Verdict.BETTER, Verdict.PERHAPS_BETTER):
        assert found["gain_ci"][0] > 0


def test_one_comparison_alone_needs_no_correction() -> None:
    rewards = [*BASE[:35], *[None if reward is None else reward + 0.3 for reward in BASE[35:]]]
    assert figures(seed=[row(BASE)], it=[row(rewards)])["it"]["verdict"] == "better"


def test_failures_and_missing_judgements_make_no_pairs() -> None:
    """A seed that failed, and a judgement that is missing on either side, are left out of pairs and counted."""
    first, second = list(BASE), [None if reward is None else reward + 0.1 for reward in BASE]
    first[0] = second[1] = None
    found = figures(seed=[row(first), row(first, seed=1)], it=[row(second), row(None, seed=1)])["it"]
    assert (found["pairs"], found["queries"], found["failures"], found["missing_judgements"]) == (38, 38, 1, 1)
    assert found["gain"] == pytest.approx(0.1)
    assert [one["gain"] is None for one in found["by_seed"]] == [False, True]
    assert (found["cost"], found["calls"], found["budget_used"]) == (None, 20, 0.8)
    nothing = figures(seed=[row(BASE)], it=[row(None)])["it"]
    assert (nothing["reward"], nothing["gain"], nothing["verdict"], nothing["demos"]) == (
        None,
        None,
        "not_compared",
        None,
    )


def test_pairs_are_all_but_those_of_the_seed() -> None:
    """Second minus first, the seed in its own column."""
    rows = {"seed": [row(BASE)], "a": [row(noisy(0.0))], "b": [row(noisy(0.3))], "c": [row(noisy(0.1))]}
    found = pair_figures(rows, num_test=40, bootstrap_seed=0)
    assert [(one["first"], one["second"]) for one in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert found[0]["difference"] > 0 > found[2]["difference"]
    assert (found[0]["verdict"], found[2]["verdict"]) == ("better", "worse")


def test_true_gains_are_beside_them() -> None:
    found = figures(seed=[row(BASE, quality=0.5)], it=[row(noisy(0.1), quality=0.75)])["it"]
    assert (found["true_quality"], found["true_gain"]) == (0.75, 0.25)
