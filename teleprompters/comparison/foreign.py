"""How one of DSPy's optimizers takes part: on copies, watched, without a word on the screen, and with clean hands."""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import sys
from collections.abc import Iterator
from typing import Any, TextIO

import dspy

from ...errors import BudgetExceededError
from ...programs.replacing import copied, replace_predictors
from ...serving.meter import Meter
from ..candidates import base_of
from .assignment import Assignment, Ended
from .finished import Finished
from .metric import ImputingMetric
from .optimizers import Optimizer
from .remembering import CallsRanOutError
from .solving import purse_of

ENOUGH = 0.97
"""The share of its calls that an optimizer which ended by itself should have used; else it runs once more."""


class ForeignEntrant:
    """One of DSPy's optimizers as an entrant.

    Args:
        optimizer: The optimizer.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self._optimizer = optimizer
        self.name, self.anytime = optimizer.name, optimizer.anytime

    def settings(self, assignment: Assignment) -> dict[str, Any]:
        """Return what the budget pays for."""
        return self._optimizer.solve(purse_of(assignment))

    def compile(self, assignment: Assignment, settings: dict[str, Any]) -> Ended:
        """Run the optimizer as long as it has calls left; the best by its own evaluations counts."""
        optimizer, meter = self._optimizer, assignment.lms.meter
        student = own_signatures(base_of(assignment.student, k=None))
        working = assignment.lms.working(student)
        metric = ImputingMetric(
            assignment.reward, working, objectives=optimizer.objectives, remembers=optimizer.anytime
        )
        watched = settings[optimizer.judged_on] if optimizer.judged_on else None
        finished, turn = Finished(meter, size=watched or 0), 0
        callbacks = [*dspy.settings.callbacks, finished]
        found: dspy.Module | None = None
        with (
            muted(meter),
            dspy.context(lm=assignment.lms.task, trace=[], callbacks=callbacks, disable_history=True),
        ):
            try:
                for turn in itertools.count():
                    begin = meter.totals("calls")
                    found = optimizer.run(assignment, working, settings, metric, turn)
                    used = meter.totals("calls")
                    if not watched or used == begin or used >= ENOUGH * assignment.budget:
                        break
            except CallsRanOutError:
                found, turn = None, turn + 1
            finally:
                meter.settle()
        if watched and turn:
            found = finished.best
        if found is None:
            raise BudgetExceededError(
                f"{self.name} had evaluated no program when its calls ran out: {meter.stopped}; give it a larger budget"
            )
        return Ended(transferred(found, assignment.student), metric.imputed)


def own_signatures(program: dspy.Module) -> dspy.Module:
    """Return a copy of a program whose signature classes are its own: InferRules writes into them."""
    result = copied(program)
    for _, predictor in result.named_predictors():
        predictor.signature = predictor.signature.with_instructions(predictor.signature.instructions)
    return result


def transferred(found: dspy.Module, student: dspy.Module) -> dspy.Module:
    """Return a copy of the student with the instructions and demonstrations of what an optimizer found.

    What else optimizers leave in a program (their statistics, other programs, LMs that are counted) stays behind.
    """
    by_name = dict(found.named_predictors())

    def take(name: str, predictor: dspy.Predict) -> dspy.Predict:
        other = by_name[name]
        predictor.signature = predictor.signature.with_instructions(other.signature.instructions)
        predictor.demos = list(other.demos)
        return predictor

    return replace_predictors(base_of(student, k=None), take)


@contextlib.contextmanager
def muted(meter: Meter) -> Iterator[None]:
    """Keep DSPy's optimizers from printing: they have progress bars and notes of their own.

    Warnings pass, until the calls have run out: from then on every step of an optimizer would warn.
    """

    def allow(record: logging.LogRecord) -> bool:
        about_itself = record.name == "dspy.predict.predict"  # fields of DSPy's own prompts that do not fit
        return record.levelno >= logging.WARNING and meter.stopped is None and not about_itself

    handlers = [handler for name in ("dspy", "gepa") for handler in logging.getLogger(name).handlers]
    for handler in handlers:
        handler.addFilter(allow)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(_WithoutBars(sys.stderr)):
            yield
    finally:
        for handler in handlers:
            handler.removeFilter(allow)


class _WithoutBars(io.TextIOBase):
    """A stream that lets everything pass but progress bars."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._in_bar = stream, False

    def write(self, text: str) -> int:
        self._in_bar = "\r" in text or "\x1b[A" in text or (self._in_bar and not text.strip())
        return len(text) if self._in_bar else self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()
