"""Judge cards of simulated judges with planted faults: how often is the fault named, how often falsely?

    python benchmarks/judge_cards.py --worlds 20 --json judge-cards.json

Each random world is another base model and another judge, unsure of 5 to 40 % of its readings; each fault is planted in
each of them, large and small. A fault is *named* if one of its measures is red, and *seen* if one of them is red, or
amber by more than luck. A *false alarm* is a red measure that no planted fault explains; a judge that always says 5
cannot tell anything apart either, so its other red measures are no false alarms. The light is that of the whole card.
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
from drpo.metrics.judge_card.lights import Light
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


_LENGTH = ("padding", "padding_preference")
_ORDER = ("position_preference", "order_consistency")
FAULTS = (
    Fault("none", {}, ()),
    *(
        Fault(f"likes length: {size:g} levels per e-fold", {"length_bias": size}, _LENGTH, ("broken_off",))
        for size in (1.5, 0.75, 0.5)
    ),
    *(
        Fault(f"leans to the {place} place by {abs(size):g} levels", {"position_bias": size}, _ORDER)
        for place, size in (("first", 1.5), ("first", 0.5), ("first", 0.25), ("second", -1.5))
    ),
    Fault(
        "always says 5", {"leniency": 4.0}, ("sameness",), ("off_topic", "broken_off", "canaries_alone", "judges_agree")
    ),
    Fault(
        "is unsure of everything", {"judge_unsure": 1.0, "judge_noise": 1.5}, ("noise",),
        ("order_consistency", "broken_off", "off_topic"),
    ),
    *(
        Fault(f"rewards flattery by {size:g}", {"flattery": size}, ("canaries_alone", "canaries_added"))
        for size in (2.0, 1.0, 0.5)
    ),
    *(
        Fault(f"{rate:.0%} of its replies unreadable", {"malformed_rate": rate}, ("missing",))
        for rate in (0.4, 0.2)
    ),
)  # fmt: skip


def card_of(world: World, *, num_prompts: int, seed: int = 0) -> JudgeCard:
    """Return the card of a world's judge, on prompts that come with the package."""
    lms = {f"{role}_lm": simulated_lm(role, world) for role in ("task", "judge", "criteria")}
    prompts = load_prompts("builtin:prompts").examples
    return judge_card(
        Responder(), prompts, **lms, num_prompts=num_prompts, seed=seed, num_threads=1, display_progress=False
    )


def lights_of(number: int, fault: Fault, *, num_prompts: int) -> Lights:
    """Return the lights of a random world's judge with a fault planted."""
    card = card_of(replace(World.random(number), **fault.changes), num_prompts=num_prompts, seed=number)
    amber = (one for one in card.measures if one.light is Light.AMBER and one.decides)
    return Lights(card.light, card.faults, tuple(one.name for one in amber if not one.may_be_luck))


@dataclass(frozen=True)
class Lights:
    """What one card shows."""

    card: Light
    red: tuple[str, ...]
    amber: tuple[str, ...]
    """The amber measures but those that may be luck."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    fault: str
    worlds: int
    named: int
    """Worlds in which one of its measures is red."""
    seen: int
    """Worlds in which one of them is red or amber."""
    false_alarms: int
    """Worlds in which a measure is red that the fault does not explain."""
    lights: dict[str, int]
    """Light of the whole card to the number of worlds."""
    red: dict[str, int]
    """Measure to the number of worlds in which it is red."""


def row_of(fault: Fault, cards: list[Lights]) -> Row:
    """Return what cards say of a fault."""
    own, explained = set(fault.named_by), {*fault.named_by, *fault.explains}
    return Row(
        fault=fault.name,
        worlds=len(cards),
        named=sum(bool(own.intersection(card.red)) for card in cards),
        seen=sum(bool(own.intersection(card.red + card.amber)) for card in cards),
        false_alarms=sum(bool(set(card.red) - explained) for card in cards),
        lights=dict(Counter(card.card.value for card in cards)),
        red=dict(Counter(name for card in cards for name in card.red)),
    )


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
            work = partial(lights_of, fault=fault, num_prompts=arguments.prompts)
            rows.append(row_of(fault, list(pool.map(work, worlds))))
    table = Table(title=f"Judge cards of {arguments.worlds} random worlds, {arguments.prompts} prompts each")
    table.add_column("planted fault")
    for heading in ("named", "seen", "false alarms", "green", "amber", "red"):
        table.add_column(heading, justify="right")
    table.add_column("red measures (worlds)")
    for row in rows:
        red = ", ".join(f"{name} {count}" for name, count in sorted(row.red.items(), key=lambda item: -item[1]))
        found = ("-", "-") if row.fault == "none" else (f"{row.named} of {row.worlds}", f"{row.seen} of {row.worlds}")
        lights = (str(row.lights.get(light.value, 0)) for light in (Light.GREEN, Light.AMBER, Light.RED))
        table.add_row(row.fault, *found, f"{row.false_alarms} of {row.worlds}", *lights, red)
    Console(width=140).print(table)
    print(f"{time.perf_counter() - begin:.0f} s")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=2), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
