"""How much better one program is than another at equal length: judges like long answers, whatever they say.

For query i with the score difference d_i (second program minus first) and the length difference l_i (in words):

    d_i = a + b tanh(l_i / SD(l)) + e_i          least squares; a: the difference where both answers are equally long

The length term is that of length-controlled AlpacaEval (Dubois et al. 2024, arXiv 2404.04475), whose model is a
logistic one of preferences; with scores in their place a linear one is the same idea. As there, what the second program
gains by being longer is set to zero by predicting at l = 0. Standard errors are robust against unequal variances (HC3:
MacKinnon and White 1985, J. Econometrics 29), the interval takes Student's t with n - 2 degrees of freedom.

Where longer answers are better because they say more, that part of the gain is taken off as well: the figure is one to
read beside the plain difference, not in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

FEWEST = 10
"""Below so many pairs a slope and an intercept cannot both be told."""


@dataclass(frozen=True)
class LengthControlled:
    """The difference of two programs at equal length."""

    mean: float
    """Expected score difference where both answers have the same length; positive: the second is better."""
    low: float
    """Lower end of its 95 % interval."""
    high: float
    """Upper end of its 95 % interval."""
    slope: float
    """Score difference that goes with much longer answers: what tanh(l / SD(l)) is multiplied by."""
    count: int
    """How many pairs there are."""
    extrapolated: bool
    """Whether one program's answer is the longer one on (nearly) every query: equal length is then only guessed at."""


def length_controlled(
    differences: Sequence[float], lengths: Sequence[tuple[float, float]], *, rare: float = 0.05
) -> LengthControlled | None:
    """Return the score difference at equal length.

    Args:
        differences: Second minus first score per query.
        lengths: Lengths of the first and the second program's answer, in their order.
        rare: Share of queries below which one of the two directions of length counts as (nearly) never seen, 0 to 1.

    Returns:
        The difference; None with fewer than `FEWEST` pairs, or if all length differences are the same and not 0.

    Example:
        >>> pairs = [(100, 100 + step) for step in range(-6, 6)]
        >>> found = length_controlled([0.5 + 0.1 * (second > first) for first, second in pairs], pairs)
        >>> 0.5 < found.mean < 0.6
        True
    """
    import numpy
    from scipy import stats

    count = len(differences)
    if count < FEWEST:
        return None
    scores = numpy.asarray(differences, dtype=float)
    longer = numpy.asarray([second - first for first, second in lengths], dtype=float)
    spread = float(longer.std(ddof=1))
    if spread == 0.0 and longer[0] != 0.0:
        return None  # length and program cannot be told apart
    columns = [numpy.ones(count)]
    if spread > 0.0:
        columns.append(numpy.tanh(longer / spread))
    design = numpy.stack(columns, axis=1)
    inverse = numpy.linalg.inv(design.T @ design)
    estimate = inverse @ design.T @ scores
    leverage = numpy.einsum("ij,jk,ik->i", design, inverse, design)
    # A point that a coefficient is made of alone has leverage 1 and leaves no residual to judge it by.
    residuals = (scores - design @ estimate) / numpy.maximum(1 - leverage, 1e-9)
    covariance = inverse @ (design.T * residuals**2) @ design @ inverse
    half = float(stats.t.ppf(0.975, count - design.shape[1]) * numpy.sqrt(covariance[0, 0]))
    fewer = min(float((longer > 0).mean()), float((longer < 0).mean()))
    return LengthControlled(
        mean=float(estimate[0]),
        low=float(estimate[0]) - half,
        high=float(estimate[0]) + half,
        slope=float(estimate[1]) if spread > 0.0 else 0.0,
        count=count,
        extrapolated=spread > 0.0 and fewer + float((longer == 0).mean()) < rare,
    )
