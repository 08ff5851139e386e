"""How many calls the steps of the default search make, role by role: what is planned, reserved and told beforehand."""

from __future__ import annotations

from ..serving.roles import Role
from .budget import Calls, times, together
from .presets import ALONE, MinibatchSettings


def evaluation_calls(*, task: float, judge: float = 1.0) -> Calls:
    """Return the calls that answer and judge one query."""
    return {Role.TASK: task, Role.JUDGE: judge}


def held_out_calls(evaluation: Calls, *, criteria: float = 1.0) -> Calls:
    """Return the calls that compare a program with the seed on one held-out query.

    Args:
        evaluation: Calls that answer and judge it.
        criteria: Calls that choose its criteria: 0 if they are given.
    """
    return together({Role.CRITERIA: criteria}, times(2, evaluation))


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


def planned_calls(
    settings: MinibatchSettings,
    *,
    num_train: int,
    num_val: int,
    predictors: int = 1,
    optimize_demos: bool = True,
    criteria: float = 1.0,
) -> Calls:
    """Return about how many calls a run makes.

    Args:
        settings: The search's.
        num_train: Queries of the search.
        num_val: Queries held out.
        predictors: LM calls that one run of the program makes.
        optimize_demos: Whether demonstrations are collected.
        criteria: Calls that choose the criteria of a query: 0 if they are given.
    """
    evaluation = evaluation_calls(task=predictors)
    first = min(settings.first_size, num_train)
    levels = [
        level_calls(settings, nodes=min(settings.beam_size, 1 + level * settings.n_actions), evaluation=evaluation)
        for level in range(settings.depth)
    ]
    rewrites = settings.demo_iters * settings.num_demos // 2 if optimize_demos else 0
    finalists = 3 if optimize_demos else 1
    early = min(num_val, max(8, num_val // 6)) if finalists > 1 else 0
    return together(
        {Role.CRITERIA: criteria * first},
        times(first, evaluation),
        *levels,
        {Role.PROMPT: rewrites, Role.JUDGE: rewrites},
        times(num_val, held_out_calls(evaluation, criteria=criteria)),
        times(early * (finalists - 1), evaluation),
    )


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
    return round(sum(planned.values()))
