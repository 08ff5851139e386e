"""The arithmetic of the benchmarks that are not run by the tests."""

from __future__ import annotations

import random
from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture(scope="module")
def wallclock() -> ModuleType:
    return import_module("wallclock")


def path(wallclock: ModuleType, calls: Sequence[tuple[str, str, float]], *, num_threads: int) -> float:
    """Return the critical path of (task, model, seconds)."""
    return wallclock.critical_path([wallclock.Call(*call) for call in calls], num_threads=num_threads)


@pytest.mark.parametrize(
    ("calls", "num_threads", "seconds"),
    [
        ([], 4, 0.0),
        ([("judge/0", "sim/task", 2.0)], 4, 2.0),
        ([("judge/0", "sim/task", 2.0), ("judge/0", "sim/judge", 1.0), ("judge/1", "sim/task", 2.5)], 4, 3.0),
        ([(f"judge/{number}", "sim/task", 1.0) for number in range(8)], 4, 2.0),
        ([("level 1 judge/0", "sim/task", 2.0), ("level 2 judge/0", "sim/task", 3.0)], 4, 5.0),
        ([("judge/1/7", "sim/task", 2.0), ("judge/2/7", "sim/task", 2.0)], 4, 2.0),
    ],
)
def test_the_critical_path(
    wallclock: ModuleType, calls: list[tuple[str, str, float]], num_threads: int, seconds: float
) -> None:
    """Calls of a task follow each other, tasks of a phase overlap as far as threads allow, phases follow each other."""
    assert path(wallclock, calls, num_threads=num_threads) == pytest.approx(seconds)


def test_tasks_that_only_fetch_criteria_do_not_count(wallclock: ModuleType) -> None:
    """They run ahead; a task that also answers counts with its criteria, whichever call comes first."""
    alone = [("criteria/0", wallclock.CRITERIA, 9.0)]
    assert path(wallclock, alone, num_threads=4) == 0.0
    mixed = [("judge/0", wallclock.CRITERIA, 1.0), ("judge/0", "sim/judge", 2.0)]
    for calls in (mixed, mixed[::-1]):
        assert path(wallclock, [*alone, *calls], num_threads=4) == 3.0


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 4), st.sampled_from(["sim/task", "criteria"]), st.floats(0.01, 9)),
        max_size=25,
    ),
    st.randoms(use_true_random=False),
)
def test_the_bound_is_one(wallclock: ModuleType, drawn: list[tuple[int, int, str, float]], draw: random.Random) -> None:
    """Invariants.

    Never more than one call at a time, never less than the longest task that counts, or than even sharing; more threads
    never take longer, and one thread takes as long as all calls that count; the calls' order is nothing.
    """
    calls: list[tuple[str, str, float]] = [
        (f"level {phase} judge/{task}", wallclock.CRITERIA if model == "criteria" else model, seconds)
        for phase, task, model, seconds in drawn
    ]
    needed = {task for task, model, _ in calls if model != wallclock.CRITERIA}
    counted: dict[str, Any] = {task: sum(s for name, _, s in calls if name == task) for task in needed}
    found = [path(wallclock, calls, num_threads=number) for number in (1, 2, 4, 100)]
    close = 1e-9
    assert found[0] == pytest.approx(sum(counted.values()))
    assert all(one >= more - close for one, more in pairwise(found))
    assert found[3] >= max(counted.values(), default=0.0) - close
    for number, seconds in zip((1, 2, 4, 100), found, strict=True):
        assert seconds >= sum(counted.values()) / number - close
        assert seconds <= sum(seconds for _, _, seconds in calls) + close
    shuffled = list(calls)
    draw.shuffle(shuffled)
    assert path(wallclock, shuffled, num_threads=4) == pytest.approx(found[2])


def test_a_call_is_equally_slow_in_every_run(wallclock: ModuleType) -> None:
    """Latencies are drawn from the call's name: log-normal, of the median asked for."""
    latency = wallclock.Latency(median=0.2, sigma=0.5)
    times = sorted(latency.of(f"call {number}") for number in range(400))
    assert times == sorted(wallclock.Latency(0.2, 0.5).of(f"call {number}") for number in range(400))
    assert times[200] == pytest.approx(0.2, rel=0.15)
    assert 0 < times[0] < 0.1 < 0.4 < times[-1]
    assert wallclock.Latency(0.0, 0.0).of("call") == 0.0
