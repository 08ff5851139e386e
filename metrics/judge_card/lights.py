"""What a measure says: a figure, how sure it is, a light, and one sentence on what it means and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

LUCK = "Luck alone may explain it: the interval reaches into green."
"""What is said of an amber line that does not make the card amber."""


class Light(StrEnum):
    """How good a figure is."""

    GREEN = "green"
    """Go on."""
    AMBER = "amber"
    """Go on, and know it. A line may be amber by luck: see `Measure.may_be_luck`."""
    RED = "red"
    """A search would learn from the judge's fault: change the judge, or the prompts, first."""
    UNKNOWN = "unknown"
    """Not measured."""


@dataclass(frozen=True)
class Bounds:
    """Where a figure turns from green to amber, and from amber to red."""

    green: float
    """Green up to here."""
    red: float | None
    """Red from here on; beyond `green` to either side, which says whether high or low is bad. None: never."""

    def light(self, value: float | None, interval: tuple[float, float] | None) -> Light:
        """Return the light of a figure. It is red only if its whole interval is worse than green: bad luck is no fault.

        Args:
            value: The figure; None: not measured.
            interval: Its 95 % interval; None: it has none.

        Example:
            >>> Bounds(0.05, 0.1).light(0.2, (0.01, 0.4)), Bounds(0.9, 0.75).light(0.7, (0.6, 0.8))
            (<Light.AMBER: 'amber'>, <Light.RED: 'red'>)
        """
        if value is None:
            return Light.UNKNOWN
        if self._worse(value, self.green) <= 0:
            return Light.GREEN
        if self.red is None or self._worse(value, self.red) < 0:
            return Light.AMBER
        return Light.AMBER if self._reached(interval) else Light.RED

    def may_be_luck(self, value: float | None, interval: tuple[float, float] | None) -> bool:
        """Tell whether an amber figure is between the bounds, and its interval reaches into green.

        Most cards of sound judges have such a line: there are a dozen, and each has its luck. A figure beyond the red
        bound is more than that, also where it is not proven.

        Example:
            >>> Bounds(0.05, 0.1).may_be_luck(0.06, (0.04, 0.08)), Bounds(0.05, 0.1).may_be_luck(0.2, (0.01, 0.4))
            (True, False)
        """
        if value is None or self._worse(value, self.green) <= 0:
            return False
        return (self.red is None or self._worse(value, self.red) < 0) and self._reached(interval)

    def _reached(self, interval: tuple[float, float] | None) -> bool:
        """Tell whether an interval reaches into green."""
        return interval is not None and any(self._worse(end, self.green) <= 0 for end in interval)

    def _worse(self, value: float, bound: float) -> float:
        """Return by how much a figure is worse than a bound, whichever side is bad."""
        return value - bound if self.red is None or self.red > self.green else bound - value


@dataclass(frozen=True)
class Measure:
    """One line of a judge card."""

    name: str
    """Its key; fixed."""
    title: str
    """What people read."""
    light: Light
    """How good it is."""
    value: float | None
    """The figure; None if it could not be measured."""
    interval: tuple[float, float] | None
    """Its 95 % interval; None if it has none."""
    count: int
    """On how many judgements, pairs or queries it rests."""
    says: str
    """What it means and what to do, in one or two plain sentences."""
    decides: bool = True
    """Whether it counts for the light of the whole card; the others are for information."""
    bounds: Bounds | None = None
    """Where its light changes; None: it has no light."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """Further figures."""

    @property
    def may_be_luck(self) -> bool:
        """Whether the line is amber and luck alone may explain it; such a line does not make the card amber."""
        return self.bounds is not None and self.bounds.may_be_luck(self.value, self.interval)

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        data = asdict(self)
        interval = list(self.interval) if self.interval else None
        return {**data, "light": self.light.value, "interval": interval, "may_be_luck": self.may_be_luck}


def measure(
    name: str,
    title: str,
    value: float | None,
    interval: tuple[float, float] | None,
    *,
    bounds: Bounds,
    says: Mapping[Light, str],
    count: int,
    decides: bool = True,
    details: Mapping[str, Any] | None = None,
    unmeasured: str = "Too few judgements to tell.",
) -> Measure:
    """Return a measure with its light, and the sentence that goes with that.

    Args:
        name: Its key.
        title: What people read.
        value: The figure; None: it could not be measured.
        interval: Its 95 % interval.
        bounds: Where its light changes.
        says: The sentence of each light.
        count: On how much it rests.
        decides: Whether it counts for the whole card.
        details: Further figures.
        unmeasured: The sentence if there is no figure.
    """
    light = bounds.light(value, interval)
    sentence = says.get(light, unmeasured)
    if bounds.may_be_luck(value, interval):
        sentence = f"{sentence} {LUCK}"
    return Measure(
        name=name,
        title=title,
        light=light,
        value=value,
        interval=interval if value is not None else None,
        count=count,
        says=sentence,
        decides=decides,
        bounds=bounds,
        details=details or {},
    )


def worst(lights: Iterable[Light]) -> Light:
    """Return the worst of some lights; what was not measured does not count, unless nothing was.

    Example:
        >>> worst([Light.GREEN, Light.UNKNOWN, Light.AMBER])
        <Light.AMBER: 'amber'>
    """
    found = set(lights)
    return next((light for light in (Light.RED, Light.AMBER, Light.GREEN) if light in found), Light.UNKNOWN)
