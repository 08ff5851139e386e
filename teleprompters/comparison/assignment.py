"""What every entrant of a comparison is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import dspy

from ...errors import ConfigError
from ...metrics.reward import DynamicReward
from ...serving.caps import caps_of
from ...serving.door import CallRecord
from ...serving.meter import Meter
from ..roles import RunLMs


@dataclass(frozen=True)
class Assignment:
    """One student, one set of queries, one reward and one budget: the same for every entrant."""

    student: dspy.Module
    """The program to improve; entrants work on copies."""
    trainset: Sequence[dspy.Example]
    """Unlabelled examples, whose criteria are pinned already: they cost the entrant nothing."""
    lms: RunLMs
    """Who answers, judges and rewrites. Its meter is this entrant's alone, and holds its cap."""
    budget: int
    """LM calls over all roles that it may make, at least 1."""
    seed: int = 0
    """Decides whatever the entrant draws, at least 0."""
    num_threads: int = 1
    """Calls under way at once, at least 1."""
    demos: Sequence[Mapping[str, Any]] = ()
    """Demonstrations that are given, for the baseline that retrieves from them; no optimizer sees them."""

    @property
    def reward(self) -> DynamicReward:
        """The reward, bound to the metered LMs."""
        reward = self.lms.reward
        assert reward is not None  # `assign` refuses other metrics
        return reward


def assign(
    student: dspy.Module,
    trainset: Sequence[dspy.Example],
    lms: RunLMs,
    *,
    budget: int,
    seed: int = 0,
    num_threads: int = 1,
    record: CallRecord | None = None,
    demos: Sequence[Mapping[str, Any]] = (),
) -> Assignment:
    """Return an assignment with a meter of its own.

    Args:
        student: The program to improve.
        trainset: Unlabelled examples; the criteria of their queries should be pinned.
        lms: The LMs, not metered yet; the metric is a `DynamicReward`.
        budget: LM calls over all roles, at least 1.
        seed: Decides whatever the entrant draws.
        num_threads: Calls under way at once.
        record: Where calls are kept. None: nowhere.
        demos: Demonstrations for the baseline `retrieved`.

    Raises:
        ConfigError: If the metric is none of ours, or the budget is no number of calls.
    """
    if lms.reward is None:
        raise ConfigError(f"metric={lms.metric!r}: optimizers are compared on a DynamicReward; give one")
    meter = Meter(caps_of({"max_lm_calls": budget}), luck=False)
    metered = replace(lms, meter=meter).metered(record, timeout=lms.timeout, patience=lms.patience)
    return Assignment(student, trainset, metered, budget, seed, num_threads, demos)


@dataclass(frozen=True)
class Ended:
    """What an entrant's work ended with."""

    program: dspy.Module
    """What it returns, of the student's class."""
    imputed: int = 0
    """Judgements that stayed missing and had to be given a number (`metric.py`)."""
    found: dspy.Module | None = None
    """The best it found, where that is another program than the one it returns: DRPO returns the student without a
    significant gain."""
    details: dict[str, Any] = field(default_factory=dict)
    """What else it has to say, plain data; DRPO its `drpo_result`."""


class Entrant(Protocol):
    """An optimizer that takes part, or a baseline. Run it by `compiled`."""

    @property
    def name(self) -> str:
        """How it is called on the command line and in tables."""

    def settings(self, assignment: Assignment) -> dict[str, Any]:
        """Return its settings, solved from the budget; plain data that is printed and written down. No call is made.

        Raises:
            ConfigError: If the budget is too small for it.
        """

    def compile(self, assignment: Assignment, settings: dict[str, Any]) -> Ended:
        """Return what it ends with."""


@dataclass(frozen=True)
class Compiled:
    """One entrant's work, done and checked."""

    name: str
    """The entrant's."""
    settings: dict[str, Any]
    """What it ran with."""
    ended: Ended
    """What it ended with."""
    calls: int
    """LM calls over all roles that were answered."""
    given_up: int
    """Calls that were given up: answers that DSPy's optimizers count as failures of the program, judgements that were
    imputed."""
    stopped: str | None
    """The cap that it ran into, in words; None if it ended by itself."""

    @property
    def program(self) -> dspy.Module:
        """What it returned."""
        return self.ended.program
