"""The difference at equal length.

Invariants: a gain that length alone brings is taken off; a gain at every length is found; where length and program cannot
be told apart, nothing is said, or it is said to be a guess.
"""

from __future__ import annotations

import math
import random

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drpo.metrics.length_control import FEWEST, length_controlled


def pairs(count: int, draw: random.Random, *, longer: float = 0.0, spread: float = 60.0) -> list[tuple[float, float]]:
    return [(200.0, max(1.0, round(200 + draw.gauss(longer, spread)))) for _ in range(count)]


def differences(lengths: list[tuple[float, float]], *, gain: float, slope: float, draw: random.Random) -> list[float]:
    """Return differences under the model of the docstring, with noise."""
    longer = [second - first for first, second in lengths]
    scale = float(numpy.std(longer, ddof=1))
    return [gain + slope * math.tanh(value / scale) + draw.gauss(0, 0.3) for value in longer]


def test_what_length_brings_is_taken_off() -> None:
    """A program that is only longer gains nothing at equal length, however large the plain difference is."""
    draw = random.Random(1)
    lengths = pairs(400, draw, longer=60)
    found = length_controlled(differences(lengths, gain=0.0, slope=0.5, draw=draw), lengths)
    assert found.low < 0 < found.high
    assert found.slope == pytest.approx(0.5, abs=0.1)
    assert numpy.mean(differences(lengths, gain=0.0, slope=0.5, draw=draw)) > 0.2


@pytest.mark.parametrize("gain", [-0.3, 0.0, 0.4])
def test_intervals_cover_the_gain(gain: float) -> None:
    """The 95 % interval of the intercept holds the planted gain in about 95 % of the samples."""
    draw, held = random.Random(2), 0
    for _ in range(200):
        lengths = pairs(60, draw, longer=30)
        found = length_controlled(differences(lengths, gain=gain, slope=0.4, draw=draw), lengths)
        held += found.low <= gain <= found.high
    assert 0.90 <= held / 200 <= 0.99


@given(st.floats(-2, 2), st.integers(0, 5))
def test_a_gain_at_every_length_shifts_it_alone(gain: float, seed: int) -> None:
    """What is added to every difference is added to the result, and to nothing else."""
    draw = random.Random(seed)
    lengths = pairs(20, draw)
    scores = differences(lengths, gain=0.0, slope=0.2, draw=draw)
    one, other = length_controlled(scores, lengths), length_controlled([score + gain for score in scores], lengths)
    assert other.mean - one.mean == pytest.approx(gain, abs=1e-9)
    assert other.slope == pytest.approx(one.slope, abs=1e-9)


def test_equal_lengths_leave_the_plain_difference() -> None:
    """Where all answers are equally long there is nothing to control for."""
    found = length_controlled([0.0, 1.0] * 10, [(50, 50)] * 20)
    assert (found.mean, found.slope, found.extrapolated) == (0.5, 0.0, False)
    assert found.low < 0.5 < found.high


def test_what_cannot_be_told_apart_is_not_told() -> None:
    """A program that is longer by the same length everywhere, and too few pairs, give nothing."""
    assert length_controlled([1.0] * 20, [(50, 60)] * 20) is None
    assert length_controlled([1.0] * (FEWEST - 1), [(50, 40 + place) for place in range(FEWEST - 1)]) is None


def test_a_guess_is_called_one() -> None:
    """Where one program's answers are longer on every query, equal length was never seen."""
    draw = random.Random(3)
    lengths = [(100.0, 150.0 + draw.randrange(100)) for _ in range(50)]
    assert length_controlled([0.1 * draw.random() for _ in lengths], lengths).extrapolated
    assert not length_controlled([0.1 * draw.random() for _ in range(50)], pairs(50, draw)).extrapolated


def test_one_query_alone_on_its_side_does_not_break_it() -> None:
    """A single answer of another length has all the leverage; the interval is a number all the same."""
    found = length_controlled([0.0, 0.5] * 9 + [3.0], [(50, 50)] * 18 + [(50, 500)])
    assert math.isfinite(found.low)
    assert math.isfinite(found.high)
