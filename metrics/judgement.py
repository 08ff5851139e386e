"""What a judgement is: scores per criterion, some perhaps missing, and the feedback made of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from ..programs.boundary import enclose, one_line


@dataclass(frozen=True)
class Score:
    """One criterion's part of a judgement."""

    criterion: str
    """The criterion's name."""
    value: int | None
    """1 (worst) to 5 (best); None if the judge gave no readable score."""
    rationale: str = ""
    """The judge's reason."""
    weight: float = 1.0
    """Share in the mean; positive."""


@dataclass(frozen=True)
class Judgement:
    """One answer to one query, judged."""

    query: str
    """What was asked."""
    answer: str
    """What was answered."""
    scores: tuple[Score, ...]
    """One per criterion of the query."""

    @property
    def missing(self) -> tuple[str, ...]:
        """Return the names of the criteria without a score."""
        return tuple(score.criterion for score in self.scores if score.value is None)

    @cached_property
    def mean(self) -> float | None:
        """Mean score over the criteria that have one, 1 to 5; None if none has.

        With equal weights it is the integer sum over the count, as the paper's code computes it: the last bit decides
        ties (algorithm, section 2.4).
        """
        known = [(score.value, score.weight) for score in self.scores if score.value is not None]
        if not known:
            return None
        if len({weight for _, weight in known}) == 1:
            return sum(value for value, _ in known) / len(known)
        return sum(value * weight for value, weight in known) / sum(weight for _, weight in known)

    @property
    def feedback(self) -> Feedback | None:
        """Return what a proposer gets, None if nothing could be judged."""
        if self.mean is None:
            return None
        scores = {score.criterion: score.value for score in self.scores if score.value is not None}
        return Feedback(text=_told(self), score=to_unit(self.mean), scores=scores)


@dataclass(frozen=True)
class Feedback:
    """What a proposer learns from one judged answer."""

    text: str
    """The query, the answer, and what was said of it on each criterion."""
    score: float
    """The reward, in [0, 1]."""
    scores: Mapping[str, float]
    """Criterion to score, 1 to 5; criteria without one are left out. Means where several answers are fed back."""


LEVELS = 4.0
"""From the lowest score, 1, to the highest, 5: what a difference of scores is divided by to be one of rewards."""


def to_unit(mean: float) -> float:
    """Return the metric value in [0, 1] of a mean score from 1 to 5.

    Example:
        >>> to_unit(1), to_unit(4), to_unit(5)
        (0.0, 0.75, 1.0)
    """
    return (mean - 1) / LEVELS


def from_unit(value: float) -> float:
    """Return the mean score from 1 to 5 of a metric value in [0, 1].

    Example:
        >>> from_unit(0.75)
        4.0
    """
    return 1 + LEVELS * value


def _told(judgement: Judgement) -> str:
    lines = [enclose("query", judgement.query), "", enclose("answer", judgement.answer), ""]
    for score in judgement.scores:
        if score.value is not None:
            lines.append(f"- {one_line(score.criterion)}: {score.value} of 5. {one_line(score.rationale)}".rstrip())
    return "\n".join(lines)
