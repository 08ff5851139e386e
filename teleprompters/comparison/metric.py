"""The dynamic reward as the metric of DSPy's optimizers, which know numbers only.

A judgement that stays missing has no number, and leaving one out is nothing that these optimizers can do. What stands
in its place says nothing for or against the program: the student's own reward on that query, which is asked for then
(or is remembered); the middle of the scale if that is missing too. Each such number is counted.

An outage is no number either: DSPy makes 0.0 of it, so `compiled` looks at the meter and raises it.
"""

from __future__ import annotations

import threading
from typing import Any

import dspy
from dspy.utils.exceptions import LMError

from ...errors import MissingJudgementError
from ...metrics.judgement import to_unit
from ...metrics.reward import DynamicReward, answer_of, query_of
from ...programs.outages import is_given_up, is_refusal

MIDDLE = 0.5
"""What stands in the place of a reward on a query on which not even the student can be judged."""


class ImputingMetric:
    """A dynamic reward that always gives a number.

    Args:
        reward: The reward.
        student: Whose reward stands in the place of a missing one.
        objectives: Whether each criterion's score is given as an objective beside the reward, as GEPA takes them.
        remembers: Whether an answer that is judged already is not judged again.
    """

    def __init__(
        self, reward: DynamicReward, student: dspy.Module, *, objectives: bool = False, remembers: bool = True
    ) -> None:
        self._reward, self._student, self._objectives = reward, student, objectives
        self._known: dict[tuple[str, str], Any] | None = {} if remembers else None
        self._lock = threading.Lock()
        self._locks: dict[Any, threading.Lock] = {}
        self._students: dict[str, float] = {}
        self.imputed = 0
        """How many rewards were missing."""

    def __call__(
        self, example: dspy.Example, prediction: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None
    ) -> dspy.Prediction:
        """Return score in [0, 1] and feedback of one answer."""
        judged = self._judged(example, prediction)
        if judged is None:
            with self._lock:
                self.imputed += 1
            return self._prediction(self._student_reward(example), "The answer could not be judged.", {})
        return self._prediction(judged.score, judged.feedback, judged.scores)

    def _prediction(self, score: float, feedback: str, scores: dict[str, float]) -> dspy.Prediction:
        if not self._objectives:
            return dspy.Prediction(score=score, feedback=feedback, scores=scores)
        objectives = {name: to_unit(value) for name, value in scores.items()}
        return dspy.Prediction(score=score, feedback=feedback, objective_scores=objectives)

    def _judged(self, example: dspy.Example, prediction: Any) -> Any:
        """Return the judgement of an answer, None if it is missing."""
        if self._known is None:
            return self._judge(example, prediction)
        key = query_of(example), answer_of(prediction, example)
        with self._one_at_a_time(key):
            if key not in self._known:
                self._known[key] = self._judge(example, prediction)
        return self._known[key]

    def _judge(self, example: dspy.Example, prediction: Any) -> Any:
        try:
            return self._reward(example, prediction)
        except MissingJudgementError:
            return None
        except LMError as error:
            if is_given_up(error) or is_refusal(error):
                return None
            raise

    def _student_reward(self, example: dspy.Example) -> float:
        query = query_of(example)
        with self._one_at_a_time(query):
            if query not in self._students:
                with dspy.context(trace=[]):
                    judged = self._judged(example, self._student(**example.inputs()))
                self._students[query] = MIDDLE if judged is None else judged.score
        return self._students[query]

    def _one_at_a_time(self, key: Any) -> threading.Lock:
        with self._lock:
            return self._locks.setdefault(key, threading.Lock())

    def __deepcopy__(self, memo: dict[int, Any]) -> ImputingMetric:
        return self
