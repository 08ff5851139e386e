"""The outcome of a run under fixed keys, so that scripts can rely on them."""

from __future__ import annotations

import functools
import platform
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from importlib import metadata
from typing import Any

from ..metrics.statistics import PairedDifference
from ..serving.meter import Meter
from ..serving.roles import Role
from ..serving.simulated import SIMULATED
from .candidates import Candidate

_SIMULATED = re.compile(rf"(^|/){SIMULATED}")
"""A simulated model, in this process or behind an endpoint."""
FEWEST_PAIRS = 8
"""Without so many held-out queries judged twice nothing is called improved: no interval of fewer can be trusted."""


class Decision(StrEnum):
    """What the held-out comparison says of the compiled program."""

    IMPROVED = "improved"
    """Its reward is higher than the seed's, the whole 95 % interval above 0."""
    NO_GAIN = "no_gain"
    """It is not, or the instruction is the seed's."""


@dataclass(frozen=True)
class Comparison:
    """Seed and compiled program on the same held-out queries, in [0, 1]."""

    seed_reward: float | None
    """Mean reward of the seed."""
    reward: float | None
    """Mean reward of the compiled program."""
    difference: PairedDifference | None
    """Compiled minus seed, query by query; None if no query has both rewards."""

    @property
    def decision(self) -> Decision:
        """Return what it says."""
        found = self.difference
        better = found is not None and found.significant and found.count >= FEWEST_PAIRS
        return Decision.IMPROVED if better else Decision.NO_GAIN


def result_data(
    *,
    optimizer: str,
    candidate: Candidate,
    search_value: float | None,
    decision: Decision | None,
    comparison: Comparison | None,
    meter: Meter,
    models: dict[str, str],
    num_train: int,
    num_val: int,
    missing_judgements: int,
    program_errors: int,
    unusable_proposals: int,
    true_gain: float | None,
    stopped: str | None,
    seed: int,
    details: dict[str, Any],
) -> dict[str, Any]:
    """Return what `result.json` says.

    It follows from the replies alone, so that it is equal however often a run was interrupted and a try failed; what
    does not is in `bill_data`. Only the seconds of real models are measured ones.

    Without a held-out comparison `decision`, `seed_reward`, `reward`, `gain` and `gain_ci` are null: the search's own
    value comes from other queries at each level and is no evidence of a gain (algorithm, section 8).
    """
    difference = comparison.difference if comparison else None
    interval = [difference.low, difference.high] if difference and difference.low is not None else None
    return {
        "decision": decision.value if decision else None,
        "optimizer": optimizer,
        "seed_reward": comparison.seed_reward if comparison else None,
        "reward": comparison.reward if comparison else None,
        "gain": difference.mean if difference else None,
        "gain_ci": interval,
        "search_value": search_value,
        "num_train": num_train,
        "num_val": num_val,
        **usage_data(meter),
        "missing_judgements": missing_judgements,
        "program_errors": program_errors,
        "unusable_proposals": unusable_proposals,
        "stopped": stopped,
        "instructions": dict(candidate),
        "models": models,
        "simulated": is_simulated(models),
        "true_gain": true_gain,
        "seed": seed,
        **details,
        "versions": versions(),
    }


def is_simulated(models: Mapping[str, str]) -> bool:
    """Tell whether any role, by its model string, is played by a simulated model."""
    return any(_SIMULATED.search(model) for model in models.values())


def usage_data(meter: Meter) -> dict[str, dict[str, Any]]:
    """Return what each role used, as far as it follows from the replies."""
    return {
        "lm_calls": _by_role(meter, "calls"),
        "truncated": _by_role(meter, "truncated"),
        "tokens": _by_role(meter, "tokens"),
        "seconds": {role: round(seconds, 3) for role, seconds in _by_role(meter, "seconds").items()},
        "cost": {role: _exact(cost) for role, cost in _by_role(meter, "cost").items()},
    }


def bill_data(meter: Meter, models: dict[str, str]) -> dict[str, Any]:
    """Return what `bill.json` says: what each role used and what went wrong on the way, with the luck of the line."""
    return {
        "roles": {
            role.value: {
                "model": models.get(role.value),
                **asdict(meter.usage[role]),
                "cost": _exact(meter.usage[role].cost),
                "error_kinds": dict(sorted(meter.kinds[role].items())),
                "given_up": meter.given_up[role],
                "waited": round(meter.waited[role], 3),
            }
            for role in Role
        },
        "cost": _exact(_sum([meter.usage[role].cost for role in Role])),
        "caps": [str(cap) for cap in meter.caps],
        "wall_seconds": round(meter.elapsed, 3),
    }


def _sum(costs: list[float | None]) -> float | None:
    return None if None in costs else sum(cost for cost in costs if cost is not None)


def _exact(cost: float | None) -> float | None:
    """Return a sum of prices without the last digits, which depend on the order in which they were added."""
    return None if cost is None else round(cost, 12)


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    return {**_installed(), "python": platform.python_version()}


@functools.cache  # the files of a package are read for its version, a millisecond each
def _installed() -> dict[str, str]:
    return {name: metadata.version(name) for name in ("drpo-dspy", "dspy", "litellm")}


def _by_role(meter: Meter, name: str) -> dict[str, Any]:
    """Return one figure of a run's bill, by role."""
    return {role.value: getattr(meter.usage[role], name) for role in Role}
