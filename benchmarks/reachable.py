"""How much of the gain that is there DRPO finds, in random simulated worlds: a bound on what more calls could buy.

    python benchmarks/reachable.py [--worlds 20] [--calls 400 1600] [--json FILE]

DRPO runs as in `equal_calls.py` (same worlds, split and first seed). Then the instruction that it found is exchanged,
under its own demonstrations, for one that is written with full knowledge of the world:

    rules = []
    while some wording of some facet, added as a rule, raises the true quality on 40 training queries: add the best one

within the limits that DRPO's instructions have (12 rules, 220 words). True quality has no noise, and no model has such
knowledge: `reachable` is what a search could find at best if it knew all that can be known of each rule. It is greedy,
so a little more may be possible; and it keeps the demonstrations, so it bounds the search of instructions only.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import dspy
import numpy as np
from equal_calls import assigned, interval, prepared
from rich.console import Console
from rich.table import Table

from drpo import Responder
from drpo.programs.rules import words
from drpo.serving.simulated.facets import FACETS
from drpo.serving.simulated.world import World
from drpo.teleprompters.candidates import instruct
from drpo.teleprompters.comparison.entrants import ENTRANTS, compiled
from drpo.teleprompters.presets import MEDIUM

KNOWN = 40
"""Training queries that the rules are chosen on."""
LEAST = 1e-4
"""True quality that a rule must add."""


def measure(number: int, *, calls: Sequence[int]) -> list[dict[str, Any]]:
    """Return, per budget, what DRPO found in a world and what could be reached."""
    world, split = World.random(number), prepared(number, 0)
    instruction = best_instruction(world, [example.query for example in split.train[:KNOWN]])
    without_demos = world.true_quality(instructed(Responder(), instruction), split.tested) - split.before
    rows = []
    for budget in calls:
        done = compiled(ENTRANTS["drpo"], assigned(number, 0, budget))
        found = done.ended.found
        assert found is not None
        rows.append(
            {
                "world": number, "calls": budget,
                "found": world.true_quality(found, split.tested) - split.before,
                "reachable": world.true_quality(instructed(found, instruction), split.tested) - split.before,
                "without_demos": without_demos,
                "instruction": instruction,
            }
        )  # fmt: skip
    return rows


def best_instruction(world: World, queries: Sequence[str]) -> str:
    """Return the instruction that the loop above ends with."""
    text, best = Responder().predictors()[0].signature.instructions, world.true_quality(Responder(), queries)
    for _ in range(MEDIUM.max_rules):
        options = [f"{text}\n- {says}" for facet in FACETS for says in facet.says]
        value, option = max(
            (world.true_quality(instructed(Responder(), option), queries), option)
            for option in options
            if len(words(option)) <= MEDIUM.max_words
        )
        if value <= best + LEAST:
            break
        text, best = option, value
    return text


def instructed(program: dspy.Module, instruction: str) -> dspy.Module:
    """Return a program of one predictor with another instruction."""
    [(name, _)] = program.named_predictors()
    return instruct(program, ((name, instruction),))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, nargs="+", default=[400, 1600], help="budgets, all roles together")
    parser.add_argument("--worlds", type=int, default=20, help="how many worlds")
    parser.add_argument("--first-world", type=int, default=0, help="seed of the first world")
    parser.add_argument("--processes", type=int, default=2, help="worlds at the same time")
    parser.add_argument("--json", type=Path, help="where the rows are written")
    arguments = parser.parse_args()
    worlds = range(arguments.first_world, arguments.first_world + arguments.worlds)
    with ProcessPoolExecutor(arguments.processes) as executor:
        rows = [row for found in executor.map(partial(measure, calls=arguments.calls), worlds) for row in found]
    table = Table(title=f"True gain found and reachable, simulated; {len(worlds)} worlds")
    for heading in ("calls", "found", "95 %", "reachable", "share", "95 % ", "without demonstrations"):
        table.add_column(heading, justify="right")
    for calls in arguments.calls:
        mine = [row for row in rows if row["calls"] == calls]
        found, reachable = (np.array([row[name] for row in mine]) for name in ("found", "reachable"))
        drawn = np.random.default_rng(0).integers(0, len(mine), (10_000, len(mine)))
        shares = found[drawn].sum(axis=1) / reachable[drawn].sum(axis=1)
        low, high = interval(list(found), [row["world"] for row in mine])
        least, most = np.quantile(shares, [0.025, 0.975])
        table.add_row(
            f"{calls:,}", f"{found.mean():+.4f}", f"{low:+.4f} to {high:+.4f}", f"{reachable.mean():+.4f}",
            f"{found.sum() / reachable.sum():.0%}", f"{least:.0%} to {most:.0%}",
            f"{np.mean([row['without_demos'] for row in mine]):+.4f}",
        )  # fmt: skip
    Console(width=120).print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
