"""Seconds of a compile beside its critical path, and beside the same calls made one at a time.

The simulated models answer in this process; each call takes a log-normal time, drawn from the call's name, so that a
call is equally slow whatever the number of threads. What the simulated model itself computes is part of that time, as
long as it suffices; it, DSPy and the search share the CPUs of this machine, whose number is printed.

* bound: for each phase ("level 3 judge") the longest of its tasks, each the sum of its calls, or the phase's calls
  shared out evenly among the threads if that is longer; then the sum over the phases. Tasks that only fetch criteria
  are left out, since they run ahead: the bound is too low by that, never too high. A search whose phases overlap
  can be faster than this.
* one at a time: the sum of all calls' times. `--measure-sequential` really makes them so, with one thread, and checks
  that the result is the same.

    python benchmarks/wallclock.py --auto paper --num-threads 32 --measure-sequential --json wallclock.json
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import math
import os
import sys
import threading
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import dspy
from dspy.lm15 import Request, Response, response_to_events
from rich.console import Console
from rich.table import Table

from drpo import DRPOTeleprompter, Responder
from drpo.serving.calls import current_call, current_task
from drpo.serving.simulated.engine import ROLES, SimulatedEngine
from drpo.serving.simulated.models import SimulatedModels
from drpo.serving.simulated.world import World

CRITERIA = f"sim/{ROLES['criteria']}"


@dataclass(frozen=True)
class Call:
    """One call as it went."""

    task: str
    """The pool's task that made it, `level 3 judge/2` for example."""
    model: str
    """Who answered."""
    seconds: float
    """How long it had to take."""


@dataclass(frozen=True)
class Latency:
    """How long calls take."""

    median: float
    """Seconds."""
    sigma: float
    """Standard deviation of the logarithm."""

    def of(self, call: str) -> float:
        """Return the seconds of the call of this name."""
        drawn = int.from_bytes(hashlib.sha256(f"latency of {call}".encode()).digest()[:8], "big")
        return self.median * math.exp(self.sigma * NormalDist().inv_cdf((drawn + 0.5) / 2**64))


class Watch:
    """What was called, and how many calls were under way at once."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.most = self._now = 0
        self._lock = threading.Lock()

    @contextmanager
    def over(self, call: Call) -> Iterator[None]:
        """Watch a call while it is under way."""
        with self._lock:
            self.calls.append(call)
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            yield
        finally:
            with self._lock:
                self._now -= 1


class Slow:
    """An engine that takes its time.

    Args:
        inner: The engine that answers.
        latency: How much.
        watch: Sees the calls.
    """

    def __init__(self, inner: SimulatedEngine, latency: Latency, watch: Watch) -> None:
        self._inner, self._latency, self._watch = inner, latency, watch
        for name in ("supports_function_calling", "supports_reasoning", "supports_response_schema", "supported_params"):
            setattr(self, name, getattr(inner, name))

    def __deepcopy__(self, memo: dict[int, Any]) -> Slow:
        return self

    def complete(self, request: Request) -> Response:
        begin, seconds = time.perf_counter(), self._latency.of(current_call())
        with self._watch.over(Call(current_task(), request.model, seconds)):
            response = self._inner.complete(request)
            time.sleep(max(0.0, begin + seconds - time.perf_counter()))
        return response

    def stream(self, request: Request) -> Iterator[Any]:
        yield from response_to_events(self.complete(request))

    def close(self) -> None: ...


def critical_path(calls: Sequence[Call], *, num_threads: int) -> float:
    """Return the least seconds that these calls take when phase follows phase.

    Args:
        calls: Calls whose task is named `<phase>/<number>`; calls of one task follow each other.
        num_threads: How many are under way at once.
    """
    tasks: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    ahead: dict[str, bool] = defaultdict(lambda: True)
    for call in calls:
        phase = call.task.partition("/")[0]
        tasks[phase][call.task] += call.seconds
        ahead[call.task] &= call.model == CRITERIA
    total = 0.0
    for times in tasks.values():
        needed = [seconds for task, seconds in times.items() if not ahead[task]]
        total += max(max(needed, default=0.0), sum(needed) / num_threads)
    return total


@dataclass(frozen=True)
class Compiled:
    """One compile."""

    seconds: float
    """On the clock."""
    cpu_seconds: float
    """Of the whole process: DSPy, the search and the simulated models."""
    watch: Watch
    """Its calls."""
    result: dict[str, Any]
    """What must not depend on the threads."""


def compiled(auto: str, *, world: World, queries: Sequence[str], latency: Latency, num_threads: int) -> Compiled:
    """Compile once.

    Raises:
        NotImplementedError: If there is no such preset yet.
    """
    watch = Watch()
    lms = {
        f"{role}_lm": dspy.LM(
            f"sim/{ROLES[role]}",
            engine=Slow(SimulatedEngine(SimulatedModels(world)), latency, watch),
            cache=False, num_retries=0, temperature=0.0,
        )
        for role in ("task", "judge", "criteria", "prompt")
    }  # fmt: skip
    trainset = [dspy.Example(query=query).with_inputs("query") for query in queries]
    options: Any = {"auto": auto, "num_threads": num_threads, "display_progress": False, **lms}
    with dspy.context(disable_history=True):
        begin, cpu = time.perf_counter(), time.process_time()
        program = DRPOTeleprompter(**options).compile(Responder(adapter="chat"), trainset=trainset)
        seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    result = {key: value for key, value in program.drpo_result.items() if key not in {"seconds", "versions"}}
    return Compiled(seconds, cpu, watch, result)


def measured(
    auto: str, *, world: World, queries: Sequence[str], latency: Latency, num_threads: int, sequential: bool
) -> dict[str, Any]:
    """Return the row of one preset."""
    run = compiled(auto, world=world, queries=queries, latency=latency, num_threads=num_threads)
    calls = run.watch.calls
    bound = critical_path(calls, num_threads=num_threads)
    one_by_one = sum(call.seconds for call in calls)
    row: dict[str, Any] = {
        "auto": auto, "threads": num_threads, "calls": len(calls), "seconds": run.seconds, "bound": bound,
        "ratio": run.seconds / bound, "one_at_a_time": one_by_one, "times_faster": one_by_one / run.seconds,
        "cpu_seconds": run.cpu_seconds, "most_at_once": run.watch.most,
    }  # fmt: skip
    if sequential:
        alone = compiled(auto, world=world, queries=queries, latency=latency, num_threads=1)
        row |= {
            "measured_one_at_a_time": alone.seconds,
            "measured_times_faster": alone.seconds / run.seconds,
            "same_result": alone.result == run.result,
        }
    return row


def shown(rows: Sequence[dict[str, Any]]) -> Table:
    """Return the rows as a table."""
    table = Table(
        "auto", "calls", "seconds", "bound", "ratio", "one at a time", "times faster", "CPU s", "most at once"
    )
    for row in rows:
        alone = row.get("measured_one_at_a_time")
        table.add_row(
            row["auto"], str(row["calls"]), f"{row['seconds']:.2f}", f"{row['bound']:.2f}", f"{row['ratio']:.3f}",
            f"{row['one_at_a_time']:.1f}" + (f" (measured {alone:.1f})" if alone else ""),
            f"{row['times_faster']:.1f}" + (f" ({row['measured_times_faster']:.1f})" if alone else ""),
            f"{row['cpu_seconds']:.1f}", str(row["most_at_once"]),
        )  # fmt: skip
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare a compile's seconds with the least that they could be.")
    parser.add_argument("--auto", default="paper", help="presets, separated by commas")
    parser.add_argument("--num-threads", type=int, default=32)
    parser.add_argument("--median", type=float, default=0.2, help="median seconds of a call")
    parser.add_argument("--sigma", type=float, default=0.5, help="standard deviation of their logarithm")
    parser.add_argument("--scale", type=float, default=1.0, help="makes all calls faster or slower by this factor")
    parser.add_argument("--world", default="default", help="a preset, random-<seed> or a YAML file")
    parser.add_argument("--train", type=int, default=60, help="how many training queries")
    parser.add_argument("--measure-sequential", action="store_true", help="also compile with one thread")
    parser.add_argument("--json", type=Path, help="where the rows are written")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    path = Path(__file__).parents[1] / "configs" / "data" / "prompts.jsonl"
    queries = [json.loads(line)["query"] for line in path.read_text(encoding="utf-8").splitlines()]
    common: dict[str, Any] = {"world": World.named(arguments.world), "num_threads": arguments.num_threads}
    # Imports, the first use of DSPy's adapters and the like are no part of a search.
    compiled("paper", queries=queries[:2], latency=Latency(0.0, 0.0), **common)
    latency = Latency(arguments.median * arguments.scale, arguments.sigma)
    rows, missing = [], []
    for auto in arguments.auto.split(","):
        try:
            rows.append(
                measured(auto, queries=queries[: arguments.train], latency=latency,
                         sequential=arguments.measure_sequential, **common)
            )  # fmt: skip
        except NotImplementedError as error:
            missing.append(str(error))
    console = Console()
    console.print(
        f"simulated models, {arguments.num_threads} threads on {os.cpu_count()} CPUs, {arguments.train} queries, "
        f"a call takes {latency.median:g} s in the median (sigma {latency.sigma:g})"
    )
    console.print(shown(rows))
    for line in missing:
        console.print(f"left out: {line}")
    if arguments.json:
        about = {"cpus": os.cpu_count(), "latency": asdict(latency), "world": arguments.world}
        arguments.json.write_text(json.dumps({**about, "rows": rows}, indent=2), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
