"""CPU time of our side of an LM call: a run of DRPO beside plain `dspy.Predict` through LiteLLM.

Both ask the same simulated models behind one HTTP server in a process of its own, with one thread. CPU time is this
process's: the server's and the waiting are not in it. The legs take turns, and each turn's ratio is taken, so that a
machine that slows down slows both; the median of the ratios is the result.

* `dspy.Predict`: `question -> answer` through `dspy.LM("hosted_vllm/...", engine="litellm", cache=False)`, asked the
  same queries, as often as DRPO makes calls. Its prompts are the shorter ones; DRPO's are not made shorter to match.
* DRPO: `compile` with `auto="paper"` until `max_lm_calls`, once without and once with a `log_dir`; all of its CPU time
  divided by all of its calls: the search, the judge's parsing, the counting, the record and the files.

The record is synced to the disk after each call. What a busy disk costs is no property of ours: set TMPDIR to a folder
in memory to leave it out.

    python benchmarks/overhead.py --rounds 9 --json overhead.json
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import dspy
from rich.console import Console
from rich.table import Table

from drpo import DRPOTeleprompter, DynamicReward, Responder

SERVER = """
import sys
from drpo.serving.simulated.models import SimulatedModels
from drpo.serving.simulated.server import SimulatedServer
from drpo.serving.simulated.world import World
with SimulatedServer(SimulatedModels(World.named(sys.argv[1]))) as server:
    print(server.api_base, flush=True)
    sys.stdin.read()
"""


@dataclass(frozen=True)
class Leg:
    """One leg's cost of a call."""

    cpu_ms: float
    """CPU milliseconds of this process."""
    wall_ms: float
    """Milliseconds on the clock; the server's work is in it."""
    calls: int


@contextmanager
def served(world: str) -> Iterator[str]:
    """Serve a world's models from another process, and give the address."""
    process = subprocess.Popen([sys.executable, "-c", SERVER, world], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.stdout.readline().decode().strip()
    finally:
        process.stdin.close()
        process.wait(10)


def timed(work: Callable[[], int]) -> Leg:
    """Return what a call of some work costs; the work gives their number."""
    wall, cpu = time.perf_counter(), time.process_time()
    calls = work()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return Leg(1000 * cpu / calls, 1000 * wall / calls, calls)


def lm(model: str, api_base: str) -> dspy.LM:
    """Return an LM as a user makes it."""
    return dspy.LM(f"hosted_vllm/sim/{model}", api_base=api_base, api_key="none", engine="litellm", cache=False,
                   temperature=0.0, max_tokens=1000)  # fmt: skip


def predict(api_base: str, queries: Sequence[str], calls: int) -> int:
    """Ask `dspy.Predict` so often."""
    program = dspy.Predict("question -> answer")
    with dspy.context(lm=lm("base", api_base), disable_history=True):
        for number in range(calls):
            program(question=queries[number % len(queries)])
    return calls


def drpo(api_base: str, queries: Sequence[str], calls: int, log_dir: str | None) -> int:
    """Compile with at most so many calls."""
    judge, criteria = lm("judge", api_base), lm("criteria", api_base)
    optimizer = DRPOTeleprompter(
        DynamicReward(judge, criteria), task_lm=lm("base", api_base), prompt_lm=lm("prompt", api_base), auto="paper",
        max_lm_calls=calls, num_threads=1, log_dir=log_dir, display_progress=False,
    )  # fmt: skip
    trainset = [dspy.Example(query=query).with_inputs("query") for query in queries]
    with dspy.context(disable_history=True):
        program = optimizer.compile(Responder(adapter="chat"), trainset=trainset)
    return int(sum(program.drpo_result["lm_calls"].values()))


def measure(api_base: str, queries: Sequence[str], *, calls: int, rounds: int) -> dict[str, list[Leg]]:
    """Return each leg's turns."""

    def recorded() -> int:
        with tempfile.TemporaryDirectory() as folder:
            return drpo(api_base, queries, calls, f"{folder}/run")

    legs: dict[str, Callable[[], int]] = {
        "dspy.Predict": lambda: predict(api_base, queries, calls),
        "DRPO": lambda: drpo(api_base, queries, calls, None),
        "DRPO with log_dir": recorded,
    }
    for work in legs.values():  # imports, connections and compiled expressions are made once
        work()
    turns: dict[str, list[Leg]] = {name: [] for name in legs}
    for number in range(rounds):
        names = list(legs)[:: 1 if number % 2 else -1]
        for name in names:
            turns[name].append(timed(legs[name]))
    return turns


def summarized(turns: dict[str, list[Leg]]) -> list[dict[str, Any]]:
    """Return a row per leg: medians, and the median ratio to `dspy.Predict` in the same round."""
    plain = turns["dspy.Predict"]
    return [
        {
            "leg": name,
            "calls": legs[0].calls,
            "cpu_ms": statistics.median(leg.cpu_ms for leg in legs),
            "wall_ms": statistics.median(leg.wall_ms for leg in legs),
            "cpu_ratio": statistics.median(
                ours.cpu_ms / theirs.cpu_ms for ours, theirs in zip(legs, plain, strict=True)
            ),
            "wall_ratio": statistics.median(
                ours.wall_ms / theirs.wall_ms for ours, theirs in zip(legs, plain, strict=True)
            ),
            "turns": [asdict(leg) for leg in legs],
        }
        for name, legs in turns.items()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare the CPU time of a call in a run with that of dspy.Predict.")
    parser.add_argument("--calls", type=int, default=150, help="calls per turn and leg")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each leg")
    parser.add_argument("--world", default="default", help="a preset, random-<seed> or a YAML file")
    parser.add_argument("--limit", type=float, help="fail if a CPU ratio is above it")
    parser.add_argument("--json", type=Path, help="where the rows are written")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    path = Path(__file__).parents[1] / "configs" / "data" / "prompts.jsonl"
    queries = [json.loads(line)["query"] for line in path.read_text(encoding="utf-8").splitlines()]
    with served(arguments.world) as api_base:
        rows = summarized(measure(api_base, queries[:60], calls=arguments.calls, rounds=arguments.rounds))
    table = Table("leg", "calls", "CPU ms per call", "ratio", "wall ms per call", "ratio")
    for row in rows:
        table.add_row(row["leg"], str(row["calls"]), f"{row['cpu_ms']:.2f}", f"{row['cpu_ratio']:.3f}",
                      f"{row['wall_ms']:.2f}", f"{row['wall_ratio']:.3f}")  # fmt: skip
    Console().print(f"{arguments.rounds} turns each, one thread, {os.cpu_count()} CPUs, models simulated over HTTP")
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps({"cpus": os.cpu_count(), "rows": rows}, indent=2), encoding="utf-8")
    return int(arguments.limit is not None and max(row["cpu_ratio"] for row in rows) > arguments.limit)


if __name__ == "__main__":
    sys.exit(main())
