"""True gain of every optimizer at equal numbers of LM calls, in random simulated worlds.

    python benchmarks/equal_calls.py --json rows.jsonl              # all of it: hours of computing
    python benchmarks/equal_calls.py --json rows.jsonl --seeds 1    # less; more seeds may be added later
    python benchmarks/equal_calls.py --json rows.jsonl --table      # the table of the rows that are there

Each run sees 120 of the shipped prompts, whose criteria are pinned beforehand, and is measured on the other 60. All
entrants get the same LMs, reward and number of calls over all roles (`drpo.teleprompters.comparison`). Worlds are
`random-0` to `random-19` unless said otherwise; nothing was tuned on worlds of seeds below 100.

`returned` is the true gain of the program that is returned. DRPO's default mode returns the student unless held-out
queries show a gain, for which it spends a part of its calls; no other entrant has such a check. `found` is the gain of
its best candidate all the same. Rows are written as they are finished, and rows that are there are not run again.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import sys
import time
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import dspy
import numpy as np
from rich.console import Console
from rich.table import Table

from drpo import DynamicReward, Responder
from drpo.metrics.ledger import Ledger
from drpo.serving.meter import Meter
from drpo.serving.simulated.engine import simulated_lm
from drpo.serving.simulated.world import World
from drpo.teleprompters.comparison.assignment import Assignment, assign
from drpo.teleprompters.comparison.entrants import BASELINES, ENTRANTS, compiled
from drpo.teleprompters.roles import RunLMs

TRAIN, TESTED = 120, 60
DATA = Path(__file__).parents[1] / "configs" / "data"


@dataclass(frozen=True)
class Job:
    """One entrant's run."""

    entrant: str
    """Who."""
    world: int
    """Seed of the random world."""
    seed: int
    """Decides the split of the prompts and what the entrant draws."""
    calls: int
    """Its budget."""


def run(job: Job) -> dict[str, Any]:
    """Return what one run came to."""
    world, split = World.random(job.world), prepared(job.world, job.seed)
    tested, before = split.tested, split.before
    assignment = assigned(job.world, job.seed, job.calls)
    begin = time.perf_counter()
    done = compiled(ENTRANTS.get(job.entrant) or BASELINES[job.entrant], assignment)
    seconds = time.perf_counter() - begin
    returned = world.true_quality(done.program, tested) - before
    found = done.ended.found
    instruction = done.program.predictors()[0].signature.instructions
    return {
        **asdict(job), "returned": returned,
        "found": returned if found is None else world.true_quality(found, tested) - before,
        "decision": done.ended.details.get("decision"), "used": done.calls, "stopped": done.stopped is not None,
        "imputed": done.ended.imputed, "words": len(instruction.split()), "settings": done.settings,
        "seconds": seconds,
    }  # fmt: skip


def assigned(number: int, seed: int, calls: int) -> Assignment:
    """Return what an entrant is given in a world."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    lms, split = _lms(World.random(number)), prepared(number, seed)
    reward = DynamicReward(lms["judge"], lms["criteria"], ledger=split.ledger)
    demos = [{"query": row["query"], "response": row["response"]} for row in _lines("demos.jsonl")]
    return assign(
        Responder(), split.train, RunLMs(**lms, metric=reward, meter=Meter()), budget=calls, seed=seed, demos=demos
    )


@dataclass(frozen=True)
class Split:
    """The prompts of a run."""

    train: list[dspy.Example]
    """Those that it sees."""
    tested: list[str]
    """Those that it is measured on."""
    ledger: Ledger
    """The criteria of the first."""
    before: float
    """The student's true quality on the second."""


@lru_cache(maxsize=4)
def prepared(number: int, seed: int) -> Split:
    """Return the prompts of a run in a world, their criteria pinned."""
    world, rows = World.random(number), _lines("prompts.jsonl")
    random.Random(f"{number} {seed}").shuffle(rows)
    examples = [dspy.Example(**row).with_inputs("query") for row in rows]
    train, tested = examples[:TRAIN], [example.query for example in examples[TRAIN : TRAIN + TESTED]]
    lms = _lms(world)
    reward = DynamicReward(lms["judge"], lms["criteria"])
    with dspy.context(disable_history=True):
        for example in train:
            reward.criteria_of(example)
    return Split(train, tested, reward.ledger, world.true_quality(Responder(), tested))


def _lms(world: World) -> dict[str, Any]:
    lms = {role: simulated_lm(role, world) for role in ("task", "judge", "criteria")}
    return lms | {"prompt": simulated_lm("prompt", world, temperature=1.0)}


def _lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


def interval(values: Sequence[float], worlds: Sequence[int]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a mean, resampling whole worlds."""
    names = sorted(set(worlds))
    own = np.array([np.sum([value for value, world in zip(values, worlds, strict=True) if world == name])
                    for name in names])  # fmt: skip
    counts = np.array([list(worlds).count(name) for name in names])
    drawn = np.random.default_rng(0).integers(0, len(names), (10_000, len(names)))
    low, high = np.quantile(own[drawn].sum(axis=1) / counts[drawn].sum(axis=1), [0.025, 0.975])
    return float(low), float(high)


def table(rows: Sequence[dict[str, Any]], calls: int) -> Table:
    """Return the entrants at one budget, the best mean first."""
    by = {name: {(row["world"], row["seed"]): row for row in rows if row["entrant"] == name and row["calls"] == calls}
          for name in [*ENTRANTS, *BASELINES]}  # fmt: skip
    by = {name: mine for name, mine in by.items() if mine}
    shared = set.intersection(*(set(mine) for mine in by.values()))
    keys = sorted(shared)
    worlds = [world for world, _ in keys]
    shown = Table(title=f"{calls:,} calls: true gain, simulated; {len(set(worlds))} worlds, {len(keys)} runs each")
    for heading in ("entrant", "returned", "95 %", "found", "drpo minus it", "95 % ", "used", "least", "words"):
        shown.add_column(heading, justify="left" if heading == "entrant" else "right")

    def mean(name: str, key: str) -> float:
        return float(np.mean([by[name][one][key] for one in keys]))

    for name in sorted(by, key=lambda name: -mean(name, "returned")):
        values = [by[name][key]["returned"] for key in keys]
        low, high = interval(values, worlds)
        against: tuple[str, str] = ("", "")
        if "drpo" in by and name != "drpo":
            differences = [by["drpo"][key]["returned"] - by[name][key]["returned"] for key in keys]
            least, most = interval(differences, worlds)
            against = f"{np.mean(differences):+.4f}", f"{least:+.4f} to {most:+.4f}"
        used = [by[name][key]["used"] for key in keys]
        shown.add_row(
            name, f"{mean(name, 'returned'):+.4f}", f"{low:+.4f} to {high:+.4f}",
            f"{mean(name, 'found'):+.4f}" if name == "drpo" else "", *against,
            f"{np.mean(used):,.0f}", f"{min(used):,}", f"{mean(name, 'words'):.0f}",
        )  # fmt: skip
    return shown


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entrants", default=",".join([*ENTRANTS, *BASELINES]), help="names, separated by commas")
    parser.add_argument("--calls", type=int, nargs="+", default=[400, 1600], help="budgets, all roles together")
    parser.add_argument("--worlds", type=int, default=20, help="how many worlds")
    parser.add_argument("--first-world", type=int, default=0, help="seed of the first world")
    parser.add_argument("--seeds", type=int, default=3, help="runs per world")
    parser.add_argument("--processes", type=int, default=2, help="runs at the same time")
    parser.add_argument("--table", action="store_true", help="run nothing, show what is there")
    parser.add_argument("--json", type=Path, help="where rows are written, one JSON object a line, and read from")
    arguments = parser.parse_args()
    worlds = range(arguments.first_world, arguments.first_world + arguments.worlds)
    rows: list[dict[str, Any]] = []
    if arguments.json and arguments.json.exists():
        rows = [json.loads(line) for line in arguments.json.read_text(encoding="utf-8").splitlines()]
    done = {tuple(row[name] for name in Job.__dataclass_fields__) for row in rows}
    jobs = [
        Job(name, world, seed, calls)
        for seed in range(arguments.seeds) for world in worlds
        for calls in arguments.calls for name in arguments.entrants.split(",")
    ]  # fmt: skip
    jobs = [] if arguments.table else [job for job in jobs if tuple(asdict(job).values()) not in done]
    with ProcessPoolExecutor(arguments.processes) as executor:
        for future in as_completed([executor.submit(run, job) for job in jobs]):
            rows.append(future.result())
            if arguments.json:
                with arguments.json.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
    console = Console(width=150)
    for calls in sorted({row["calls"] for row in rows}):
        console.print(table([row for row in rows if row["world"] in worlds], calls))
    return 0


if __name__ == "__main__":
    sys.exit(main())
