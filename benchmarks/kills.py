"""Kill -9 at random moments: is a run that was resumed each time the same as one that was never stopped?

The models are simulated and served over HTTP by a process of its own, with latency and faults. One run is left alone.
Others of the same config are killed at random moments and resumed by `drpo resume` until they are finished, again and
again, until there were enough kills. `compare` is a comparison, each of its optimizers with a record of its own.
Every life is a process that is forked from this one, so that it starts at once.

What is checked of each finished run:

* `program.json` and `result.json` (and `trace.json`) are those of the run that was left alone, byte for byte;
* the server was never asked again for a reply that was on record when a life began: calls of a run bring their names.

    python benchmarks/kills.py --kills 100 --json kills.json
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

import drpo.__main__
import drpo.commands.comparing
import drpo.commands.compiling
from drpo.serving.engine import _litellm

SERVER = """
import json, sys
from drpo.serving.simulated.faults import Faults
from drpo.serving.simulated.models import SimulatedModels
from drpo.serving.simulated.server import SimulatedServer
from drpo.serving.simulated.world import World
with SimulatedServer(SimulatedModels(World.named("default")), faults=Faults(**json.loads(sys.argv[1]))) as server:
    print(server.api_base, flush=True)
    for _ in sys.stdin:
        counts = server.counts
        faults, requests = sum(counts.faults.values()), sum(counts.requests.values())
        told = {"asked": server.asked, "requests": requests, "faults": faults}
        print(json.dumps(told), flush=True)
"""
SEARCHES = {
    "default": {"auto": "light", "n_actions": 2, "depth": 2, "minibatch_size": 3, "data": {"limit": 24}},
    "paper": {"auto": "paper", "beam_size": 2, "n_actions": 2, "depth": 5, "max_depth_increase": 2,
              "data": {"limit": 16, "num_val": 6}},
    "compare": {"compare": {"optimizers": "drpo,drpo-paper,miprov2,copro,gepa,simba", "budget": 100, "seeds": 1,
                            "num_test": 10}, "data": {"limit": 60}},
}  # fmt: skip
"""The two searches, small, and a comparison."""
KINDS = {"rate_limited": 0.7, "server_error": 0.1, "dropped": 0.1, "malformed": 0.1}
"""What fails how often, as shares of all faults. Most says how long to wait: the other waits are seconds."""
COMPARED = ("program.json", "result.json", "trace.json", "comparison.json", "units/*/program.json")
"""What has to be equal; a run has some of these."""


class Server:
    """The simulated models in a process of their own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.api_base = self._line()

    def told(self) -> dict[str, Any]:
        """Return what it counted: requests, faults, and how often each call was asked for."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        told: dict[str, Any] = json.loads(self._line())
        return told

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@contextmanager
def served(faults: dict[str, float]) -> Iterator[Server]:
    """Serve the models, from now on unasked."""
    command = [sys.executable, "-c", SERVER, json.dumps(faults)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield Server(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(20)


@dataclass
class Report:
    """What one search stood."""

    search: str
    kills: int = 0
    runs: int = 0
    outages: int = 0
    """Lives that ended because a call failed more often than it is retried; they are resumed too."""
    asked_again: int = 0
    """Replies on record that were asked for again, by the server's own count."""
    different: list[str] = field(default_factory=list)
    """Files that are not those of the run that was left alone."""
    replies: int = 0
    """Calls of one run."""
    seconds_alone: float = 0.0
    requests: int = 0
    faults: int = 0
    kills_by_share: list[int] = field(default_factory=lambda: [0] * 10)
    """Kills by how much of the run was on record, in tenths."""
    torn: int = 0
    """Kills that left half a line."""
    lost_per_kill: list[int] = field(default_factory=list)
    """Requests sent in a life that are not on record after it."""

    @property
    def passed(self) -> bool:
        """Whether nothing was different and nothing asked again."""
        return not self.different and not self.asked_again


def life(folder: Path, *arguments: str, delay: float | None) -> int | None:
    """Run the command line in a process of its own, killed after a while; the exit code, None if it was killed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.chdir(folder)
            log = os.open("output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            sys.argv = ["drpo", *arguments, "--quiet", "--json"]
            drpo.__main__.main()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        finally:
            os._exit(code)
    watched = os.pidfd_open(child)
    ended, _, _ = select.select([watched], [], [], 600.0 if delay is None else delay)
    os.close(watched)
    if not ended:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) if ended else None


def on_record(run: Path) -> tuple[set[str], int, bool]:
    """Return the names of the calls answered on record, how many lines there are, and whether the last one is torn."""
    names: set[str] = set()
    count, torn = 0, False
    for file in run.rglob("calls.jsonl"):
        whole, _, rest = file.read_bytes().rpartition(b"\n")
        lines = [json.loads(line) for line in whole.split(b"\n") if line]
        names |= {line["key"] for line in lines if "response" in line}
        count, torn = count + len(lines), torn or bool(rest)
    return names, count, torn


def outcome(run: Path) -> dict[str, bytes]:
    """Return what has to be equal of a finished run."""
    files = sorted(file for pattern in COMPARED for file in run.glob(pattern))
    return {file.relative_to(run).as_posix(): file.read_bytes() for file in files}


def command(search: str) -> str:
    """Return the command that runs a search."""
    return "compare" if search == "compare" else "compile"


def config(folder: Path, search: str, api_base: str, num_threads: int) -> Path:
    """Write the config of a search, once for each server."""
    lm: dict[str, Any] = {"api_base": api_base, "num_retries": 6}
    if search == "compare":  # SIMBA has equal answers judged side by side: sampled, each would be another one's
        lm["temperature"] = 0.0
    models = {"task": "base", "judge": "judge", "criteria": "criteria", "prompt": "prompt"}
    settings = {
        **SEARCHES[search],
        "num_threads": num_threads,
        "lms": {role: {"model": f"hosted_vllm/sim/{name}", **lm} for role, name in models.items()},
    }
    path = folder / f"{search}.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def stand(search: str, *, kills: int, seed: int, faults: dict[str, float], num_threads: int, say: Any) -> Report:
    """Kill runs of a search until there were enough kills, and compare each with the one that was left alone."""
    report, draw = Report(search), random.Random(seed)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        with served(faults) as server:
            begin = time.monotonic()
            code = life(folder, command(search), str(config(folder, search, server.api_base, num_threads)),
                        "--log-dir", "alone", delay=None)  # fmt: skip
            while code == 1:
                code = life(folder, "resume", "alone", delay=None)
            if code:
                raise SystemExit((folder / "output.txt").read_text())
            report.seconds_alone = time.monotonic() - begin
        report.replies = len(on_record(folder / "alone")[0])
        expected = outcome(folder / "alone")
        while report.kills < kills:
            run = folder / f"run-{report.runs}"
            with served(faults) as server:
                path = config(folder, search, server.api_base, num_threads)
                finished = False
                while not finished:
                    last = report.kills >= kills  # enough: this one may end
                    finished = one_life(run, path, server, report, draw, last=last)
                told = server.told()
                report.requests += told["requests"]
                report.faults += told["faults"]
            report.runs += 1
            found = outcome(run)
            report.different += [
                f"{run.name}/{name}" for name in expected.keys() | found.keys() if found.get(name) != expected.get(name)
            ]
            say(f"{search}: run {report.runs} finished, {report.kills} kills, {len(report.different)} files differ, "
                f"{report.asked_again} replies asked again")  # fmt: skip
    return report


def one_life(run: Path, path: Path, server: Server, report: Report, draw: random.Random, *, last: bool) -> bool:
    """Let a run live for a while; whether it is finished."""
    before, lines, _ = on_record(run)
    asked = server.told()["asked"]
    started = (run / "config.json").exists()
    arguments = ["resume", run.name] if started else [command(report.search), str(path), "--log-dir", run.name]
    # Some die before their first call, most in the middle of calls, some while they write the last files.
    delay = None if last else draw.uniform(0.0, max(1.0, report.seconds_alone / 4))
    code = life(run.parent, *arguments, delay=delay)
    after, now_lines, torn = on_record(run)
    told = server.told()["asked"]
    sent = {name: count - asked.get(name, 0) for name, count in told.items() if count > asked.get(name, 0)}
    report.asked_again += sum(name.partition("|")[0] in before for name in sent)
    if code is None:
        report.kills += 1
        report.torn += torn
        report.kills_by_share[min(9, 10 * len(after) // max(1, report.replies))] += 1
        report.lost_per_kill.append(sum(sent.values()) - (now_lines - lines))
    elif code == 1:
        report.outages += 1
    elif code:
        raise SystemExit(f"exit code {code}:\n{(run.parent / 'output.txt').read_text()[-3000:]}")
    return code == 0


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="kills in all, shared by the searches")
    parser.add_argument("--search", choices=sorted(SEARCHES), action="append", help="repeatable; default: all")
    parser.add_argument("--latency", type=float, default=0.03, help="median seconds of a reply, log-normal")
    parser.add_argument("--faults", type=float, default=0.1, help="share of requests that fail, in four ways")
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    _litellm()  # before the first fork
    for slow in ("gepa", "optuna", "scipy.stats"):
        importlib.import_module(slow)
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    faults = {kind: arguments.faults * share for kind, share in KINDS.items()}
    faults |= {"retry_after": 0.05, "latency": arguments.latency, "latency_sigma": 0.5}
    searches = arguments.search or sorted(SEARCHES)
    reports = [
        stand(
            search, kills=arguments.kills // len(searches), seed=arguments.seed + place, faults=faults,
            num_threads=arguments.threads, say=lambda text: print(text, file=sys.stderr, flush=True),
        )
        for place, search in enumerate(searches)
    ]  # fmt: skip
    table = Table(title="kill -9 and resume")
    rows = ("search", "kills", "runs", "calls", "files that differ", "asked again", "torn lines", "outages",
            "lost per kill")  # fmt: skip
    for heading in rows:
        table.add_column(heading)
    for one in reports:
        lost = f"{statistics.mean(one.lost_per_kill):.1f}" if one.lost_per_kill else "-"
        table.add_row(one.search, *map(str, (one.kills, one.runs, one.replies, len(one.different), one.asked_again,
                                             one.torn, one.outages)), lost)  # fmt: skip
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(
            json.dumps({"faults": faults, "searches": [asdict(one) for one in reports]}, indent=2)
        )
    sys.exit(not all(one.passed for one in reports))


if __name__ == "__main__":
    main()
