"""Random budgets: is a cap ever exceeded by more than the calls under way, and what does a run make of a small one?

Runs of simulated models in this process, each under one to three caps drawn at random: calls, tokens, dollars (at
made-up token prices) and seconds, over all roles or for one, from far too little to more than enough; with 1 to 16
threads, the default search or the paper's. What a run used is counted by the engines themselves, not by drpo.

* calls: never more requests than the cap;
* the others: what was used, less the largest `num_threads` calls, stays below the cap. Seconds over all roles are those
  on the clock: what was begun after the cap is counted.

    python benchmarks/budgets.py --budgets 200 --json budgets.json
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import dspy
from dspy.lm15 import Request, Response
from rich.console import Console
from rich.table import Table

from drpo import DRPOTeleprompter, DynamicReward, Responder
from drpo.configs.prompts import load_prompts
from drpo.errors import BudgetExceededError
from drpo.serving.simulated.engine import ROLES, SimulatedEngine
from drpo.serving.simulated.models import SimulatedModels
from drpo.serving.simulated.world import World

ROLE_NAMES = ("task", "judge", "criteria", "prompt")
INPUT_PRICE, OUTPUT_PRICE = 0.15e-6, 0.60e-6
"""Dollars per token."""
ENOUGH = {"max_lm_calls": 500, "max_tokens": 500_000, "max_cost": 0.12, "max_seconds": 900.0}
"""About what a `light` run of this benchmark takes; seconds are the sum of a simulated judge's and task's."""
WALL = 2.5
"""The same in seconds on the clock."""


@dataclass(frozen=True)
class Spent:
    """One reply, as the engine that gave it counts it."""

    role: str
    begun: float
    max_tokens: float
    max_cost: float
    max_seconds: float
    max_lm_calls: float = 1.0


class Watched(SimulatedEngine):
    """A simulated engine with a price that keeps what it gave."""

    def __init__(self, models: SimulatedModels, role: str, spent: list[Spent]) -> None:
        super().__init__(models)
        self._role, self._spent, self._own_lock = role, spent, threading.Lock()

    def complete(self, request: Request) -> Response:
        """Return the reply, and keep what it took."""
        begun = time.monotonic()
        response = super().complete(request)
        used = response.usage
        tokens = (used.input_tokens or 0) + (used.output_tokens or 0)
        with self._own_lock:
            self._spent.append(Spent(self._role, begun, tokens, self.price(response), self.seconds(response)))
        return response

    def price(self, response: Response) -> float:  # type: ignore[override]  # a simulated call has none of its own
        """Return its dollars."""
        used = response.usage
        return INPUT_PRICE * (used.input_tokens or 0) + OUTPUT_PRICE * (used.output_tokens or 0)


@dataclass(frozen=True)
class Ended:
    """How one run ended."""

    caps: dict[str, Any]
    auto: str
    num_threads: int
    broken: list[str]
    """Caps that were exceeded by more than the calls under way."""
    over: dict[str, float]
    """By which share of itself a cap was exceeded at all."""
    stopped: str | None
    """What ended it, None: its own end."""
    compared: bool
    """Whether it ended with a held-out comparison."""


def caps_at_random(draw: random.Random) -> dict[str, Any]:
    """Return one to three caps, each from a hundredth of enough to twice that."""
    caps: dict[str, Any] = {}
    for name in draw.sample(sorted(ENOUGH), draw.choice([1, 1, 2, 3])):
        share = 10 ** draw.uniform(-2, 0.3)
        whole = name in ("max_lm_calls", "max_tokens")
        if draw.random() < 0.3:
            role = draw.choice(ROLE_NAMES)
            caps[name] = {role: max(1, round(ENOUGH[name] * share / 3)) if whole else ENOUGH[name] * share / 3}
        elif name == "max_seconds":
            caps[name] = WALL * share
        else:
            caps[name] = max(1, round(ENOUGH[name] * share)) if whole else ENOUGH[name] * share
    return caps


def one(number: int, seed: int) -> Ended:
    """Make one run, and compare what was used with what was allowed."""
    draw = random.Random(f"{seed}/{number}")
    caps, num_threads = caps_at_random(draw), draw.choice([1, 2, 4, 8, 16])
    auto = draw.choice(["light", "light", "paper"])
    spent: list[Spent] = []
    models = SimulatedModels(World.named(f"random-{number}"))
    lms = {
        role: dspy.LM(f"sim/{ROLES[role]}", engine=Watched(models, role, spent), cache=False, temperature=0.0)
        for role in ROLE_NAMES
    }
    examples = load_prompts("builtin:prompts").examples
    search: dict[str, Any] = {"auto": auto} if auto == "light" else {"auto": auto, "depth": 6}
    optimizer = DRPOTeleprompter(
        DynamicReward(), **{f"{role}_lm": lm for role, lm in lms.items()}, **search, **caps,
        num_threads=num_threads, display_progress=False,
    )  # fmt: skip
    begin, stopped, compared = time.monotonic(), None, False
    try:
        program = optimizer.compile(Responder(), trainset=examples[:60], valset=examples[60:90])
    except BudgetExceededError as error:
        stopped = str(error)
    else:
        stopped, compared = program.drpo_result["stopped"], program.drpo_result["gain"] is not None
    broken, over = [], {}
    for name, value in caps.items():
        for role, limit in value.items() if isinstance(value, dict) else [(None, value)]:
            used, excused = usage(spent, name, role, num_threads, limit, begin)
            if used > limit:
                over[f"{name}/{role}"] = used / limit - 1
            if used - excused > limit or (name == "max_lm_calls" and used > limit):
                broken.append(f"{name}[{role}]={limit}: {used}")
    return Ended(caps, auto, num_threads, broken, over, stopped, compared)


def usage(
    spent: list[Spent], name: str, role: str | None, num_threads: int, limit: float, begin: float
) -> tuple[float, float]:
    """Return what was used of what a cap bounds, and how much of it may have been under way when it was reached."""
    if name == "max_seconds" and role is None:
        late = sorted(one.begun - begin for one in spent)[-num_threads:]
        # A call may be admitted just before the time is over and begin just after it.
        return (late[-1] if late else 0.0), 0.05 + sum(item > limit for item in late[:1])
    amounts = sorted(getattr(item, name) for item in spent if role in (None, item.role))
    return sum(amounts), sum(amounts[-num_threads:])


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budgets", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    runs = []
    for number in range(arguments.budgets):
        runs.append(one(number, arguments.seed))
        print(f"\r{number + 1} of {arguments.budgets}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    table = Table(title=f"{len(runs)} random budgets")
    for heading in ("cap", "runs with it", "exceeded by calls under way", "at most by", "exceeded by more"):
        table.add_column(heading, justify="right" if heading != "cap" else "left")
    for name in ENOUGH:
        with_it = [run for run in runs if name in run.caps]
        over = [share for run in with_it for key, share in run.over.items() if key.startswith(name)]
        broken = sum(any(text.startswith(name) for text in run.broken) for run in with_it)
        most = f"{max(over):.1%}" if over else "-"
        table.add_row(name, str(len(with_it)), str(len(over)), most, str(broken))
    Console().print(table)
    ends = Counter(
        "its own end" if run.stopped is None else "a cap, with a comparison" if run.compared else "a cap, without one"
        for run in runs
    )
    Console().print(", ".join(f"{how}: {count}" for how, count in ends.most_common()))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(run) for run in runs], indent=2))
    for run in runs:
        for text in run.broken:
            print("EXCEEDED", text, run.auto, run.num_threads)
    sys.exit(any(run.broken for run in runs))


if __name__ == "__main__":
    main()
