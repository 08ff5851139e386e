"""The card: every measure of a judge, and one light over all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .canaries import canaries_added, canaries_alone
from .choices import criteria_choice
from .discrimination import discrimination
from .evidence import Evidence, Kind
from .length import length_correlation, padding_gain, padding_preference
from .lights import Light, Measure, worst
from .order import order_consistency, position_preference
from .others import corrected_level, judges_agree, people_agree
from .scale import ceiling, sameness, ties
from .steadiness import missing_rate, noise_floor


@dataclass(frozen=True)
class JudgeCard:
    """What a judge is worth."""

    measures: tuple[Measure, ...]
    """Every measure, in the order in which they are read."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """Whose card it is, of what, and what it took: the further keys of `judge-card.json`."""

    @property
    def light(self) -> Light:
        """The worst light of the measures that decide; a line that may be amber by luck does not make it amber."""
        return worst(Light.GREEN if one.may_be_luck else one.light for one in self.measures if one.decides)

    @property
    def faults(self) -> tuple[str, ...]:
        """The names of the measures with a red light."""
        return tuple(one.name for one in self.measures if one.light is Light.RED)

    def as_dict(self) -> dict[str, Any]:
        """Return what `judge-card.json` says."""
        return {
            **self.about,
            "light": self.light.value,
            "faults": list(self.faults),
            "measures": [one.as_dict() for one in self.measures],
        }

    def __getitem__(self, name: str) -> Measure:
        return next(one for one in self.measures if one.name == name)


def judge_card_of(evidence: Evidence, *, seed: int = 0) -> JudgeCard:
    """Return the card that evidence makes.

    Args:
        evidence: What was judged.
        seed: Seed of the intervals.
    """
    measures = (
        discrimination(evidence, Kind.OFF_TOPIC, seed=seed),
        discrimination(evidence, Kind.BROKEN_OFF, seed=seed),
        sameness(evidence),
        noise_floor(evidence, seed=seed),
        padding_gain(evidence, seed=seed),
        padding_preference(evidence, seed=seed),
        order_consistency(evidence),
        position_preference(evidence, seed=seed),
        canaries_alone(evidence, seed=seed),
        canaries_added(evidence, seed=seed),
        missing_rate(evidence),
        criteria_choice(evidence),
        judges_agree(evidence, seed=seed),
        people_agree(evidence, seed=seed),
        corrected_level(evidence),
        ties(evidence),
        ceiling(evidence),
        length_correlation(evidence, seed=seed),
    )
    return JudgeCard(tuple(one for one in measures if one is not None))
