"""How long the calls of a user's models are beside those of the simulated models that rehearse in their place.

The same few calls are made to both (`probe.py`), to the simulated ones in many worlds. The logarithm of the ratio of
their lengths is what a probe says; one call says little, since replies differ, so it is weighed against what was held
likely before:

    before      log-ratio ~ normal around 0, standard deviation p
    the probe   mean log-ratio r of its n calls, standard error s / sqrt(n);  s: spread of a simulated call among worlds
    after       the normal distribution that both make together

p is `PRIOR_READ` or `PRIOR_WRITTEN`, or what each of the calls is off by at least, if that is more: models that think
aloud write many times as much as others in every reply, so that is believed, and one long reply is not.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..serving.roles import Role
from .probe import ProbedCall
from .rehearsal import Measure

PRIOR_READ, PRIOR_WRITTEN = 0.12, 0.35
"""How far models differ from the simulated ones before anything is known, as standard deviations of logarithms.
Assumed: tokenizers and the share of answers in prompts for what is read, terse and wordy models for what is written."""
LEAST_SPREAD = 0.1
"""Standard deviation that one call is given at least: queries differ in more than the simulated world knows."""


@dataclass(frozen=True)
class Ratio:
    """A ratio that is not known exactly: log-normal."""

    log: float
    """The mean of its logarithm."""
    spread: float
    """The standard deviation of its logarithm."""

    def at(self, place: float) -> float:
        """Return the ratio at so many standard deviations above the middle."""
        return math.exp(self.log + place * self.spread)


@dataclass(frozen=True)
class Lengths:
    """What is thought of one role's calls."""

    read: Ratio
    """Tokens read, beside the simulated model's."""
    written: Ratio
    """Tokens written, likewise."""
    pace: float | None
    """Seconds for each token written; None without a probe."""

    def at(self, place: float) -> Measure:
        """Return the measure at so many standard deviations above the middle: longer calls, or shorter ones."""
        return Measure(self.read.at(place), self.written.at(place), self.pace)


def lengths(probed: Sequence[ProbedCall] | None, simulated: Sequence[Sequence[ProbedCall]]) -> dict[Role, Lengths]:
    """Return what is thought of each role's calls.

    Args:
        probed: The probe of the user's models. None: there was none.
        simulated: The same probe of the simulated models, of at least two worlds.
    """
    return {role: _lengths(role, probed, simulated) for role in Role}


def _lengths(role: Role, probed: Sequence[ProbedCall] | None, simulated: Sequence[Sequence[ProbedCall]]) -> Lengths:
    mine = [call for call in probed or () if call.role is role]
    theirs = [[call for call in calls if call.role is role] for calls in simulated]
    written = sum(call.written for call in mine)
    return Lengths(
        _ratio(mine, theirs, lambda call: call.read, PRIOR_READ),
        _ratio(mine, theirs, lambda call: call.written, PRIOR_WRITTEN),
        sum(call.seconds for call in mine) / written if written else None,
    )


def _ratio(
    mine: Sequence[ProbedCall],
    theirs: Sequence[Sequence[ProbedCall]],
    length: Callable[[ProbedCall], int],
    prior: float,
) -> Ratio:
    logs = [[math.log(max(1, length(call))) for call in calls] for calls in theirs]
    found = [math.log(max(1, length(call))) for call in mine]
    number = min([len(found), *map(len, logs)])
    if not number:
        return Ratio(0.0, prior)
    # Call by call, since they are about the same queries; a probe of the simulated models makes the same calls.
    columns = [[calls[place] for calls in logs] for place in range(number)]
    ratios = [one - statistics.fmean(column) for one, column in zip(found, columns, strict=False)]
    spread = max(LEAST_SPREAD, math.sqrt(statistics.fmean(statistics.variance(column) for column in columns)))
    error = spread**2 / number
    if min(ratios) > 0 or max(ratios) < 0:
        prior = max(prior, min(map(abs, ratios)))
    weight = prior**2 / (prior**2 + error)
    return Ratio(weight * statistics.fmean(ratios), math.sqrt(weight * error))
