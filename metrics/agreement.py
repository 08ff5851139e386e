"""Agreement between those who judge: two judges, or a judge and people; and figures corrected by what people say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Z = 1.959964
"""The normal distribution's quantile of a 95 % interval."""


def ordinal_alpha(units: Sequence[Sequence[int | None]]) -> float | None:
    """Return Krippendorff's alpha of ordinal scores: 1 is full agreement, 0 what chance would give.

    Args:
        units: One row per thing judged, with one score per judge, in their order; None where it is missing.

    Returns:
        At most 1; None if no two scores of one thing can be compared, or if all scores are equal, which says nothing.

    Source:
        Krippendorff, Content Analysis (2004), chapter 11; computed by the `krippendorff` package.

    Example:
        >>> ordinal_alpha([(1, 1), (3, 3), (5, 5)])
        1.0
    """
    pairs = [unit for unit in units if sum(score is not None for score in unit) > 1]
    if len({score for unit in pairs for score in unit if score is not None}) < 2:
        return None
    import krippendorff
    import numpy

    table = [[numpy.nan if score is None else score for score in judge] for judge in zip(*pairs, strict=True)]
    return float(krippendorff.alpha(reliability_data=table, level_of_measurement="ordinal"))


@dataclass(frozen=True)
class Corrected:
    """A figure of a judge, corrected by what people say of a sample."""

    raw: float
    """What the judge alone says."""
    value: float
    """What people would say, as far as the sample tells."""
    low: float
    """Lower end of its 95 % interval, which counts that both samples are small."""
    high: float
    """Upper end."""


def corrected_mean(judged: Sequence[float], pairs: Sequence[tuple[float, float]]) -> Corrected | None:
    """Return the mean score that people would give many answers, of which a judge saw all and people only a few.

        mean(judge, all) + mean(people - judge, labelled)
        variance = var(judge) / N + var(people - judge) / n

    Args:
        judged: The judge's score of each answer that people did not see.
        pairs: (people's score, judge's score) of each answer that both saw: answers of the same kind.

    Returns:
        The corrected mean; None with fewer than two of either.

    Source:
        Prediction-powered inference, Angelopoulos et al. 2023 (2301.09633), with Student's t for the labelled sample,
        which is small here.

    Example:
        >>> corrected_mean([4.0, 5.0, 4.0, 5.0], [(3.0, 4.0), (4.0, 5.0), (3.0, 4.0)]).value
        3.5
    """
    if len(judged) < 2 or len(pairs) < 2:
        return None
    from scipy import stats

    gaps = [people - judge for people, judge in pairs]
    raw = sum(judged) / len(judged)
    value = raw + sum(gaps) / len(gaps)
    half = stats.t.ppf(0.975, len(gaps) - 1) * math.sqrt(_variance(judged) / len(judged) + _variance(gaps) / len(gaps))
    return Corrected(raw, value, value - float(half), value + float(half))


@dataclass(frozen=True)
class Confusion:
    """How a judge's yes and no stand to those of people."""

    true_good: int
    """Answers that both call good."""
    good: int
    """Answers that people call good."""
    true_bad: int
    """Answers that both call bad."""
    bad: int
    """Answers that people call bad."""

    @property
    def sensitivity(self) -> float | None:
        """Share of the good answers that the judge calls good; None if people call none good."""
        return self.true_good / self.good if self.good else None

    @property
    def specificity(self) -> float | None:
        """Share of the bad answers that the judge calls bad; None if people call none bad."""
        return self.true_bad / self.bad if self.bad else None


def corrected_share(successes: int, count: int, confusion: Confusion) -> Corrected | None:
    """Return the share of answers that people would call good, from a judge's share and its known errors.

        share = (p + q0 - 1) / (q0 + q1 - 1)

    with p the judge's share, q1 its sensitivity and q0 its specificity. The interval is taken with p, q0 and q1 moved
    towards the middle, as if one more (p: z^2 / 2 more) of each kind had been seen:

        share + d +- z sqrt(p(1-p)/n + (1-share)^2 q0(1-q0)/m0 + share^2 q1(1-q1)/m1) / (q0 + q1 - 1)
        d = 2 z^2 (-(1-share) q0(1-q0)/m0 + share q1(1-q1)/m1)

    Args:
        successes: Answers that the judge calls good, of those that people did not see.
        count: How many those are.
        confusion: What both say of the answers that people saw.

    Returns:
        The corrected share, within 0 and 1; None if there is nothing to correct by, or the judge tells good from bad no
        better than chance: nothing can be corrected then.

    Source:
        Lee et al. 2025 (2511.21140), equations 4 to 7, after Rogan and Gladen 1978 and Lang and Reiczigel 2014.

    Example:
        >>> found = corrected_share(80, 100, Confusion(true_good=45, good=50, true_bad=35, bad=50))
        >>> round(found.value, 3), round(found.low, 2), round(found.high, 2)
        (0.833, 0.65, 1.0)
    """
    if not count or not confusion.good or not confusion.bad:
        return None
    squared = Z * Z
    p = (successes + squared / 2) / (count + squared)
    q1 = (confusion.true_good + 1) / (confusion.good + 2)
    q0 = (confusion.true_bad + 1) / (confusion.bad + 2)
    plain = confusion.true_good / confusion.good + confusion.true_bad / confusion.bad - 1
    if q0 + q1 <= 1 or plain <= 0:
        return None
    share = (p + q0 - 1) / (q0 + q1 - 1)
    of_bad, of_good = q0 * (1 - q0) / (confusion.bad + 2), q1 * (1 - q1) / (confusion.good + 2)
    moved = 2 * squared * (-(1 - share) * of_bad + share * of_good)
    spread = math.sqrt(p * (1 - p) / (count + squared) + (1 - share) ** 2 * of_bad + share**2 * of_good)
    half = Z * spread / (q0 + q1 - 1)
    value = (successes / count + confusion.true_bad / confusion.bad - 1) / plain
    low, high = (_share(share + moved + side * half) for side in (-1, 1))
    value = _share(value)
    return Corrected(successes / count, value, min(low, value), max(high, value))


def _share(value: float) -> float:
    return min(1.0, max(0.0, value))


def _variance(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values) / (len(values) - 1)
