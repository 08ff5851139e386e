"""The figures of a comparison under fixed keys: what every program got, and which differences are more than luck.

All entrants answer the same test queries, so they are compared in pairs: per (seed, query) the difference of two
rewards, and an interval of its mean over the queries (`metrics/clustered.py`). An interval says how far other queries
could change the mean; how far other seeds could, the figures by seed tell.

With many entrants some interval excludes 0 by luck alone: of twenty comparisons of equals, one. So the strong words
`better` and `worse` are kept for what also holds in an interval that is right for all comparisons of its kind at once
(Bonferroni: level 1 - 0.05 / number of comparisons).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import combinations
from typing import Any

from ...metrics.clustered import LEVEL, ClusteredMean, clustered_mean
from ...metrics.statistics import mean_reward
from ..result import FEWEST_PAIRS
from .judging import Marks
from .lengths import Length

FORMAT = 1
"""Version of `comparison.json`."""
SEED = "seed"
"""The baseline that every entrant is compared with: the student as it was given."""


class Verdict(StrEnum):
    """What a difference on the test queries says."""

    BETTER = "better"
    """The 95 % interval is above 0, also when it has to hold for all comparisons at once."""
    PERHAPS_BETTER = "perhaps_better"
    """The 95 % interval is above 0, but among so many comparisons one may be by luck."""
    NO_DIFFERENCE = "no_difference_shown"
    """The 95 % interval includes 0."""
    PERHAPS_WORSE = "perhaps_worse"
    """As `perhaps_better`, below 0."""
    WORSE = "worse"
    """As `better`, below 0."""
    SAME = "same_program"
    """Both are the same program with every seed."""
    UNKNOWN = "not_compared"
    """Fewer than 8 queries were judged for both, too few for any interval to be trusted."""


@dataclass(frozen=True)
class Row:
    """One entrant with one seed, as its figures are made of it."""

    seed: int
    """The seed."""
    told: Mapping[str, Any]
    """What `unit.json` says."""
    program: str | None
    """Identity of its program; None if it failed."""
    marks: Marks | None
    """What that got; None if it failed."""
    length: Length | None
    """How long its prompt is."""
    instructions: Mapping[str, str] | None
    """Predictor to instruction."""
    true_quality: float | None
    """What it is worth without a judge's noise; None outside of a simulated world."""

    @property
    def rewards(self) -> Sequence[float | None]:
        """Return its reward per test query; none if it failed."""
        return () if self.marks is None else self.marks.rewards


def entrant_figures(
    rows: Mapping[str, Sequence[Row]], *, baselines: Sequence[str], budget: int, num_test: int, bootstrap_seed: int
) -> dict[str, dict[str, Any]]:
    """Return what is to be said of each entrant, in the order given.

    Args:
        rows: Entrant to its rows, one per seed, all in the same order of seeds.
        baselines: Those of them that no optimizer made.
        budget: LM calls that an optimizer may make.
        num_test: How many test queries there are.
        bootstrap_seed: Seed of the intervals.
    """
    others = sum(name != SEED for name in rows)
    found = {}
    for name, own in rows.items():
        mean = clustered_mean(_by_query([row.rewards for row in own], num_test), seed=bootstrap_seed)
        versus = _difference(rows[SEED], own, num_test, bootstrap_seed, comparisons=others)
        qualities = [row.true_quality for row in own]
        gains = [_true_gain(row, seed) for row, seed in zip(own, rows[SEED], strict=True)]
        found[name] = {
            "kind": "baseline" if name in baselines else "optimizer",
            "reward": mean.mean if mean else None,
            "reward_ci": _interval(mean),
            "gain": versus["difference"],
            "gain_ci": versus["ci"],
            "verdict": versus["verdict"],
            "queries": versus["queries"],
            "pairs": versus["pairs"],
            "true_quality": mean_reward(qualities),
            "true_gain": mean_reward(gains),
            "calls": _mean([_total(row.told, "lm_calls") for row in own]),
            "tokens": _mean([_total(row.told, "tokens") for row in own]),
            "seconds": _mean([_total(row.told, "seconds") for row in own]),
            "cost": _mean([_total(row.told, "cost") for row in own]),
            "budget_used": None if name in baselines else _share([_total(row.told, "lm_calls") for row in own], budget),
            "instruction_words": _mean([row.length.instruction_words for row in own if row.length]),
            "demos": _mean([row.length.demos for row in own if row.length]),
            "failures": sum(row.marks is None for row in own),
            "missing_judgements": sum(row.marks.missing_judgements for row in own if row.marks),
            "program_errors": sum(row.marks.program_errors for row in own if row.marks),
            "by_seed": [_row(row, seed) for row, seed in zip(own, rows[SEED], strict=True)],
        }
    return found


def pair_figures(rows: Mapping[str, Sequence[Row]], *, num_test: int, bootstrap_seed: int) -> list[dict[str, Any]]:
    """Return the difference of every two entrants but the seed, second minus first."""
    pairs = list(combinations([name for name in rows if name != SEED], 2))
    return [
        {
            "first": first,
            "second": second,
            **_difference(rows[first], rows[second], num_test, bootstrap_seed, comparisons=len(pairs)),
        }
        for first, second in pairs
    ]


def _difference(
    first: Sequence[Row], second: Sequence[Row], num_test: int, seed: int, *, comparisons: int
) -> dict[str, Any]:
    pairs = list(zip(first, second, strict=True))
    same = all(one.program is not None and one.program == two.program for one, two in pairs)
    values = _by_query([_differences(one.rewards, two.rewards) for one, two in pairs], num_test)
    found = clustered_mean(values, seed=seed)
    verdict = Verdict.SAME if same else _verdict(found)
    if verdict in (Verdict.PERHAPS_BETTER, Verdict.PERHAPS_WORSE):
        stricter = _verdict(clustered_mean(values, seed=seed, level=1 - (1 - LEVEL) / comparisons))
        if stricter is verdict:
            verdict = Verdict.BETTER if verdict is Verdict.PERHAPS_BETTER else Verdict.WORSE
    return {
        "difference": found.mean if found else None,
        "ci": _interval(found),
        "pairs": found.count if found else 0,
        "queries": found.queries if found else 0,
        "verdict": verdict.value,
    }


def _verdict(found: ClusteredMean | None) -> Verdict:
    if found is None or found.queries < FEWEST_PAIRS or found.low is None or found.high is None:
        return Verdict.UNKNOWN
    if found.low > 0:
        return Verdict.PERHAPS_BETTER
    return Verdict.PERHAPS_WORSE if found.high < 0 else Verdict.NO_DIFFERENCE


def _differences(first: Sequence[float | None], second: Sequence[float | None]) -> list[float | None]:
    if not first or not second:  # one of them failed
        return []
    return [None if one is None or two is None else two - one for one, two in zip(first, second, strict=True)]


def _by_query(by_seed: Sequence[Sequence[float | None]], num_test: int) -> list[list[float | None]]:
    return [[values[query] for values in by_seed if values] for query in range(num_test)]


def _row(row: Row, seed: Row) -> dict[str, Any]:
    told, marks = row.told, row.marks
    return {
        "seed": row.seed,
        "failure": told["failure"],
        "reward": mean_reward(row.rewards),
        "gain": mean_reward(_differences(seed.rewards, row.rewards)),
        "true_quality": row.true_quality,
        "true_gain": _true_gain(row, seed),
        "same_as_seed": row.program is not None and row.program == seed.program,
        **{name: told[name] for name in ("lm_calls", "truncated", "tokens", "seconds", "cost")},
        "stopped": told["stopped"],
        "imputed_judgements": told["imputed"],
        "missing_judgements": marks.missing_judgements if marks else None,
        "program_errors": marks.program_errors if marks else None,
        "settings": told["settings"],
        "length": asdict(row.length) if row.length else None,
        "instructions": None if row.instructions is None else dict(row.instructions),
        "rewards": list(row.rewards),
    }


def _true_gain(row: Row, seed: Row) -> float | None:
    known = row.true_quality is not None and seed.true_quality is not None
    return row.true_quality - seed.true_quality if known else None  # type: ignore[operator]


def _interval(found: ClusteredMean | None) -> list[float] | None:
    return [found.low, found.high] if found and found.low is not None and found.high is not None else None


def _total(told: Mapping[str, Any], name: str) -> float | None:
    values = list(told[name].values())
    return None if None in values else round(sum(values), 12)


def _share(calls: Sequence[float | None], budget: int) -> float | None:
    mean = _mean(calls)
    return None if mean is None else mean / budget


def _mean(values: Sequence[float | None]) -> float | None:
    return None if not values or None in values else round(sum(values) / len(values), 12)  # type: ignore[arg-type]
