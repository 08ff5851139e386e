"""What a trial is worth: held-out gain per 1,000 LM calls, or held-out gain alone, as a mean over folds.

A fold is one compile: a seed of its own, and held-out prompts of its own that are the same in every trial.

    gain of a fold  =  reward of the program that compile returns - reward of the student, on its held-out prompts
                    =  0 if compile returns the student, because the gain was not significant
    value of a fold =  1,000 x gain / LM calls of the compile, all roles, final selection included    (gain_per_call)
                    =  gain                                                                           (gain)
    value           =  mean over the folds; interval: Student's t over them, 95 %

No gain counts as 0 since that is what its user gets; the gain of a candidate that was not returned is mostly luck.
The interval has the luck of a compile in it, so it is wide with few folds, and there is none with one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from ..held_out import Part


class Objective(StrEnum):
    """What is to be as high as possible."""

    GAIN_PER_CALL = "gain_per_call"
    """Held-out gain per 1,000 LM calls."""
    GAIN = "gain"
    """Held-out gain, whatever it costs: of use under `max_lm_calls` or `max_cost`."""

    @property
    def unit(self) -> str:
        """What its values are counted in."""
        return "reward (0 to 1) per 1,000 LM calls" if self is Objective.GAIN_PER_CALL else "reward (0 to 1)"

    @property
    def formula(self) -> str:
        """What it is, in one line."""
        each = "1000 * gain / lm_calls" if self is Objective.GAIN_PER_CALL else "gain"
        return f"mean over folds of {each}; gain = 0 where the student is returned"


@dataclass(frozen=True)
class Fold:
    """What one compile came to."""

    gain: float
    """Held-out gain of what was returned, -1 to 1."""
    gain_ci: list[float] | None
    """95 % interval of the held-out gain of the best candidate."""
    decision: str | None
    """`improved` or `no_gain`."""
    returned: str | None
    """Which part was returned; None in the paper's search."""
    lm_calls: int
    """Calls of all roles that were answered."""
    errors: int
    """Tries that failed: no calls of the settings', but caps count them."""
    tokens: int
    """Tokens of all roles."""
    cost: float | None
    """Dollars; None if unknown."""
    seconds: float
    """Sum of the calls' durations."""
    true_gain: float | None
    """Noise-free gain; only where simulated models tell."""
    stopped: str | None
    """Which cap ended it early."""

    def value(self, objective: Objective) -> float:
        """Return what it is worth."""
        return 1000 * self.gain / self.lm_calls if objective is Objective.GAIN_PER_CALL else self.gain

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def fold_of(result: Mapping[str, Any]) -> Fold | None:
    """Return what a compile came to; None if its held-out prompts say nothing, which is no number.

    Args:
        result: What `result.json` says, with `bill.json` under `bill`.
    """
    seed = result.get("returned") == Part.SEED
    if not seed and result["gain"] is None:
        return None
    if seed and result["decision"] is None:  # there was something to compare, but it was not compared
        return None
    costs = list(result["cost"].values())
    return Fold(
        gain=0.0 if seed else result["gain"],
        gain_ci=result["gain_ci"],
        decision=result["decision"],
        returned=result.get("returned"),
        lm_calls=sum(result["lm_calls"].values()),
        errors=sum(role["errors"] for role in result["bill"]["roles"].values()),
        tokens=sum(result["tokens"].values()),
        cost=None if None in costs else sum(costs),
        seconds=sum(result["seconds"].values()),
        true_gain=result["true_gain"],
        stopped=result["stopped"],
    )


def mean_with_interval(values: Sequence[float]) -> tuple[float, list[float] | None]:
    """Return the mean of the folds' values and its 95 % interval by Student's t; None for one fold.

    Example:
        >>> mean, (low, high) = mean_with_interval([0.1, 0.2, 0.3])
        >>> round(mean, 3), round(low, 3), round(high, 3)
        (0.2, -0.048, 0.448)
    """
    count = len(values)
    mean = sum(values) / count
    if count < 2:
        return mean, None
    from scipy import stats

    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (count - 1))
    half = float(stats.t.ppf(0.975, count - 1)) * deviation / math.sqrt(count)
    return mean, [mean - half, mean + half]
