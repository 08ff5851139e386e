"""A small comparison in the simulated world: what an entrant is given in tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import dspy

from drpo import DynamicReward, Responder
from drpo.metrics.ledger import Ledger
from drpo.serving.meter import Meter
from drpo.serving.simulated.engine import simulated_lm
from drpo.serving.simulated.world import World
from drpo.teleprompters.comparison.assignment import Assignment, assign
from drpo.teleprompters.roles import RunLMs

DATA = Path(__file__).parents[2] / "configs" / "data"
QUERIES = [json.loads(line)["query"] for line in (DATA / "prompts.jsonl").read_text("utf-8").splitlines()]
DEMOS = [
    {key: row[key] for key in ("query", "response")}
    for row in map(json.loads, (DATA / "demos.jsonl").read_text("utf-8").splitlines())
]


@lru_cache
def _pinned(world: World, queries: Sequence[str]) -> Ledger:
    reward = DynamicReward(simulated_lm("judge", world), simulated_lm("criteria", world))
    for query in queries:
        reward.criteria_of(dspy.Example(query=query).with_inputs("query"))
    return reward.ledger


def contest(
    *,
    budget: int = 200,
    seed: int = 0,
    num_threads: int = 1,
    student: dspy.Module | None = None,
    queries: Sequence[str] = QUERIES[:40],
    world: World | None = None,
    lms: dict[str, Any] | None = None,
) -> Assignment:
    """Return an assignment whose criteria are pinned already."""
    world = world or World.preset("weak-base")
    own: dict[str, Any] = {role: simulated_lm(role, world) for role in ("task", "judge", "criteria")}
    own["prompt"] = simulated_lm("prompt", world, temperature=1.0)
    examples = [dspy.Example(query=query).with_inputs("query") for query in queries]
    own |= lms or {}
    reward = DynamicReward(own["judge"], own["criteria"], ledger=_pinned(world, tuple(queries)))
    return assign(
        student or Responder(), examples, RunLMs(**own, metric=reward, meter=Meter()), budget=budget, seed=seed,
        num_threads=num_threads, demos=DEMOS,
    )  # fmt: skip
