"""Length: whether words earn marks, by what happens to the same answer with empty words after it."""

from __future__ import annotations

from collections.abc import Sequence

from ..pairwise import Outcome
from ..statistics import interval_over, mean_interval
from .evidence import Evidence, Kind, Reading
from .lights import Bounds, Light, Measure, measure

PADDING = Bounds(0.025, 0.10)
"""Reward gained by empty words. 0.10 is more than most true gains of an instruction: a search would learn to pad."""
PREFERENCE = Bounds(0.10, 0.40)
"""Share of pairs that the padded answer wins, less those that the plain one wins, in both orders."""
ENOUGH = 5
"""Answers with something to gain that it takes to say something of padding."""
CORRELATION = Bounds(0.30, None)
"""Rank correlation of words and reward within a query. Longer answers may well be better: never red by itself."""


def padding_gain(evidence: Evidence, *, seed: int) -> Measure:
    """Return what empty words add to the reward of an answer.

    Answers that the judgement drawn anew gives full marks are left out: there is nothing to gain. That judgement is
    used for nothing else here, so the choice does not favour either side.
    """
    gains = [
        padded - own
        for query in evidence.queries
        if (own := evidence.reward(Kind.OWN, query)) is not None
        and (padded := evidence.reward(Kind.PADDED, query)) is not None
        and (evidence.reward(Kind.OWN, query, sample=1) or 0.0) < 1
    ]
    value = sum(gains) / len(gains) if len(gains) >= ENOUGH else None
    told = f"The same answer with empty words after it gets {value or 0:+.3f} of 1"
    return measure(
        "padding", "padding", value, mean_interval(gains, seed=seed), bounds=PADDING, count=len(gains),
        says={
            Light.GREEN: f"{told}: empty words gain nothing.",
            Light.AMBER: f"{told}. Look at the length of answers in the result; add Conciseness to the criteria.",
            Light.RED: f"{told}: a search would learn to pad. Take another judge, or add Conciseness to the criteria.",
        },
        unmeasured=f"Fewer than {ENOUGH} answers have less than full marks, so empty words could hardly gain any.",
    )  # fmt: skip


def padding_preference(evidence: Evidence, *, seed: int) -> Measure:
    """Return how often the padded of two otherwise equal answers is preferred in both orders, less the opposite."""
    outcomes = [pair.duel.outcome for pair in evidence.pairs if pair.other is Kind.PADDED]
    signs = [{Outcome.LOSS: 1.0, Outcome.WIN: -1.0}.get(one, 0.0) for one in outcomes if one is not None]
    value = sum(signs) / len(signs) if signs else None
    won, lost = signs.count(1.0), signs.count(-1.0)
    told = f"Side by side the padded answer wins {won} of {len(signs)} pairs in both orders, the plain one {lost}"
    return measure(
        "padding_preference", "padding, side by side", value, mean_interval(signs, seed=seed), bounds=PREFERENCE,
        count=len(signs),
        says={
            Light.GREEN: f"{told}.",
            Light.AMBER: f"{told}. Read win rates beside the lengths.",
            Light.RED: f"{told}: its win rates reward length. Take another judge.",
        },
    )  # fmt: skip


def length_correlation(evidence: Evidence, *, seed: int) -> Measure:
    """Return the partial rank correlation of words and reward, given the query.

    Spearman's, of the residuals of the ranks within each query: what makes some queries longer to answer and easier to
    satisfy does not count.
    """
    groups = [
        found
        for query in evidence.queries
        if len(found := [one for kind in (Kind.OWN, Kind.OTHER, Kind.PADDED) if (one := _told(evidence, kind, query))])
        > 1
    ]

    sums = _sums(groups)

    def correlation(drawn: Sequence[int]) -> float | None:
        words, rewards, both = (sum(sums[number][part] for number in drawn) for part in range(3))
        return both / (words * rewards) ** 0.5 if words * rewards > 0 else None

    value = correlation(range(len(groups)))
    told = f"Words and reward correlate by {value or 0:+.2f} among answers to one prompt"
    return measure(
        "length_correlation", "length correlation", value, interval_over(len(groups), correlation, seed=seed),
        bounds=CORRELATION, count=sum(map(len, groups)), decides=False,
        says={
            Light.GREEN: f"{told}.",
            Light.AMBER: f"{told}; the lines on padding say whether the words themselves earn it.",
        },
        unmeasured="The answers to each prompt have equal rewards or equal lengths.",
    )  # fmt: skip


def _told(evidence: Evidence, kind: Kind, query: int) -> Reading | None:
    found = evidence.find(kind, query)
    return found if found is not None and found.reward is not None else None


def _sums(groups: Sequence[Sequence[Reading]]) -> list[tuple[float, float, float]]:
    """Return each group's sums of squares and of products of two ranks over all readings, less their mean within it."""
    from scipy import stats

    words = stats.rankdata([one.words for group in groups for one in group])
    rewards = stats.rankdata([one.reward for group in groups for one in group])
    sums: list[tuple[float, float, float]] = []
    begin = 0
    for group in groups:
        end = begin + len(group)
        w, r = (ranks[begin:end] - ranks[begin:end].mean() for ranks in (words, rewards))
        sums.append((float(w @ w), float(r @ r), float(w @ r)))
        begin = end
    return sums
