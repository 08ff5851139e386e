"""What may still be spent: the tightest cap counts, in calls."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drpo.serving.roles import Meter, Role, Usage
from drpo.teleprompters.budget import Budget


def spent(calls: int = 0, tokens: int = 0, cost: float | None = 0.0, **caps: Any) -> Budget:
    """Return the budget of a run that has used so much, shared between two roles."""
    meter = Meter(**caps)
    half = tokens // 2
    meter.usage[Role.TASK] = Usage(calls=calls // 2, prompt_tokens=half, cost=cost)
    meter.usage[Role.JUDGE] = Usage(calls=calls - calls // 2, completion_tokens=tokens - half)
    return Budget(meter)


@pytest.mark.parametrize(
    ("budget", "left"),
    [
        (spent(10, 1000, 3.0), math.inf),
        (spent(10, max_lm_calls=25), 15),
        (spent(25, max_lm_calls=25), 0),
        (spent(30, max_lm_calls=25), 0),
        (spent(10, 1000, max_tokens=4000), 30),  # 100 tokens a call, 3,000 left
        (spent(10, 5000, max_tokens=4000), 0),  # the last call went over
        (spent(10, 1000, 0.5, max_cost=2.0), 30),
        (spent(10, 1000, 0.5, max_lm_calls=12, max_tokens=4000, max_cost=2.0), 2),
        (spent(10, 1000, 0.5, max_lm_calls=100, max_tokens=1500, max_cost=2.0), 5),
        (spent(0, max_tokens=4000, max_cost=1.0), math.inf),  # what a call takes is not known yet
        (spent(10, 1000, None, max_lm_calls=12, max_cost=1.0), 2),  # nor is a price here
    ],
)
def test_calls_that_are_left(budget: Budget, left: float) -> None:
    """All roles count together; tokens and money are calls at the rate so far."""
    assert budget.left == pytest.approx(left)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 50), st.integers(0, 5000), st.floats(0, 10), st.none() | st.integers(1, 60),
    st.none() | st.integers(1, 5000), st.none() | st.floats(0.1, 10),
)  # fmt: skip
def test_another_cap_never_leaves_more(
    calls: int, tokens: int, cost: float, max_calls: int | None, max_tokens: int | None, max_cost: float | None
) -> None:
    """Invariants: never negative; with all caps there is as much left as under the tightest one alone."""
    caps = {"max_lm_calls": max_calls, "max_tokens": max_tokens, "max_cost": max_cost}
    alone = [spent(calls, tokens, cost, **{name: cap}).left for name, cap in caps.items()]
    assert spent(calls, tokens, cost, **caps).left == min(alone)
    assert min(alone) >= 0


@pytest.mark.parametrize(
    ("caps", "expected", "share"),
    [({}, 400, 1.0), ({"max_lm_calls": 400}, 400, 1.0), ({"max_lm_calls": 900}, 400, 1.0),
     ({"max_lm_calls": 100}, 400, 0.25), ({"max_tokens": 10, "max_cost": 0.1}, 400, 1.0)],
)  # fmt: skip
def test_by_what_a_plan_has_to_shrink(caps: dict[str, Any], expected: int, share: float) -> None:
    """Only a cap on calls is known beforehand; what is spent already is part of the plan."""
    assert spent(50, 1000, **caps).share(expected) == share


def test_it_follows_the_meter() -> None:
    """Invariant: what is left is read anew each time, and every call that is admitted is one less."""
    meter = Meter(max_lm_calls=3)
    budget = Budget(meter)
    left = [budget.left]
    for role in (Role.TASK, Role.PROMPT, Role.CRITERIA):
        meter.admit(role)
        left.append(budget.left)
    assert left == [3, 2, 1, 0]
