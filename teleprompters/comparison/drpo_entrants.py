"""DRPO as an entrant, in both of its modes."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import dspy

from ...metrics.ledger import Ledger, Source
from ...metrics.reward import DynamicReward
from ..candidates import base_of
from ..drpo import DRPOTeleprompter
from ..presets import MinibatchSettings, PaperSettings
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
        """Return the preset that fits the budget; levels go on, and queries are held out, as far as calls go."""
        purse = purse_of(assignment)
        purse.need(self.name, 20 * purse.evaluation)
        auto = next(name for name, least in reversed(PRESETS) if purse.budget * 2 / purse.evaluation >= least)
        return {"auto": auto, "fill": True, "max_lm_calls": assignment.budget}

    def compile(self, assignment: Assignment, settings: dict[str, Any]) -> Ended:
        """Return the student, unless the held-out queries show a gain."""
        optimizer = _Filling(**_arguments(assignment, {**settings, "on_no_gain": "best"}))
        found, result = _plain(optimizer.compile(assignment.student, trainset=list(assignment.trainset)))
        improved = result["decision"] == Decision.IMPROVED
        returned = found if improved else base_of(assignment.student, k=None)
        return Ended(returned, found=found, details=result)


PRESETS = (("light", 0), ("medium", 800), ("heavy", 2400))
"""Each preset, and the calls from which it is taken, for a program that makes one call."""


class _Filling(DRPOTeleprompter):
    """The default mode, for which a cap is what it shall use."""

    def _search_settings(self) -> PaperSettings | MinibatchSettings:
        settings = super()._search_settings()
        return replace(settings, fill=True) if isinstance(settings, MinibatchSettings) else settings


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
        optimizer = DRPOTeleprompter(**_arguments(assignment, settings))
        found, result = _plain(optimizer.compile(assignment.student, trainset=list(assignment.trainset)))
        return Ended(found, details=result)


def _arguments(assignment: Assignment, settings: dict[str, Any]) -> dict[str, Any]:
    lms = assignment.lms
    return {
        "metric": _given(assignment.reward), "task_lm": lms.task, "judge_lm": lms.judge, "criteria_lm": lms.criteria,
        "prompt_lm": lms.prompt, "num_threads": assignment.num_threads, "seed": assignment.seed,
        "display_progress": False, "call_timeout": None,
        **{name: value for name, value in settings.items() if name != "fill"},
    }  # fmt: skip


def _given(reward: DynamicReward) -> DynamicReward:
    """Return the reward with its criteria as given ones: they are pinned, and the plan need not pay for them."""
    other = copy.copy(reward)
    other.ledger = Ledger({entry.query: replace(entry, source=Source.USER) for entry in reward.ledger})
    return other


def _plain(program: dspy.Module) -> tuple[dspy.Module, dict[str, Any]]:
    """Return a compiled program without what it carries beside itself, and its figures."""
    result = program.drpo_result
    for name in ("candidate_programs", "drpo_result"):
        delattr(program, name)
    return program, result
