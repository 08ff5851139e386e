"""Judge cards of simulated judges with planted faults: how often is the fault named, how often falsely?

    python benchmarks/judge_cards.py --worlds 20 --json judge-cards.json

Each random world is another base model and another judge, unsure of 5 to 40 % of its readings; each fault is planted in
each of them. A fault is *named* if one of its measures is red. A *false alarm* is a red measure that no planted fault
explains; a judge that always says 5 cannot tell anything apart either, so its other red measures are no false alarms.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from drpo import Responder
from drpo.configs.prompts import load_prompts
from drpo.metrics.judge_card.card import JudgeCard
from drpo.serving.simulated.engine import simulated_lm
from drpo.serving.simulated.world import World
from drpo.teleprompters.judge_card import judge_card


@dataclass(frozen=True)
class Fault:
    """One way in which a judge is no good."""

    name: str
    changes: dict[str, float]
    """What it changes in the world."""
    named_by: tuple[str, ...]
    """Measures of which one at least should be red."""
    explains: tuple[str, ...] = ()
    """Further measures that it makes red with good reason."""


FAULTS = (
    Fault("none", {}, ()),
    Fault("likes length", {"length_bias": 1.5}, ("padding", "padding_preference"), ("broken_off",)),
    Fault("leans to the first place", {"position_bias": 1.5}, ("position_preference", "order_consistency")),
    Fault("leans to the second place", {"position_bias": -1.5}, ("position_preference", "order_consistency")),
    Fault(
        "always says 5", {"leniency": 4.0}, ("sameness",), ("off_topic", "broken_off", "canaries_alone", "judges_agree")
    ),
    Fault(
        "is unsure of everything", {"judge_unsure": 1.0, "judge_noise": 1.5}, ("noise",),
        ("order_consistency", "broken_off", "off_topic"),
    ),
    Fault("falls for flattery", {"flattery": 2.0}, ("canaries_alone", "canaries_added")),
    Fault("is often unreadable", {"malformed_rate": 0.4}, ("missing",)),
)  # fmt: skip


def card_of(world: World, *, num_prompts: int, seed: int = 0) -> JudgeCard:
    """Return the card of a world's judge, on prompts that come with the package."""
    lms = {f"{role}_lm": simulated_lm(role, world) for role in ("task", "judge", "criteria")}
    prompts = load_prompts("builtin:prompts").examples
    return judge_card(
        Responder(), prompts, **lms, num_prompts=num_prompts, seed=seed, num_threads=1, display_progress=False
    )


def faults_of(number: int, fault: Fault, *, num_prompts: int) -> tuple[str, ...]:
    """Return the red measures of a random world's judge with a fault planted."""
    return card_of(replace(World.random(number), **fault.changes), num_prompts=num_prompts, seed=number).faults


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    fault: str
    worlds: int
    named: int
    """Worlds in which one of its measures is red."""
    false_alarms: int
    """Worlds in which a measure is red that the fault does not explain."""
    red: dict[str, int]
    """Measure to the number of worlds in which it is red."""


def row_of(fault: Fault, found: list[tuple[str, ...]]) -> Row:
    """Return what cards say of a fault."""
    named = sum(any(name in fault.named_by for name in red) for red in found)
    false = sum(any(name not in fault.named_by + fault.explains for name in red) for red in found)
    return Row(fault.name, len(found), named, false, dict(Counter(name for red in found for name in red)))


def main() -> int:
    parser = argparse.ArgumentParser(description="Print how often judge cards name a planted fault.")
    parser.add_argument("--worlds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="the first world's seed")
    parser.add_argument("--fault", action="append", help="only this fault; repeatable. Default: all")
    parser.add_argument("--prompts", type=int, default=20)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--json", type=Path, help="where the table is written as JSON")
    arguments = parser.parse_args()
    worlds = range(arguments.first, arguments.first + arguments.worlds)
    begin, rows = time.perf_counter(), []
    with ProcessPoolExecutor(arguments.processes) as pool:
        for fault in FAULTS:
            if arguments.fault and fault.name not in arguments.fault:
                continue
            work = partial(faults_of, fault=fault, num_prompts=arguments.prompts)
            rows.append(row_of(fault, list(pool.map(work, worlds))))
    table = Table(title=f"Judge cards of {arguments.worlds} random worlds, {arguments.prompts} prompts each")
    table.add_column("planted fault")
    for heading in ("named", "false alarms"):
        table.add_column(heading, justify="right")
    table.add_column("red measures (worlds)")
    for row in rows:
        red = ", ".join(f"{name} {count}" for name, count in sorted(row.red.items(), key=lambda item: -item[1]))
        named = "-" if row.fault == "none" else f"{row.named} of {row.worlds}"
        table.add_row(row.fault, named, f"{row.false_alarms} of {row.worlds}", red)
    Console(width=120).print(table)
    print(f"{time.perf_counter() - begin:.0f} s")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=2), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
