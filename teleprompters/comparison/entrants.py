"""Who can take part, by name, and what it takes to run one of them."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from ...serving.roles import Role
from .assignment import Assignment, Compiled, Entrant
from .baselines import Retrieved, Seed, Static
from .drpo_entrants import Default, Paper
from .foreign import ForeignEntrant
from .optimizers import OPTIMIZERS
from .remembering import remembering

_TAKING_PART: Sequence[Entrant] = (Default(), Paper(), *map(ForeignEntrant, OPTIMIZERS))
ENTRANTS: Mapping[str, Entrant] = {entrant.name: entrant for entrant in _TAKING_PART}
"""DRPO in its two modes, and DSPy's optimizers, by name."""
_MADE_BY_HAND: Sequence[Entrant] = (Seed(), Static(), Retrieved())
BASELINES: Mapping[str, Entrant] = {entrant.name: entrant for entrant in _MADE_BY_HAND}
"""What no optimizer made, without a call, by name."""


def compiled(entrant: Entrant, assignment: Assignment) -> Compiled:
    """Run an entrant on an assignment.

    Its meter is looked at afterwards, since DSPy's optimizers make scores of whatever goes wrong.

    Args:
        entrant: Who.
        assignment: On what; its meter has counted nothing yet.

    Raises:
        ConfigError: If the budget is too small for it.
        LMError: If an LM cannot be reached, whatever the optimizer made of it.
        BudgetExceededError: If its calls ran out before it had evaluated one program.
        KeyboardInterrupt, RunDirectoryError: If the run was halted.

    Example:
        >>> import dspy
        >>> from drpo import DynamicReward, Responder
        >>> from drpo.serving.meter import Meter
        >>> from drpo.serving.simulated.engine import simulated_lm
        >>> from drpo.serving.simulated.world import World
        >>> from drpo.teleprompters.comparison.assignment import assign
        >>> from drpo.teleprompters.roles import RunLMs
        >>> lms = {role: simulated_lm(role, World()) for role in ("task", "judge", "criteria", "prompt")}
        >>> roles = RunLMs(**lms, metric=DynamicReward(lms["judge"], lms["criteria"]), meter=Meter())
        >>> prompts = [dspy.Example(query="Why is the sea salty?").with_inputs("query")]
        >>> compiled(BASELINES["static"], assign(Responder(), prompts, roles, budget=100)).calls
        0
    """
    settings = entrant.settings(assignment)
    label = f"{entrant.name}, seed {assignment.seed}"
    # None of DSPy's optimizers takes part without this; ours know what a cap is.
    anytime = getattr(entrant, "anytime", None)
    lms = remembering(assignment.lms, label, memory=anytime is not False, cut_off=anytime is True)
    meter = lms.meter
    try:
        with own_chance(assignment.seed):
            ended = entrant.compile(replace(assignment, lms=lms), settings)
    finally:
        meter.go_on()
    meter.check()
    return Compiled(
        entrant.name, settings, ended, calls=meter.totals("calls"),
        given_up=sum(meter.given_up[role] for role in Role), stopped=meter.stopped,
    )  # fmt: skip


@contextlib.contextmanager
def own_chance(seed: int) -> Iterator[None]:
    """Leave Python's global random state as it is, and decide by the seed what is drawn from it meanwhile."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
