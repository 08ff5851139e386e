"""How many calls each step of a search makes, all roles together: what is still to come while it runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

from .budget import Calls
from .plan import evaluation_calls, held_out_calls, planned_calls
from .presets import MinibatchSettings, PaperSettings


@dataclass(frozen=True)
class Steps:
    """How many calls the steps of a run make, in order."""

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


def planned_steps(
    settings: MinibatchSettings, *, num_train: int, num_val: int, predictors: int = 1, optimize_demos: bool = True
) -> Steps:
    """Return about how many calls the steps of a default-mode run make; together those of `planned_calls`.

    Args: as of `planned_calls`.

    Example:
        >>> from drpo.teleprompters.presets import LIGHT
        >>> steps = planned_steps(LIGHT, num_train=120, num_val=60)
        >>> sum(steps.levels) + steps.rest == total(planned_calls(LIGHT, num_train=120, num_val=60))
        True
    """

    def calls(some: MinibatchSettings, *, held_out: int, demos: bool) -> float:
        planned = planned_calls(
            some, num_train=num_train, num_val=held_out, predictors=predictors, optimize_demos=demos
        )
        return total(planned)

    # What a part takes is what the plan grows by with it.
    grown = [calls(replace(settings, depth=depth), held_out=0, demos=False) for depth in range(settings.depth + 1)]
    levels = [grown[0], *(more - less for less, more in pairwise(grown))]
    return Steps(tuple(levels), calls(settings, held_out=num_val, demos=optimize_demos) - grown[-1])


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


def total(step: Calls) -> float:
    """Return the calls of a step, all roles together."""
    return sum(step.values())
