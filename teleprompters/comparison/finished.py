"""What an optimizer had finished when its calls ran out: the best program so far, by its own evaluations."""

from __future__ import annotations

import math
import threading
from typing import Any

import dspy
from dspy.utils.callback import BaseCallback

from ...programs.replacing import copied
from ...serving.meter import Meter
from ...serving.roles import Role


class Finished(BaseCallback):  # type: ignore[misc]  # DSPy has no type marker
    """Watch the evaluations of an optimizer; those that a cap cut short do not count.

    Args:
        meter: Says whether a cap was reached.
        size: How many queries a full evaluation has.
    """

    def __init__(self, meter: Meter, *, size: int) -> None:
        self._meter, self._size = meter, size
        self._begun: dict[str, dspy.Module] = {}
        self._lock = threading.Lock()
        self.best: dspy.Module | None = None
        """The best program of all that were evaluated fully, the first among equals; None while there is none."""
        self._score = float("-inf")

    def on_evaluate_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """Keep what is evaluated."""
        devset = inputs.get("devset") or instance.devset
        if self._may_run_out(inputs["program"], len(devset)):
            instance.num_threads = 1  # which calls are the last ones must not depend on threads
        if len(devset) == self._size:
            with self._lock:
                self._begun[call_id] = inputs["program"]

    def _may_run_out(self, program: dspy.Module, size: int) -> bool:
        """Tell whether calls may run out during an evaluation, some replies being asked for twice."""
        task, judge = (self._meter.usage[role].calls for role in (Role.TASK, Role.JUDGE))
        each = 1 + max(len(program.predictors()), math.ceil(task / max(1, judge)))
        left = min((cap.limit - (self._meter.used(cap) or 0) for cap in self._meter.caps), default=math.inf)
        return left < 1.5 * each * size

    def on_evaluate_end(self, call_id: str, outputs: Any, exception: Exception | None = None) -> None:
        """Keep the best."""
        with self._lock:
            program = self._begun.pop(call_id, None)
            if program is None or outputs is None or self._meter.stopped is not None:
                return
            if outputs.score > self._score:
                self._score, self.best = outputs.score, copied(program)
