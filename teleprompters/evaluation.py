"""One candidate's answer to one query, judged: the unit of work of every search.

What can go wrong is told apart, because each means something else:

* an LM outage (authentication, network, server, unknown model, rate limit after all retries) raises: it is nobody's
  score, also where the program dresses it up as an error of its own;
* a failure of the program on this query (a reply that does not parse, a bug, a prompt too long) is the lowest reward,
  counted, and raised once `max_errors` are reached;
* a judgement that fails is *missing*: no reward, counted, and an error once most judgements are; so is an evaluation
  in which a run's patience with one call was over, whichever role's.

A run in which nothing was ever answered, or nothing ever judged, has no best program: `check` raises.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import dspy
from dspy.utils.exceptions import LMError

from ..errors import BudgetExceededError, ConfigError, DRPOError, JudgeError, ProgramFailureError
from ..metrics.judgement import Feedback, Score, from_unit
from ..metrics.reward import DynamicReward, answer_of, query_of
from ..programs.boundary import enclose, neutralise
from ..programs.outages import is_given_up, outage_in
from ..serving.meter import TaskUsage
from ..serving.secrets import scrub, without_secrets

LOWEST, EASY = 1.0, 4.5
"""Reward of a failed program, and the one above which a query is too easy to learn from (algorithm, section 2.2)."""

Metric = Callable[..., Any]
"""A DSPy metric: (example, prediction, trace=None, ...) to a number, a bool or `Prediction(score, feedback)`."""


@dataclass(frozen=True)
class Step:
    """One predictor's part in an answer."""

    predictor: str
    """Its name in the program."""
    inputs: Mapping[str, Any]
    """What it was given."""
    outputs: Mapping[str, Any]
    """What it made of it."""


@dataclass(frozen=True)
class Judged:
    """An answer and what was made of it."""

    query: str
    """The query's text."""
    answer: str
    """The answer's text; empty if the program failed."""
    reward: float | None
    """Mean score, 1 to 5; None if the judgement is missing."""
    feedback: Feedback | None
    """What a proposer gets; None if the judgement is missing."""
    scores: tuple[Score, ...] = ()
    """Criterion by criterion; empty under a metric that knows none."""
    error: str = ""
    """What failed, in words; empty if nothing did."""
    steps: tuple[Step, ...] = ()
    """Which predictors took part, in the order they were called; empty if the program failed."""
    usage: TaskUsage = field(default_factory=TaskUsage)
    """What it took to answer and to judge, the choice of criteria left out."""


class Evaluator:
    """Answer and judge, and count what fails.

    Args:
        metric: A `DynamicReward`, or any DSPy metric with values in [0, 1].
        max_errors: After how many failures of the program or of the metric the run ends, at least 1.
        metric_lm: What `dspy.settings.lm` is while a metric of the user's runs. None: as it is for the program.
    """

    def __init__(self, metric: Metric, *, max_errors: int, metric_lm: dspy.BaseLM | None = None) -> None:
        self._metric = metric
        self._metric_context = {} if metric_lm is None else {"lm": metric_lm}
        self._max_errors = max_errors
        self._lock = threading.Lock()
        self.judgements = 0
        """How many answers were given to the judge."""
        self.missing_judgements = 0
        """How many of them came back without any score."""
        self.program_errors = 0
        """How often the program failed."""
        self._last_error: Exception | None = None
        self._last_missing = ""

    def __call__(self, program: dspy.Module, example: dspy.Example) -> Judged:
        """Return one judged answer.

        Raises:
            LMError: If an LM cannot be reached.
            ProgramFailureError: If this was the last failure allowed; its cause is the original one.
            JudgeError: If most judgements so far are missing.
        """
        query = query_of(example)
        try:
            with dspy.context(trace=[]):
                prediction = program(**example.inputs())
                steps = _steps(program, dspy.settings.trace)
        except Exception as error:
            judged = self._failed(query, error)
            if judged.reward is None:
                self._count_judgement(judged)
            return judged
        answer = answer_of(prediction, example)
        try:
            judged = self._judged(query, answer, example, prediction)
        except Exception as error:
            _raise_outage(error)
            if isinstance(error, (ConfigError, BudgetExceededError)):
                raise
            judged = Judged(query, answer, None, None, error=_said(error))
            if not isinstance(error, (DRPOError, LMError)) and not is_given_up(error):
                self._count_error(error)  # a metric of the user's that is broken
        self._count_judgement(judged)
        return replace(judged, steps=steps)

    def check(self) -> None:
        """Raise if nothing at all was answered or judged, however few the failures were.

        Raises:
            ProgramFailureError: If the program never answered; its cause is the last failure.
            JudgeError: If no judgement had a readable score.
        """
        if self._last_error is not None and not self.judgements:
            error = self._last_error
            raise ProgramFailureError(
                f"the program failed on every query, {self.program_errors} times; the last failure was "
                f"{type(error).__name__}: {error}"
            ) from error
        if self.judgements and self.missing_judgements == self.judgements:
            raise self._judge_error()

    def _judged(self, query: str, answer: str, example: dspy.Example, prediction: dspy.Prediction) -> Judged:
        if isinstance(self._metric, DynamicReward):
            judgement = self._metric.judge(example, prediction)
            error = f"no score for {', '.join(judgement.missing)}" if judgement.missing else ""
            return Judged(query, answer, judgement.mean, judgement.feedback, judgement.scores, error)
        with dspy.context(trace=[], **self._metric_context):
            value = self._metric(example, prediction)
        score, said = _score_of(value)
        # What a metric says often quotes the answer.
        said = neutralise(said) or f"The metric gave {score:.3g} of 1."
        text = f"{enclose('query', query)}\n\n{enclose('answer', answer)}\n\n{said}"
        scores = value.get("scores") if isinstance(value, dspy.Prediction) else None
        named = {str(name): int(number) for name, number in scores.items()} if isinstance(scores, dict) else {}
        rows = tuple(Score(name, number) for name, number in named.items())
        return Judged(query, answer, from_unit(score), Feedback(text, score, named), rows)

    def _failed(self, query: str, error: Exception) -> Judged:
        _raise_outage(error)
        if isinstance(error, BudgetExceededError):
            raise error
        said = _said(error)
        if is_given_up(error):
            return Judged(query, "", None, None, error=said)
        self._count_error(error)
        text = f"{enclose('query', query)}\n\nThere is no answer: the program failed.\n{enclose('error', said[:1000])}"
        return Judged(query, "", LOWEST, Feedback(text, 0.0, {}), error=said)

    def _count_error(self, error: Exception) -> None:
        scrub(error)  # it may end the run, and then stands on the screen
        with self._lock:
            self.program_errors += 1
            self._last_error = error
            last = self.program_errors >= self._max_errors
        if last:
            if self._max_errors == 1:
                raise error
            raise ProgramFailureError(
                f"max_errors={self._max_errors}: the program or the metric failed so often; the last failure was "
                f"{type(error).__name__}: {error}"
            ) from error

    def _count_judgement(self, judged: Judged) -> None:
        with self._lock:
            self.judgements += 1
            self.missing_judgements += judged.reward is None
            self._last_missing = judged.error if judged.reward is None else self._last_missing
            lost = self.missing_judgements >= self._max_errors and 2 * self.missing_judgements > self.judgements
        if lost:
            raise self._judge_error()

    def _judge_error(self) -> JudgeError:
        return JudgeError(
            f"{self.missing_judgements} of {self.judgements} judgements have no readable score, the last because of: "
            f"{self._last_missing or 'an unreadable reply'}; check the judge LM, or set structured_output: true for it"
        )


def _steps(program: dspy.Module, trace: Sequence[Any]) -> tuple[Step, ...]:
    names = {id(predictor): name for name, predictor in program.named_predictors()}
    return tuple(
        Step(names[id(predictor)], dict(inputs), dict(prediction.items()))
        for predictor, inputs, prediction in trace
        if id(predictor) in names
    )


def _said(error: Exception) -> str:
    return without_secrets(f"{type(error).__name__}: {error}")


def _raise_outage(error: Exception) -> None:
    outage = outage_in(error)
    if outage is not None:
        scrub(outage)
        raise outage from None  # it may stand in the chain of `error` already


def _score_of(value: Any) -> tuple[float, str]:
    """Return the score and the feedback of a metric's value.

    Raises:
        ConfigError: If it is not a number in [0, 1].
    """
    said = ""
    if isinstance(value, (dspy.Prediction, dict)):
        said, value = str(value.get("feedback") or ""), value.get("score")
    if isinstance(value, bool):
        return float(value), said
    try:
        score = float(value)
    except (TypeError, ValueError):
        raise ConfigError(
            f"metric returned {value!r}: give a number in [0, 1], a bool or Prediction(score=..., feedback=...)"
        ) from None
    if not 0.0 <= score <= 1.0:
        raise ConfigError(f"metric returned {score!r}: scores are in [0, 1]; scale it")
    return score, said
