"""True gain against LM calls in random simulated worlds: both modes, other selections, and each piece left out.

    python benchmarks/search.py                                   # the comparison at 400 and 1,600 calls
    python benchmarks/search.py --variants ablation --calls 400   # each piece of the default mode left out
    python benchmarks/search.py --variants default --no-gain      # worlds where no instruction helps

Worlds are `random-0` to `random-19` unless said otherwise; the settings of the default mode were chosen on worlds of
seeds 100 and above. Each run sees 120 of the shipped prompts and is measured on the other 60, which neither search nor
final selection ever saw. `found` is the true gain of the best candidate, `returned` that of the program returned:
nothing, if the held-out decision was "no gain".

Two truths are compared with the held-out interval. `judged` is what the interval is about: the difference of the
rewards that this judge gives, expected over its noise, the answers' luck and all shipped prompts. `true` is the
difference of true quality, which a judge that rounds and is lenient compresses near its ceiling.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import dspy
import numpy as np
from rich.console import Console
from rich.table import Table

from drpo import DRPOTeleprompter, DynamicReward, Responder
from drpo.serving.simulated.engine import SimulatedEngine, simulated_lm
from drpo.serving.simulated.models import SimulatedModels
from drpo.serving.simulated.world import World
from drpo.teleprompters import batches, complaints, default_mode, minibatch, minibatch_proposals, presets, racing
from drpo.teleprompters.board import Board

TRAIN, TESTED = 120, 60


@dataclass(frozen=True)
class Variant:
    """One way to search."""

    arguments: dict[str, Any]
    """Arguments of the optimizer; `auto` is the budget's preset unless it stands here."""
    without: str = ""
    """The piece that is left out."""


def _default(**arguments: Any) -> Variant:
    return Variant(arguments)


VARIANTS: dict[str, Variant] = {
    "default": _default(),
    "paper": _default(auto="paper"),
    "paper, as deep as calls go": _default(auto="paper", depth=120, max_depth_increase=0),
    "greedy": _default(select="greedy"),
    "monte carlo": _default(select="mc"),
    "beam of 2": _default(beam_size=2),
    "pareto of 2": _default(select="pareto", beam_size=2),
    "instructions only": _default(optimize_demos=False),
    "no demo rewrites": _default(demo_iters=0),
    **{
        f"without {name}": Variant({}, name)
        for name in ("merging", "shares", "racing", "shrinkage", "shuffled batches", "favourite", "screening",
                     "history", "good demos")
    },
}  # fmt: skip
GROUPS = {
    "main": ("default", "paper", "paper, as deep as calls go", "instructions only", "monte carlo"),
    "ablation": tuple(name for name in VARIANTS if not name.startswith("paper")),
    "default": ("default",),
}
PRESETS = ((0, "light"), (800, "medium"), (2400, "heavy"))


@dataclass(frozen=True)
class Job:
    """One compile."""

    variant: str
    world: int
    seed: int
    calls: int
    kind: str = "random"
    judged: bool = True


def run(job: Job) -> dict[str, Any]:
    """Return what one compile found."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    variant, world = VARIANTS[job.variant], WORLDS[job.kind](job.world)
    queries = _queries()
    random.Random(f"{job.world} {job.seed}").shuffle(queries)
    examples = [dspy.Example(**row).with_inputs("query") for row in queries]
    train, tested = examples[:TRAIN], [example.query for example in examples[TRAIN : TRAIN + TESTED]]
    lms = {f"{role}_lm": simulated_lm(role, world) for role in ("task", "judge", "criteria")}
    lms["prompt_lm"] = simulated_lm("prompt", world, temperature=1.0)
    auto = next(name for least, name in reversed(PRESETS) if job.calls >= least)
    begin = time.perf_counter()
    with left_out(variant.without), dspy.context(disable_history=True):
        optimizer = DRPOTeleprompter(
            **{"auto": auto, "max_lm_calls": job.calls, "num_threads": 1, "seed": job.seed, "on_no_gain": "best"}
            | lms
            | variant.arguments
        )
        program = optimizer.compile(Responder(), trainset=train)
    result = program.drpo_result
    seed_quality = world.true_quality(Responder(), tested)
    found = world.true_quality(program, tested) - seed_quality
    bounds = result["gain_ci"]
    judged = None
    if bounds is not None and job.judged:
        every = [row["query"] for row in queries]
        judged = expected_reward(world, program, every) - expected_reward(world, Responder(), every)
    return {
        **asdict(job),
        "found": found,
        "returned": 0.0 if result["decision"] == "no_gain" else found,
        "decision": result["decision"],
        "part": result.get("returned"),
        "gain": result["gain"],
        "judged_gain": judged,
        "covered": None if bounds is None or judged is None else bounds[0] <= judged <= bounds[1],
        "covered_true": None if bounds is None else bounds[0] <= found <= bounds[1],
        "winner_curse": result.get("winner_curse"),
        "used": sum(result["lm_calls"].values()),
        "seconds": time.perf_counter() - begin,
    }


def expected_reward(world: World, program: dspy.Module, queries: Sequence[str], *, draws: int = 3) -> float:
    """Return the reward in [0, 1] that the world's judge gives a program, averaged over queries and much luck.

    At a temperature just above 0 models answer as at 0, but each sample has luck of its own.
    """
    engine = SimulatedEngine(SimulatedModels(world))
    judge = dspy.LM("sim/judge", engine=engine, cache=False, num_retries=0, temperature=1e-6)
    task = dspy.LM("sim/base", engine=engine, cache=False, num_retries=0, temperature=1e-6)
    reward = DynamicReward(judge, simulated_lm("criteria", world))
    rewards = []
    with dspy.context(lm=task, disable_history=True, trace=[]):
        for query in queries:
            example = dspy.Example(query=query).with_inputs("query")
            for _ in range(draws):
                judgement = reward.judge(example, program(query=query))
                if judgement.mean is not None:
                    rewards.append((judgement.mean - 1) / 4)
    return float(np.mean(rewards))


def _queries() -> list[dict[str, Any]]:
    path = Path(__file__).parents[1] / "configs" / "data" / "prompts.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _neutral(seed: int) -> World:
    return replace(
        World.random(seed), lift=0.0, interference=0.0, dilution=0.0, contradiction_cost=0.0, length_cost=0.0,
        demo_lift=0.0,
    )  # fmt: skip


WORLDS: dict[str, Callable[[int], World]] = {
    "random": World.random,
    "neutral": _neutral,
    "harmful": lambda seed: replace(World.random(seed), lift=0.0, demo_lift=0.0),
}
"""`neutral`: no instruction and no demonstration changes anything. `harmful`: guidance only costs."""


@contextmanager
def left_out(piece: str) -> Iterator[None]:
    """Run the default mode without one of its pieces."""
    with ExitStack() as stack:
        for owner, name, value in _PIECES[piece]() if piece else ():
            stack.enter_context(mock.patch.object(owner, name, value))
        yield


def _whole_feedback(lost: dict[str, float]) -> list[str]:
    return []


def _where_it_errs(self: Any, board: Any, size: int) -> list[int]:
    def worth(query: int) -> float:
        rewards = board.rewards(query)
        return min(rewards) - (max(rewards) - min(rewards))

    return self._by_turns(sorted((query for query in self._order if board.rewards(query)), key=worth))[:size]


_PIECES: dict[str, Callable[[], Sequence[tuple[Any, str, Any]]]] = {
    "merging": lambda: [
        (minibatch_proposals.MinibatchProposals, "_together", lambda self, member, names, children: member.candidate)
    ],
    "shares": lambda: [(complaints, "_focus", _whole_feedback)],
    "racing": lambda: [(presets, "rungs", lambda size: (size,))],
    "shrinkage": lambda: [(default_mode, "Board", lambda **options: Board(shrinkage=1e-6, **options))],
    "shuffled batches": lambda: [(batches.Batches, "next", _where_it_errs)],
    "favourite": lambda: [
        (racing, "favourite_among", lambda board, favourite, left: board.ranked(left)[0]),
        (minibatch, "favourite_among", lambda board, favourite, left: board.ranked([favourite, *left])[0]),
    ],
    "screening": lambda: [(default_mode.Screen, "__call__", lambda self, instruction, known, parent="": None)],
    "history": lambda: [(minibatch_proposals.MinibatchProposals, "_history", lambda self, board, member, name: [])],
    "good demos": lambda: [(default_mode, "good", list)],
}


def interval(values: Sequence[float], clusters: Sequence[int], *, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a mean, resampling whole worlds."""
    low, high = np.quantile(_resampled(values, clusters, seed), [0.025, 0.975])
    return float(low), float(high)


def ratio(values: Sequence[float], others: Sequence[float], clusters: Sequence[int]) -> tuple[float, float, float]:
    """Return the ratio of two means over the same runs with its 95 % interval, resampling whole worlds."""
    drawn = _resampled(values, clusters, 0) / _resampled(others, clusters, 0)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(np.mean(values) / np.mean(others)), float(low), float(high)


def _resampled(values: Sequence[float], clusters: Sequence[int], seed: int) -> Any:
    names = sorted(set(clusters))
    sums = np.array([sum(value for value, cluster in zip(values, clusters, strict=True) if cluster == name)
                     for name in names])  # fmt: skip
    counts = np.array([sum(cluster == name for cluster in clusters) for name in names])
    drawn = np.random.default_rng(seed).integers(0, len(names), (10_000, len(names)))
    return sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)


def table(rows: Sequence[dict[str, Any]], *, reference: str = "paper") -> Table:
    """Return the table of all variants."""
    shown = Table(title="true gain, simulated; 95 % intervals over worlds")
    for heading in (
        "calls",
        "variant",
        "returned",
        "interval",
        "found",
        "x paper",
        "improved",
        "covers judged",
        "covers true",
        "used",
    ):
        shown.add_column(heading, justify="left" if heading == "variant" else "right")
    for calls in sorted({row["calls"] for row in rows}):
        by = {name: _rows(rows, name, calls) for name in VARIANTS if _rows(rows, name, calls)}
        for name, mine in by.items():
            values, worlds = [row["returned"] for row in mine], [row["world"] for row in mine]
            low, high = interval(values, worlds)
            against = ""
            if reference in by and name != reference:
                mean, least, most = ratio(values, [row["returned"] for row in by[reference]], worlds)
                against = f"{mean:.2f} ({least:.2f} to {most:.2f})"
            covered, true = ([row[key] for row in mine if row[key] is not None] for key in ("covered", "covered_true"))
            decided = [row["decision"] == "improved" for row in mine if row["decision"]]
            shown.add_row(
                f"{calls:,}", name, f"{np.mean(values):+.4f}", f"{low:+.4f} to {high:+.4f}",
                f"{np.mean([row['found'] for row in mine]):+.4f}", against,
                f"{np.mean(decided):.1%}" if decided else "-", f"{np.mean(covered):.1%}" if covered else "-",
                f"{np.mean(true):.1%}" if true else "-",
                f"{np.mean([row['used'] for row in mine]):.0f}",
            )  # fmt: skip
    return shown


def _rows(rows: Sequence[dict[str, Any]], variant: str, calls: int) -> list[dict[str, Any]]:
    mine = [row for row in rows if row["variant"] == variant and row["calls"] == calls]
    return sorted(mine, key=lambda row: (row["world"], row["seed"]))


def plot(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Write gain against calls as a picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    for name in dict.fromkeys(row["variant"] for row in rows):
        points = []
        for calls in sorted({row["calls"] for row in rows}):
            mine = _rows(rows, name, calls)
            if mine:
                values = [row["returned"] for row in mine]
                points.append((calls, float(np.mean(values)), *interval(values, [row["world"] for row in mine])))
        x, mean, low, high = (list(column) for column in zip(*points, strict=True))
        errors = [[a - b for a, b in zip(mean, low, strict=True)], [b - a for a, b in zip(mean, high, strict=True)]]
        axes.errorbar(x, mean, yerr=errors, marker="o", capsize=3, label=name)
    axes.set_xscale("log")
    budgets = sorted({row["calls"] for row in rows})
    axes.set_xticks(budgets, [f"{calls:,}" for calls in budgets], minor=False)
    axes.set_xticks([], minor=True)
    axes.set_xlabel("LM calls, all roles together")
    axes.set_ylabel("true gain (simulated)")
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", default="main", help=f"a group ({', '.join(GROUPS)}) or names, by commas")
    parser.add_argument("--calls", type=int, nargs="+", default=[400, 1600], help="budgets, all roles together")
    parser.add_argument("--worlds", type=int, default=20, help="how many worlds")
    parser.add_argument("--first-world", type=int, default=0, help="seed of the first world")
    parser.add_argument("--seeds", type=int, default=3, help="runs per world")
    parser.add_argument("--no-gain", action="store_true", help="worlds where nothing helps instead")
    parser.add_argument(
        "--quick", action="store_true", help="leave out the expected judged reward, which takes longest"
    )
    parser.add_argument("--processes", type=int, default=2, help="compiles at the same time")
    parser.add_argument("--json", type=Path, help="where the rows are written")
    parser.add_argument("--plot", type=Path, help="where the picture is written (.svg or .png)")
    arguments = parser.parse_args()
    names = GROUPS.get(arguments.variants) or [name.strip() for name in arguments.variants.split(";")]
    worlds = range(arguments.first_world, arguments.first_world + arguments.worlds)
    kinds = ("neutral", "harmful") if arguments.no_gain else ("random",)
    jobs = [
        Job(name, world, seed, calls, kind, not arguments.quick)
        for kind in kinds for calls in arguments.calls for name in names
        for world in worlds for seed in range(arguments.seeds)
    ]  # fmt: skip
    with ProcessPoolExecutor(arguments.processes) as executor:
        rows = list(executor.map(run, jobs, chunksize=1))
    console = Console(width=150)
    for kind in kinds:
        mine = [row for row in rows if row["kind"] == kind]
        console.print(f"worlds: {kind}, {worlds.start} to {worlds.stop - 1}, {arguments.seeds} seeds each")
        console.print(table(mine))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    if arguments.plot:
        plot(rows, arguments.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
