"""A small comparison in the simulated world: what an entrant is given in tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dspy

from drpo import DynamicReward, Responder
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
    pinning = DynamicReward(own["judge"], own["criteria"])
    for example in examples:
        pinning.criteria_of(example)
    own |= lms or {}
    reward = DynamicReward(own["judge"], own["criteria"], ledger=pinning.ledger)
    return assign(
        student or Responder(), examples, RunLMs(**own, metric=reward, meter=Meter()), budget=budget, seed=seed,
        num_threads=num_threads, demos=DEMOS,
    )  # fmt: skip
