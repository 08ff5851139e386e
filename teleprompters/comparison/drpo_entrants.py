"""DRPO as an entrant, in both of its modes."""

from __future__ import annotations

from typing import Any

from ...errors import BudgetExceededError
from ..candidates import base_of
from ..drpo import DRPOTeleprompter
from ..result import Decision
from .assignment import Assignment, Ended
from .solving import purse_of

LEVELS = 14
"""How many levels of the paper's search the width is solved for: the official depth is 20, but candidates that are
perfect on their query are not rewritten, and the cap ends the last levels."""


class Default:
    """`DRPOTeleprompter` in its default mode, held-out decision included."""

    name = "drpo"

    def settings(self, assignment: Assignment) -> dict[str, Any]:
        """Return the preset that fits the budget."""
        purse = purse_of(assignment)
        purse.need(self.name, 20 * purse.evaluation)
        auto = "light" if purse.budget < 800 else "medium" if purse.budget < 2400 else "heavy"
        return {"auto": auto, "max_lm_calls": assignment.budget}

    def compile(self, assignment: Assignment, settings: dict[str, Any]) -> Ended:
        """Return the student, unless the held-out queries show a gain."""
        optimizer = _teleprompter(assignment, {**settings, "on_no_gain": "best"})
        found = optimizer.compile(base_of(assignment.student, k=None), trainset=list(assignment.trainset))
        result = found.drpo_result
        improved = result["decision"] == Decision.IMPROVED
        for name in ("candidate_programs", "drpo_result"):
            delattr(found, name)
        returned = found if improved else base_of(assignment.student, k=None)
        return Ended(returned, found=found, details=result)


class Paper:
    """`DRPOTeleprompter` in paper mode: the official search, as wide as the budget pays for."""

    name = "drpo-paper"

    def settings(self, assignment: Assignment) -> dict[str, Any]:
        """Return beam and actions in the proportion of the official defaults, which are for about 360 calls."""
        purse = purse_of(assignment)
        purse.need(self.name, 4 * (purse.evaluation + 1))
        nodes = purse.budget / (LEVELS * (purse.evaluation + 1))
        beam_size = max(1, round((nodes * 2 / 3) ** 0.5))
        n_actions = max(1, round(nodes / beam_size))
        return {"auto": "paper", "beam_size": beam_size, "n_actions": n_actions, "max_lm_calls": assignment.budget}

    def compile(self, assignment: Assignment, settings: dict[str, Any]) -> Ended:
        """Return the last instruction of the best path."""
        optimizer = _teleprompter(assignment, settings)
        found = optimizer.compile(base_of(assignment.student, k=None), trainset=list(assignment.trainset))
        result = found.drpo_result
        for name in ("candidate_programs", "drpo_result"):
            delattr(found, name)
        return Ended(found, details=result)


def _teleprompter(assignment: Assignment, settings: dict[str, Any]) -> DRPOTeleprompter:
    lms = assignment.lms
    if lms.meter.stopped is not None:
        raise BudgetExceededError(lms.meter.stopped)
    return DRPOTeleprompter(
        assignment.reward, task_lm=lms.task, judge_lm=lms.judge, criteria_lm=lms.criteria, prompt_lm=lms.prompt,
        num_threads=assignment.num_threads, seed=assignment.seed, display_progress=False,
        call_timeout=None, **settings,
    )  # fmt: skip
