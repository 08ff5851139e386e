"""How many calls the steps of the default search make, role by role: what is planned, reserved and told beforehand."""

from __future__ import annotations

from dataclasses import dataclass

from ..serving.roles import Role
from .budget import Calls, times, together
from .presets import ALONE, MinibatchSettings, PaperSettings


def evaluation_calls(*, task: float, judge: float = 1.0) -> Calls:
    """Return the calls that answer and judge one query."""
    return {Role.TASK: task, Role.JUDGE: judge}


def held_out_calls(evaluation: Calls) -> Calls:
    """Return the calls that compare a program with the seed on one held-out query."""
    return together({Role.CRITERIA: 1}, times(2, evaluation))


def level_calls(settings: MinibatchSettings, *, nodes: int, evaluation: Calls) -> Calls:
    """Return about how many calls one level makes.

    Args:
        settings: The search's.
        nodes: Members that are rewritten.
        evaluation: Calls that answer and judge one query.
    """
    judged, left = 0, nodes * (1 + min(ALONE, settings.n_actions))
    for rung in settings.rungs:
        judged += left * rung
        left = max(1, left // 2)
    return together({Role.PROMPT: nodes * settings.n_actions}, times(judged, evaluation))


@dataclass(frozen=True)
class Steps:
    """How many calls the steps of a run make, in order, all roles together."""

    levels: tuple[float, ...]
    """Those of level 0, 1 and so on; further levels are like the last one."""
    rest: float
    """Those after the search: demonstrations, final selection."""

    def of(self, level: int) -> float:
        """Return the calls of a level."""
        return self.levels[min(level, len(self.levels) - 1)]

    def after(self, level: int, last: int) -> float:
        """Return the calls that follow a level, if `last` is the last one."""
        return sum(self.of(number) for number in range(level + 1, last + 1)) + self.rest


def paper_steps(settings: PaperSettings, *, num_val: int, predictors: int = 1) -> Steps:
    """Return about how many calls the steps of a paper-mode run make.

    Args:
        settings: The search's.
        num_val: Queries held out.
        predictors: LM calls that one run of the program makes.
    """
    evaluation = evaluation_calls(task=predictors)
    judged = total(evaluation)

    def level(nodes: int) -> float:
        return nodes * settings.n_actions * (1 + judged) + 1

    return Steps((1 + judged, level(1), level(settings.beam_size)), num_val * total(held_out_calls(evaluation)))


def planned_steps(
    settings: MinibatchSettings, *, num_train: int, num_val: int, predictors: int = 1, optimize_demos: bool = True
) -> Steps:
    """Return about how many calls the steps of a default-mode run make.

    Args: as of `planned_calls`.
    """
    first, levels, *rest = _steps(settings, num_train, num_val, predictors, optimize_demos)
    return Steps((total(first[0]), *map(total, levels)), sum(total(step) for steps in rest for step in steps))


def planned_calls(
    settings: MinibatchSettings, *, num_train: int, num_val: int, predictors: int = 1, optimize_demos: bool = True
) -> Calls:
    """Return about how many calls a run makes.

    Args:
        settings: The search's.
        num_train: Queries of the search.
        num_val: Queries held out.
        predictors: LM calls that one run of the program makes.
        optimize_demos: Whether demonstrations are collected.
    """
    steps = _steps(settings, num_train, num_val, predictors, optimize_demos)
    return together(*(step for part in steps for step in part))


def expected_calls(
    settings: MinibatchSettings, *, num_train: int, num_val: int, predictors: int = 1, optimize_demos: bool = True
) -> int:
    """Return about how many LM calls a default-mode run makes, all roles together.

    Args: as of `planned_calls`.

    Example:
        >>> from drpo.teleprompters.presets import LIGHT, MEDIUM
        >>> expected_calls(LIGHT, num_train=120, num_val=60) < expected_calls(MEDIUM, num_train=120, num_val=60)
        True
    """
    planned = planned_calls(
        settings, num_train=num_train, num_val=num_val, predictors=predictors, optimize_demos=optimize_demos
    )
    return round(total(planned))


def total(step: Calls) -> float:
    """Return the calls of a step, all roles together."""
    return sum(step.values())


def _steps(
    settings: MinibatchSettings, num_train: int, num_val: int, predictors: int, optimize_demos: bool
) -> tuple[list[Calls], ...]:
    """Return the calls of the seed's judgement, of each level, of the demonstrations, and of the final selection."""
    evaluation = evaluation_calls(task=predictors)
    first = min(settings.first_size, num_train)
    levels: list[Calls] = [
        level_calls(settings, nodes=min(settings.beam_size, 1 + level * settings.n_actions), evaluation=evaluation)
        for level in range(settings.depth)
    ]
    rewrites = settings.demo_iters * settings.num_demos // 2 if optimize_demos else 0
    finalists = 3 if optimize_demos else 1
    early = min(num_val, max(8, num_val // 6)) if finalists > 1 else 0
    return (
        [together({Role.CRITERIA: first}, times(first, evaluation))],
        levels,
        [{Role.PROMPT: rewrites, Role.JUDGE: rewrites}],
        [times(num_val, held_out_calls(evaluation)), times(early * (finalists - 1), evaluation)],
    )
