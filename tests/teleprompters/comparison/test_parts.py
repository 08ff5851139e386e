"""The parts of an entrant: memory of replies, the metric that always gives a number, settings from a budget."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dspy
import pytest
from contest import QUERIES, contest
from hypothesis import given
from hypothesis import strategies as st

from drpo.errors import BudgetExceededError, ConfigError, MissingJudgementError
from drpo.serving.caps import caps_of
from drpo.serving.door import metered
from drpo.serving.meter import Meter
from drpo.serving.roles import Role
from drpo.serving.scripted import scripted_lm
from drpo.teleprompters.comparison.metric import MIDDLE, ImputingMetric
from drpo.teleprompters.comparison.optimizers import OPTIMIZERS, Optimizer
from drpo.teleprompters.comparison.remembering import CallsRanOutError, remembering
from drpo.teleprompters.comparison.solving import Purse


def test_a_certain_reply_is_paid_for_once() -> None:
    """Eight threads that ask the same at temperature 0 send one request; above 0 each sends its own."""
    assignment = contest()
    lms, meter = remembering(assignment.lms, "entrant", memory=True), assignment.lms.meter
    barrier = threading.Barrier(8)

    def ask(temperature: float) -> str:
        barrier.wait()
        return str(lms.task.copy(temperature=temperature)("Why is the sky blue?"))

    with ThreadPoolExecutor(8) as executor:
        assert len(set(executor.map(ask, [0.0] * 8))) == 1
        assert meter.usage[Role.TASK].requests == 1
        list(executor.map(ask, [0.7] * 8))
        assert meter.usage[Role.TASK].requests == 9


def test_samples_are_the_same_whichever_thread_asks_first() -> None:
    """Equal requests above temperature 0 are numbered in their order, so the n-th sample is the same in every run."""

    def samples(threads: int) -> list[str]:
        lms = remembering(contest().lms, "entrant")
        with ThreadPoolExecutor(threads) as executor:
            return sorted(executor.map(lambda _: str(lms.prompt("Write an instruction.")), range(6)))

    assert samples(1) == samples(6)


def test_calls_that_run_out_are_no_exception() -> None:
    """DSPy makes scores of exceptions; what ends an optimizer has to pass through all of it."""
    assignment = contest(budget=2)
    lms = remembering(assignment.lms, "entrant", cut_off=True)
    for number in range(2):
        lms.task(f"Question {number}?")
    with pytest.raises(CallsRanOutError, match="max_lm_calls=2 is reached"):
        lms.task("One more?")
    assert not issubclass(CallsRanOutError, Exception)
    assert assignment.lms.meter.totals("requests") == 2


def test_a_door_behind_a_door() -> None:
    """An LM that is metered twice: the inner cap stops the outer run, and what was refused is nobody's request."""
    inner, outer = Meter(caps_of({"max_lm_calls": 1})), Meter()
    lm = metered(scripted_lm(lambda prompt: "yes"), role=Role.TASK, meter=inner)
    lm = metered(lm, role=Role.TASK, meter=outer)
    lm("one")
    with pytest.raises(Exception, match="max_lm_calls=1 is reached"):
        lm("two")
    assert outer.stopped == inner.stopped
    assert outer.totals("requests") == inner.totals("requests") == 1
    with pytest.raises(BudgetExceededError):
        outer.admit(Role.TASK)


class Reward:
    """Gives what it is told; None is a missing judgement."""

    def __init__(self, scores: dict[str, float | None]) -> None:
        self.scores, self.asked = scores, 0

    def __call__(self, example: dspy.Example, prediction: Any) -> dspy.Prediction:
        self.asked += 1
        score = self.scores[prediction.response]
        if score is None:
            raise MissingJudgementError("no readable score")
        return dspy.Prediction(score=score, feedback="as told", scores={"Clarity": 1 + 4 * score})


@pytest.mark.parametrize(("own", "expected"), [(0.25, 0.25), (None, MIDDLE)])
def test_a_missing_judgement_says_nothing_for_or_against(own: float | None, expected: float) -> None:
    """The student's own reward on the query stands in its place, and is asked for once; each is counted."""
    reward = Reward({"good": 0.75, "unreadable": None, "own": own})
    metric = ImputingMetric(reward, lambda **inputs: dspy.Prediction(response="own"))  # type: ignore[arg-type]
    example = dspy.Example(query="Why?").with_inputs("query")
    assert metric(example, dspy.Prediction(response="good")).score == 0.75
    assert metric.imputed == 0
    for count in (1, 2):
        assert metric(example, dspy.Prediction(response="unreadable")).score == expected
        assert metric.imputed == count
    assert reward.asked == 3


def test_gepa_gets_criteria_as_objectives() -> None:
    """Each criterion's score is one, in [0, 1]."""
    reward = Reward({"good": 0.75})
    metric = ImputingMetric(reward, lambda **inputs: None, objectives=True)  # type: ignore[arg-type, return-value]
    found = metric(dspy.Example(query="Why?").with_inputs("query"), dspy.Prediction(response="good"))
    assert (found.score, found.feedback, found.objective_scores) == (0.75, "as told", {"Clarity": 0.75})


@given(
    optimizer=st.sampled_from(OPTIMIZERS),
    budget=st.integers(150, 5000),
    predictors=st.integers(1, 4),
    queries=st.integers(30, 1000),
)
def test_settings_fit_the_budget(optimizer: Optimizer, budget: int, predictors: int, queries: int) -> None:
    """Sizes are whole numbers of at least 1 that the training set has, or the budget is refused by name."""
    found, refused = None, ""
    try:
        found = optimizer.solve(Purse(budget, predictors + 1, predictors, queries))
    except ConfigError as error:
        refused = str(error)
    if found is None:
        assert f"budget={budget}: {optimizer.name} needs at least" in refused
        assert int(refused.split("needs at least ")[1].split()[0]) > budget
        return
    numbers = {name: value for name, value in found.items() if name not in ("frontier_type", "max_bootstrapped_demos")}
    assert all(isinstance(value, int) and value >= 1 for value in numbers.values()), found
    assert found.get("num_train", 0) + found.get("num_val", 0) <= queries
    assert found.get("num_queries", 1) <= queries
    assert optimizer.judged_on is None or found[optimizer.judged_on] <= queries


def test_the_queries_of_the_shipped_data_are_enough() -> None:
    """The tests above draw from them."""
    assert len(QUERIES) >= 120


def told(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: optimizer.name)
def test_the_documented_settings_are_those_that_are_solved(optimizer: Optimizer) -> None:
    """The table of `docs/optimizers.md`; if this fails, paste the row that it names."""
    solved = [told(optimizer.solve(Purse(budget, 2, 1, 120))) for budget in (400, 1600)]
    page = (Path(__file__).parents[3] / "docs" / "optimizers.md").read_text(encoding="utf-8")
    assert f"| `{optimizer.name}` | {solved[0]} | {solved[1]} |" in page.splitlines()
