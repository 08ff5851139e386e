"""What the scores of a suite say: means with intervals for one program, paired differences for two.

Queries are the units: they are a sample of what might be asked, each program answers each of them once, and an interval
tells what other queries, other answers and other readings of the same judge would have given. What all of a judge's
readings have in common, its leniency for example, is in no interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .length_control import length_controlled
from .statistics import paired_difference

OVERALL = "overall"
"""The name of a query's mean over its aspects, beside the aspects' own names."""


@dataclass(frozen=True)
class Marked:
    """One program's answer to one query of a suite, as it was marked."""

    id: str
    """The query's name in the suite, unique."""
    words: int
    """Length of the answer in words."""
    scores: Mapping[str, int | None]
    """Aspect to score, 1 to 5; None where the judge gave none that could be read."""
    overall: float | None
    """Mean over the query's aspects, 1 to 5; None if it is missing, or not asked of this query."""
    has_overall: bool = True
    """Whether the query counts for the overall mean."""
    groups: Mapping[str, str] = field(default_factory=dict)
    """Column of the suite to this query's value: its data set, its category."""

    @property
    def values(self) -> dict[str, float | None]:
        """The scores, and the overall mean where the query counts for it."""
        return {**self.scores, **({OVERALL: self.overall} if self.has_overall else {})}


@dataclass(frozen=True)
class Mean:
    """A mean score with its 95 % interval."""

    mean: float | None
    """Mean of the scores that are there, 1 to 5; None if there is none."""
    low: float | None
    """Lower end of the interval; None with fewer than two scores."""
    high: float | None
    """Upper end of the interval; None with fewer than two scores."""
    n: int
    """How many scores there are."""
    missing: int
    """How many were asked for and are not there."""


def mean_of(scores: Sequence[float | None], *, lowest: float = 1.0, highest: float = 5.0) -> Mean:
    """Return the mean of scores with a 95 % interval over the queries.

    Args:
        scores: One per query; None where it is missing.
        lowest: The lowest score of the scale.
        highest: The highest score of the scale.

    Source:
        Wilson's score interval (1927) for a mean y in [0, 1] whose variance is a share d of the largest possible one,
        d y (1 - y), as in quasi-likelihood (Wedderburn 1974): d is estimated, and y (1 - y) is taken at the interval's
        ends. So it keeps to the scale, and near its end, where most scores are 5 and the sample's own variance is too
        small as often as a low score is missing from it, it reaches further down. Student's t with n - 1 degrees of
        freedom takes the place of the normal quantile. Where all scores are the same, d is unknown and taken as 1.

    Example:
        >>> found = mean_of([4, 5, None, 3])
        >>> found.mean, found.n, found.missing
        (4.0, 3, 1)
    """
    known = [score for score in scores if score is not None]
    count, missing = len(known), len(scores) - len(known)
    if not known:
        return Mean(None, None, None, 0, missing)
    mean = sum(known) / count
    if count < 2:
        return Mean(mean, None, None, count, missing)
    from scipy import stats

    scale = highest - lowest
    share = (mean - lowest) / scale
    variance = sum((score - mean) ** 2 for score in known) / (count - 1) / scale**2
    largest = share * (1 - share)
    dispersion = variance / largest if variance > 0 else 1.0
    reach = float(stats.t.ppf(0.975, count - 1)) ** 2 * dispersion / count
    middle = (share + reach / 2) / (1 + reach)
    half = math.sqrt(reach * largest + reach**2 / 4) / (1 + reach)
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return Mean(mean, lowest + scale * low, lowest + scale * high, count, missing)


def measured(items: Sequence[Marked]) -> dict[str, Any]:
    """Return what one program's marks say, as `evaluation.json` has it.

    Returns:
        `aspects` (aspect to a `Mean`), `overall` (a `Mean`), `groups` (column to value to aspect to a `Mean`) and
        `words` (mean and median length of an answer).
    """
    columns = sorted({column for item in items for column in item.groups})
    groups: dict[str, Any] = {}
    for column in columns:
        values = sorted({item.groups[column] for item in items if column in item.groups})
        groups[column] = {
            value: _means([item for item in items if item.groups.get(column) == value]) for value in values
        }
    means = _means(items)
    words = sorted(item.words for item in items)
    middle = (words[(len(words) - 1) // 2] + words[len(words) // 2]) / 2
    return {
        "overall": means.pop(OVERALL, None),
        "aspects": means,
        "groups": groups,
        "words": {"mean": sum(words) / len(words), "median": middle},
    }


def compared(first: Sequence[Marked], second: Sequence[Marked], *, seed: int) -> dict[str, Any]:
    """Return how much higher the second program scores, aspect by aspect, as `evaluation.json` has it.

    Args:
        first: The first program's marks.
        second: The second program's; queries are paired by their ids.
        seed: Seed of the resampling.

    Returns:
        Aspect, and `overall`, to `first` and `second` (means over the pairs), `difference` with `low` and `high`, `n`
        (pairs) and `length_controlled` (see `metrics/length_control.py`; None if it cannot be told).
    """
    others = {item.id: item for item in first}
    pairs = [(others[item.id], item) for item in second if item.id in others]
    names = list(dict.fromkeys(name for _, item in pairs for name in item.values))
    return {
        name: _difference([pair for pair in pairs if all(name in item.values for item in pair)], name, seed)
        for name in [*(name for name in names if name == OVERALL), *(name for name in names if name != OVERALL)]
    }


def _means(items: Sequence[Marked]) -> dict[str, Any]:
    names = dict.fromkeys(name for item in items for name in item.values)
    return {name: asdict(mean_of([item.values[name] for item in items if name in item.values])) for name in names}


def _difference(pairs: Sequence[tuple[Marked, Marked]], name: str, seed: int) -> dict[str, Any]:
    known = [
        (one, two, score, other)
        for one, two in pairs
        if (score := one.values[name]) is not None and (other := two.values[name]) is not None
    ]
    scores, others = [score for *_, score, _ in known], [other for *_, other in known]
    found = paired_difference(scores, others, seed=seed)
    controlled = length_controlled(
        [other - score for score, other in zip(scores, others, strict=True)],
        [(one.words, two.words) for one, two, *_ in known],
    )
    return {
        "first": sum(scores) / len(scores) if scores else None,
        "second": sum(others) / len(others) if others else None,
        "difference": found.mean if found else None,
        "low": found.low if found else None,
        "high": found.high if found else None,
        "n": len(known),
        "length_controlled": asdict(controlled) if controlled else None,
    }
