"""Others: whether a second judge and people say the same, and what people would say of the rest."""

from __future__ import annotations

from collections.abc import Sequence

from ..agreement import Confusion, Corrected, corrected_mean, corrected_share, ordinal_alpha
from ..statistics import interval_over
from .evidence import Evidence, Kind, Labelled
from .lights import Bounds, Light, Measure, measure

ALPHA = Bounds(0.667, 0.40)
"""Krippendorff's alpha of scores. He asks for 0.667 where conclusions may be tentative, and 0.800 for firm ones; below
0.40 more is disagreement than not."""
YOUDEN = Bounds(0.60, 0.30)
"""Sensitivity + specificity - 1 against people's good and bad: 0 is a coin, 1 no error. The correction divides by it,
so that at 0.30 an interval is three times as wide as without."""
GOOD = 3.5
"""Mean score from which the judge is taken to call an answer good: nearer to 4, "a small flaw", than to 3."""
RESAMPLES = 299
"""Of the intervals of alpha, which takes a millisecond each."""
ENOUGH = 10
"""Labels that it takes to say something."""


def judges_agree(evidence: Evidence, *, seed: int) -> Measure:
    """Return how far a second judge gives the same scores, to good and to bad answers."""
    groups: list[list[tuple[int | None, int | None]]] = []
    for query in evidence.queries:
        found: list[tuple[int | None, int | None]] = []
        for other in evidence.second:
            if other.query == query and (own := evidence.find(other.kind, query)) is not None:
                found += zip(own.scores, other.scores, strict=True)
        if found:
            groups.append(found)

    def alpha(drawn: Sequence[int]) -> float | None:
        return ordinal_alpha([unit for number in drawn for unit in groups[number]])

    value = alpha(range(len(groups)))
    told = f"A second judge agrees by {value or 0:.2f} (Krippendorff's alpha; 1 is full agreement)"
    return measure(
        "judges_agree", "agreement of judges", value,
        interval_over(len(groups), alpha, seed=seed, resamples=RESAMPLES), bounds=ALPHA, count=sum(map(len, groups)),
        says={
            Light.GREEN: f"{told}.",
            Light.AMBER: f"{told}. Check the result with the second judge before you claim it.",
            Light.RED: f"{told}: at least one of them is wrong. Label some answers yourself (--labels).",
        },
        unmeasured="No second judge was asked: give --second-judge."
        if not evidence.second
        else "The scores are all alike, so agreement means nothing.",
    )  # fmt: skip


def people_agree(evidence: Evidence, *, seed: int) -> Measure:
    """Return how far people say the same as the judge: alpha of scores, or Youden's J of good and bad."""
    known = [one for one in evidence.labelled if one.mean is not None]
    by_score = any(one.score is not None for one in known)

    def agreement(drawn: Sequence[int]) -> float | None:
        sample = [known[number] for number in drawn]
        return _alpha(sample) if by_score else _youden(confusion(sample))

    value = agreement(range(len(known))) if len(known) >= ENOUGH else None
    how = "Krippendorff's alpha" if by_score else "sensitivity + specificity - 1"
    told = f"People agree with it by {value or 0:.2f} on {len(known)} labelled answers ({how}; 1 is full agreement)"
    details = {}
    if known and not by_score:
        counts = confusion(known)
        details = {"sensitivity": counts.sensitivity, "specificity": counts.specificity}
    return measure(
        "people_agree", "agreement with people", value,
        interval_over(len(known), agreement, seed=seed, resamples=RESAMPLES),
        bounds=ALPHA if by_score else YOUDEN, count=len(known), details=details,
        says={
            Light.GREEN: f"{told}.",
            Light.AMBER: f"{told}. Report corrected figures, with their interval.",
            Light.RED: f"{told}: what it rewards is not what people want. Take another judge or other criteria.",
        },
        unmeasured="No labels were given: judge some answers yourself and give --labels."
        if not evidence.labelled
        else f"Too few labels, or all alike: give at least {ENOUGH}, good and bad ones.",
    )  # fmt: skip


def corrected_level(evidence: Evidence) -> Measure | None:
    """Return what people would say of the task model's answers, None without labels."""
    known = [one for one in evidence.labelled if one.mean is not None]
    rewards = [reward for query in evidence.queries if (reward := evidence.reward(Kind.OWN, query)) is not None]
    if len(known) < ENOUGH:
        return None
    found: Corrected | None
    if any(one.score is not None for one in known):
        pairs = [(one.score, one.mean) for one in known if one.score is not None and one.mean is not None]
        found = corrected_mean([1 + 4 * reward for reward in rewards], pairs)
        what, form = "The task model's mean score", "{:.2f} of 5"
    else:
        good = sum(1 + 4 * reward >= GOOD for reward in rewards)
        found = corrected_share(good, len(rewards), confusion(known))
        what, form = "The share of good answers of the task model", "{:.0%}"
    if found is None:
        return None
    raw, value, low, high = (form.format(number) for number in (found.raw, found.value, found.low, found.high))
    return Measure(
        name="corrected_level", title="level, corrected by people", light=Light.UNKNOWN, value=found.value,
        interval=(found.low, found.high), count=len(rewards), decides=False, details={"raw": found.raw},
        says=f"{what} is {raw} by the judge, {value} by people as far as the labels tell ({low} to {high}), if the "
        "labelled answers are of the same kind.",
    )  # fmt: skip


def confusion(labelled: Sequence[Labelled]) -> Confusion:
    """Return how the judge's good and bad (`GOOD`) stand to people's."""
    said = [(one.good, one.mean >= GOOD) for one in labelled if one.good is not None and one.mean is not None]
    good, bad = [judge for people, judge in said if people], [judge for people, judge in said if not people]
    return Confusion(true_good=sum(good), good=len(good), true_bad=bad.count(False), bad=len(bad))


def _alpha(labelled: Sequence[Labelled]) -> float | None:
    return ordinal_alpha(
        [(round(one.score), round(one.mean)) for one in labelled if one.score is not None and one.mean is not None]
    )


def _youden(counts: Confusion) -> float | None:
    if counts.sensitivity is None or counts.specificity is None:
        return None
    return counts.sensitivity + counts.specificity - 1
