"""Clustered means: queries are drawn anew, never the seeds within them."""

from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drpo.metrics.clustered import clustered_mean

VALUE = st.none() | st.floats(-1, 1) | st.integers(-4, 4).map(lambda quarter: quarter / 4)


@given(st.lists(st.lists(VALUE, max_size=4), max_size=10))
def test_the_interval_holds_the_mean(values: list[list[float | None]]) -> None:
    """Invariant: missing values and empty queries do not count; the interval is around the mean and within the data."""
    known = [[value for value in cluster if value is not None] for cluster in values]
    flat = [value for cluster in known for value in cluster]
    found = clustered_mean(values, seed=0)
    if not flat:
        assert found is None
        return
    assert found is not None
    assert (found.count, found.queries) == (len(flat), sum(map(bool, known)))
    assert found.mean == pytest.approx(sum(flat) / len(flat))
    if found.queries < 2:
        assert (found.low, found.high) == (None, None)
        return
    assert found.low is not None
    assert found.high is not None
    assert min(flat) - 1e-9 <= found.low <= found.mean + 1e-9
    assert found.mean - 1e-9 <= found.high <= max(flat) + 1e-9
    assert clustered_mean(values, seed=0) == found


def test_repeating_a_seed_adds_no_evidence() -> None:
    """Three equal seeds say no more than one: the interval stays as wide, where taking them for new data would not."""
    draw = random.Random(0)
    once = [[draw.gauss(0.1, 0.3)] for _ in range(60)]
    one, three = clustered_mean(once, seed=0), clustered_mean([cluster * 3 for cluster in once], seed=0)
    assert one is not None
    assert three is not None
    assert (three.mean, three.count) == (pytest.approx(one.mean), 180)
    assert (three.low, three.high) == (pytest.approx(one.low), pytest.approx(one.high))


@pytest.mark.slow
def test_it_is_a_95_percent_interval() -> None:
    """For many queries it is that of the normal distribution, and a higher level is wider."""
    values = [random.Random(n).gauss(0.1, 0.3) for n in range(400)]
    found = clustered_mean([[value] for value in values], seed=0)
    error = statistics.stdev(values) / len(values) ** 0.5
    assert found is not None
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.05)
    wide = clustered_mean([[value] for value in values], seed=0, level=0.99)
    assert (wide.high - wide.low) / 2 == pytest.approx(2.576 * error, rel=0.08)


@pytest.mark.slow
def test_clusters_cover_what_hangs_together() -> None:
    """Where queries differ more than seeds do, the interval covers the truth; over single values it would not."""
    covered = 0
    for run in range(100):
        draw = random.Random(run)
        values = [[level + draw.gauss(0, 0.05) for _ in range(3)] for level in (draw.gauss(0, 0.3) for _ in range(25))]
        found = clustered_mean(values, seed=run)
        covered += found.low <= 0 <= found.high
    assert 89 <= covered <= 100
