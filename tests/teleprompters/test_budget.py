"""What may still be spent: the tightest cap counts, in steps of a run."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drpo.errors import BudgetExceededError
from drpo.serving.caps import caps_of
from drpo.serving.meter import Meter, Usage
from drpo.serving.roles import Role
from drpo.teleprompters.budget import Budget, times, together

ONE = {Role.TASK: 1.0}
BOTH = {Role.TASK: 1.0, Role.JUDGE: 2.0}


def spent(calls: int = 0, tokens: int = 0, cost: float | None = 0.0, seconds: float = 0.0, **caps: Any) -> Budget:
    """Return the budget of a run that has used so much, shared evenly between two roles."""
    meter = Meter(caps_of(caps))
    half = {"calls": calls // 2, "prompt_tokens": tokens // 2, "seconds": seconds / 2}
    for role in (Role.TASK, Role.JUDGE):
        meter.usage[role] = Usage(**half, cost=None if cost is None else cost / 2)
    return Budget(meter)


@pytest.mark.parametrize(
    ("budget", "fits"),
    [
        (spent(10, 1000, 3.0), math.inf),
        (spent(10, max_lm_calls=25), 15),
        (spent(24, max_lm_calls=24), 0),
        (spent(30, max_lm_calls=25), 0),
        (spent(10, 1000, max_tokens=4000), 30),  # 100 tokens a call, 3,000 left
        (spent(10, 5000, max_tokens=4000), 0),  # the last call went over
        (spent(10, 1000, 0.5, max_cost=2.0), 30),
        (spent(10, seconds=5.0, max_seconds={"task": 3.5}), 2),
        (spent(10, 1000, 0.5, max_lm_calls=12, max_tokens=4000, max_cost=2.0), 2),
        (spent(10, 1000, 0.5, max_lm_calls=100, max_tokens=1500, max_cost=2.0), 5),
        (spent(0, max_tokens=4000, max_cost=1.0), math.inf),  # what a call takes is not known yet
        (spent(10, 1000, None, max_lm_calls=12, max_cost=1.0), 0),  # nor will a price be: the next call is refused
        (spent(10, max_lm_calls={"task": 7, "run": 100}), 2),
        (spent(10, max_lm_calls={"judge": 5}), math.inf),
    ],
)
def test_how_often_a_step_fits(budget: Budget, fits: float) -> None:
    """A cap counts what it bounds; tokens, money and seconds at the rate so far."""
    assert budget.fits(ONE) == pytest.approx(fits)


def test_a_step_of_several_roles_and_what_is_kept_back() -> None:
    """Each role's cap bounds the role's share of a step, and what has to be paid for besides is taken off first."""
    budget = spent(10, max_lm_calls={"judge": 25, "run": 100})
    assert budget.fits(BOTH) == 10
    assert budget.fits(BOTH, besides=times(5, BOTH)) == 5
    assert budget.fits(BOTH, besides={Role.PROMPT: 81}) == 3
    assert together(BOTH, ONE) == {Role.TASK: 2, Role.JUDGE: 2, Role.CRITERIA: 0, Role.PROMPT: 0}


@given(
    st.integers(0, 50), st.integers(0, 5000), st.floats(0, 10), st.none() | st.integers(1, 60),
    st.none() | st.integers(1, 5000), st.none() | st.floats(0.1, 10), st.none() | st.integers(1, 60),
)  # fmt: skip
def test_another_cap_never_leaves_more(
    calls: int, tokens: int, cost: float, of_run: int | None, max_tokens: int | None, max_cost: float | None,
    of_judge: int | None,
) -> None:  # fmt: skip
    """Invariants: never negative; with all caps there is as much left as under the tightest one alone."""
    of_both = {scope: cap for scope, cap in (("run", of_run), ("judge", of_judge)) if cap is not None}
    caps: dict[str, Any] = {"max_lm_calls": of_both, "max_tokens": max_tokens, "max_cost": max_cost}
    each = [{"max_lm_calls": {"run": of_run}} if of_run else {}, {"max_lm_calls": {"judge": of_judge}} if of_judge else {},
            {"max_tokens": max_tokens}, {"max_cost": max_cost}]  # fmt: skip
    alone = [spent(calls, tokens, cost, **cap).fits(BOTH) for cap in each]
    assert spent(calls, tokens, cost, **caps).fits(BOTH) == min(alone)
    assert min(alone) >= 0


@pytest.mark.parametrize(
    ("caps", "share"),
    [({}, 1.0), ({"max_lm_calls": 300}, 1.0), ({"max_lm_calls": 900}, 1.0), ({"max_lm_calls": 75}, 0.25),
     ({"max_lm_calls": {"judge": 100, "run": 900}}, 0.5), ({"max_tokens": 10, "max_cost": 0.1}, 1.0)],
)  # fmt: skip
def test_by_what_a_plan_has_to_shrink(caps: dict[str, Any], share: float) -> None:
    """Only a cap on calls is known beforehand; what is spent already is part of the plan."""
    assert spent(50, 1000, **caps).share(times(100, BOTH)) == share


def test_calls_under_way_count() -> None:
    """Invariant: what is admitted is never more than the cap, and room is taken back for a request that is dropped."""
    meter = Meter(caps_of({"max_lm_calls": {"task": 2, "run": 3}}))
    meter.admit(Role.TASK)
    meter.admit(Role.TASK)
    meter.drop(Role.TASK)
    meter.admit(Role.TASK)
    meter.admit(Role.JUDGE)
    with pytest.raises(BudgetExceededError, match=r"max_lm_calls=3 is reached"):
        meter.admit(Role.PROMPT)


def test_the_clock_of_a_run_is_no_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over all roles seconds are those on the clock, of which a call takes its part."""
    now = [100.0]
    monkeypatch.setattr("drpo.serving.meter.time.monotonic", lambda: now[0])
    meter = Meter(caps_of({"max_seconds": 30}))
    meter.usage[Role.TASK] = Usage(calls=50, seconds=500.0)
    now[0] += 10.0
    assert Budget(meter).fits(ONE) == 100
    now[0] += 20.0
    with pytest.raises(BudgetExceededError, match="max_seconds=30 is reached"):
        meter.admit(Role.TASK)
