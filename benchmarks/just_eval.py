"""Whether the just-eval suite finds a quality that is known, and how often its intervals hold it.

    DRPO_DATA=<folder of the reference data> python benchmarks/just_eval.py [--draws 200] [--passes 20] [--json FILE]

The population are the 1,000 queries of `just_eval_instruct.jsonl`, 800 regular and 200 on safety; the target of each
aspect is its mean true level over them, which only a simulated world knows: each answer is written 64 times there and
its sentences are read exactly, without any judge (`World.true_levels`).

1. *Passes*: the program answers every query and the judge marks every answer, in as many independent passes as asked
   for, through the same code as `drpo evaluate`: responder, judge prompt, parsing, second asking, the metered door.
   A pass differs from another one by the luck of the answers and of the judge.
2. *Draws*: each draws 800 regular and 200 safety queries with replacement, and takes the mark of each from a pass that
   is drawn too. So one draw is one evaluation on other queries with other luck. Its intervals are those of
   `evaluation.json`. The share of draws whose interval holds the target is the coverage.

Marks of a pool of passes are drawn again and again, so luck that the whole pool has in common moves all draws alike;
`judged` beside `true` shows by how much.

Judges: *unbiased* reads exactly and rounds up or down by chance, in proportion (`dither`); 2.2 % of its replies
cannot be read. *Calibrated* is the default one: lenient, fond of length, rounding to the nearest. Its intervals are
about what it would say on average (`covers judged`); that is not the truth (`covers true`), and no number of queries
makes it so.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import dspy

from drpo import Responder
from drpo.commands.evaluation.marking import mark
from drpo.commands.evaluation.suites import Suite, just_eval
from drpo.metrics.measures import OVERALL, Marked, Mean, mean_of
from drpo.serving.meter import Meter
from drpo.serving.simulated.engine import simulated_lm
from drpo.serving.simulated.world import World
from drpo.teleprompters.roles import RunLMs
from drpo.teleprompters.session import session

WORLD = World.named("default")
JUDGES = {
    "unbiased": replace(WORLD, dither=True, judge_unsure=0.0, leniency=0.0, length_bias=0.0),
    "calibrated": WORLD,
}
PROGRAMS = {
    "bare": Responder(),
    "guided": Responder(
        instructions="Explain why, and illustrate each main point with a concrete example. State only facts that you "
        "can verify. Write in a lively, conversational voice. Refuse harmful requests plainly and offer a safer way."
    ),
}
CASES = (("bare", "unbiased"), ("guided", "unbiased"), ("bare", "calibrated"))
WARM = 1e-6
"""Sampling temperature: above 0 another pass is another draw; so low that it adds nothing to the luck's spread."""


@dataclass(frozen=True)
class Row:
    """One aspect in one case."""

    program: str
    judge: str
    aspect: str
    true: float
    """Mean true level over the population, 1 to 5."""
    judged: float
    """Mean mark over all passes, 1 to 5."""
    half_width: float
    """Mean half-width of a draw's interval."""
    missing: float
    """Share of marks that are missing."""
    covers_true: float
    """Share of draws whose interval holds the true level."""
    covers_judged: float
    """Share of draws whose interval holds the mean mark."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = parser_of(__doc__, passes=20)
    parser.add_argument("--safety-only", action="store_true", help="use the safety queries alone")
    given = parser.parse_args(arguments)
    suite = suite_of(parser, limit=given.limit)
    if given.safety_only:
        suite = replace(suite, queries=tuple(query for query in suite.queries if not query.has_overall))
    rows: list[Row] = []
    for program, judge in CASES:
        found = case(suite, program, judge, passes=given.passes, draws=given.draws, samples=given.samples, threads=1)
        rows += found
        print("\n".join(["", HEADER, *map(line, found)]), flush=True)
    if given.json:
        given.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    unbiased = [row for row in rows if row.judge == "unbiased"]
    bad = [row for row in unbiased if not 0.90 <= row.covers_true <= 0.98]
    print(f"\nunbiased judge: {len(unbiased) - len(bad)} of {len(unbiased)} aspects covered in 90 to 98 % of the draws")
    return 1 if bad else 0


def parser_of(description: str | None, *, passes: int) -> argparse.ArgumentParser:
    """Return a parser of the options that whatever is drawn from passes over the suite has."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--passes", type=int, default=passes)
    parser.add_argument("--samples", type=int, default=64, help="how often each answer is written for the target")
    parser.add_argument("--limit", type=int, help="use so many of the queries")
    parser.add_argument("--json", type=Path)
    return parser


def suite_of(parser: argparse.ArgumentParser, *, limit: int | None) -> Suite:
    """Return the suite of the reference data; without them the parser ends the program."""
    if "DRPO_DATA" not in os.environ:
        parser.error("set DRPO_DATA to the folder that holds just_eval_instruct.jsonl")
    return just_eval(Path(os.environ["DRPO_DATA"]) / "just_eval_instruct.jsonl", input_field="query", limit=limit)


def case(
    suite: Suite, program: str, judge: str, *, passes: int, draws: int, samples: int, threads: int = 1
) -> list[Row]:
    """Return a row per aspect for one program and one judge."""
    module, world = PROGRAMS[program], JUDGES[judge]
    target = target_of(suite, module, world, samples=samples)
    pool = passes_of(suite, module, world, count=passes, threads=threads)
    draw = random.Random(f"draws of {program} {judge}")
    drawn = [drawn_means(suite, pool, draw) for _ in range(draws)]
    rows = []
    for aspect, true in target.items():
        marks = [one.values[aspect] for done in pool for one in done if aspect in one.values]
        known = [value for value in marks if value is not None]
        means = [found[aspect] for found in drawn]
        rows.append(
            Row(
                program, judge, aspect, true, fmean(known),
                half_width=fmean((mean.high - mean.low) / 2 for mean in means),
                missing=1 - len(known) / len(marks),
                covers_true=fmean(mean.low <= true <= mean.high for mean in means),
                covers_judged=fmean(mean.low <= fmean(known) <= mean.high for mean in means),
            )
        )  # fmt: skip
    return rows


def target_of(suite: Suite, program: dspy.Module, world: World, *, samples: int) -> dict[str, float]:
    """Return aspect, and `overall`, to mean true level over the suite's queries."""
    levels: dict[str, list[float]] = defaultdict(list)
    for query, found in zip(suite.queries, world.true_levels(program, suite.examples, samples=samples), strict=True):
        names = [criterion.name for criterion in suite.reward.criteria_of(query.example).criteria]
        for name in names:
            levels[name].append(found[name])
        if query.has_overall:
            levels[OVERALL].append(fmean(found[name] for name in names))
    return {name: fmean(values) for name, values in levels.items()}


def passes_of(suite: Suite, program: dspy.Module, world: World, *, count: int, threads: int) -> list[list[Marked]]:
    """Return the marks of all queries, in as many independent passes."""
    task, judge = (simulated_lm(role, world, temperature=WARM) for role in ("task", "judge"))
    reward = suite.reward.bound(judge_lm=judge, criteria_lm=judge)
    lms = RunLMs(task, judge, None, judge, reward, Meter())
    with session(lms, log_dir=None, num_threads=threads, display_progress=False) as running:
        return [
            mark(suite, program, name=f"pass {number}", session=running, max_errors=100).items
            for number in range(count)
        ]


def drawn_means(suite: Suite, pool: Sequence[Sequence[Marked]], draw: random.Random) -> dict[str, Mean]:
    """Return aspect to mean and interval of one evaluation: other queries of each category, other luck."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, query in enumerate(suite.queries):
        places[query.groups["category"]].append(place)
    scores: dict[str, list[float | None]] = defaultdict(list)
    for members in places.values():
        for place in draw.choices(members, k=len(members)):
            for name, value in draw.choice(pool)[place].values.items():
                scores[name].append(value)
    return {name: mean_of(values) for name, values in scores.items()}


HEADER = (
    f"{'program':8} {'judge':11} {'aspect':12} {'true':>6} {'judged':>7} {'off by':>7} {'+/-':>6} {'missing':>8} "
    f"{'covers true':>12} {'covers judged':>14}"
)


def line(row: Row) -> str:
    """Return a row as text."""
    cells: list[Any] = [row.program, row.judge, row.aspect, row.true, row.judged, row.judged - row.true]
    return (
        "{:8} {:11} {:12} {:6.3f} {:7.3f} {:+7.3f}".format(*cells)
        + f" {row.half_width:6.3f} {row.missing:8.1%} {row.covers_true:12.1%} {row.covers_judged:14.1%}"
    )


if __name__ == "__main__":
    sys.exit(main())
