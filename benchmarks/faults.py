"""Runs in which a fifth of the requests fails: do they end, and as they would have ended without?

For each seed a world is drawn, its models are simulated, and one run of the same config is made over HTTP twice: with a
server that never fails, and with one that fails in mixed ways (too many requests, server errors, connections that
break, bodies that are no JSON, no answer at all, a content filter) and is slow now and then. The content filter gives a
reply, if an empty one, so it changes what is judged; all other failures cost time and nothing else.

What is checked of each pair:

* both runs end, and with the same decision; without the content filter also with the same program, byte for byte;
* our counts are the server's: requests sent, replies, and failures kind by kind.

    python benchmarks/faults.py --seeds 10 --json faults.json
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import drpo
from drpo.configs.prompts import load_prompts
from drpo.serving.engine import build_lm
from drpo.serving.settings import LMSettings

SERVER = """
import json, sys
from dataclasses import asdict
from drpo.serving.simulated.faults import Faults
from drpo.serving.simulated.models import SimulatedModels
from drpo.serving.simulated.server import SimulatedServer
from drpo.serving.simulated.world import World
models = SimulatedModels(World.named(sys.argv[1]))
with SimulatedServer(models, faults=Faults(**json.loads(sys.argv[2]))) as server:
    print(server.api_base, flush=True)
    for _ in sys.stdin:
        print(json.dumps(asdict(server.counts)), flush=True)
"""
MODELS = {"task_lm": "base", "judge_lm": "judge", "criteria_lm": "criteria", "prompt_lm": "prompt"}
MIXED = {"rate_limited": 0.3, "server_error": 0.25, "dropped": 0.15, "malformed": 0.15, "timed_out": 0.15}
"""What fails how often, as shares of all failures that are not the content filter's."""
KINDS = {
    "rate_limited": "RateLimitError",
    "server_error": "ServerError",
    "dropped": "TransportError",
    "malformed": "MalformedReplyError",
    "timed_out": "TimeoutError",
}
"""The server's word and ours. A filtered reply is a reply, and a request that we no longer waited for is a time-out."""


@contextmanager
def served(world: str, faults: dict[str, float]) -> Iterator[tuple[str, Any]]:
    """Serve a world's models from a process of their own; gives the address, and what tells the counts."""
    command = [sys.executable, "-c", SERVER, world, json.dumps(faults)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None

    def counts() -> Any:
        process.stdin.write("\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]
        return json.loads(process.stdout.readline())  # type: ignore[union-attr]

    try:
        yield process.stdout.readline().strip(), counts
    finally:
        process.stdin.close()
        process.wait(20)


@dataclass
class Run:
    """What one run came to."""

    decision: str | None
    program: str
    """A digest of `program.json`."""
    gain: float | None
    requests: int
    """Sent, by our count."""
    replies: int
    failed: dict[str, int]
    """By kind, in the server's words."""
    given_up: int
    missing: int
    """Judgements."""
    seconds: float
    server_requests: int
    server_replies: int
    server_failed: dict[str, int]

    @property
    def adds_up(self) -> bool:
        """Whether both sides counted the same."""
        return (self.requests, self.replies, self.failed) == (
            self.server_requests, self.server_replies, self.server_failed,
        ) and self.requests == self.replies + sum(self.failed.values())  # fmt: skip


def run(seed: int, faults: dict[str, float], arguments: argparse.Namespace, folder: Path) -> Run:
    """Compile once over a server of its own."""
    with served(f"random-{seed}", faults) as (api_base, counts):
        lms = {
            role: build_lm(
                LMSettings(model=f"hosted_vllm/sim/{model}", api_base=api_base, timeout=arguments.timeout)
            )
            for role, model in MODELS.items()
        }  # fmt: skip
        trainset = list(load_prompts("builtin:prompts").examples)
        random.Random(seed).shuffle(trainset)
        begin = time.perf_counter()
        compiled = drpo.DRPOTeleprompter(
            auto=arguments.auto, num_threads=arguments.threads, seed=seed, log_dir=folder, display_progress=False, **lms
        ).compile(drpo.Responder(), trainset=trainset[: arguments.prompts])
        seconds = time.perf_counter() - begin
        told = counts()
    lines = [json.loads(line) for line in (folder / "calls.jsonl").read_text().splitlines()]
    errors = [line["error"] for line in lines if "error" in line]
    kinds = Counter(error["kind"] for error in errors)
    server_failed = {kind: told["faults"][kind] for kind in KINDS}
    # Replies that came after we had stopped waiting: the server notices some that nobody wants, and not others.
    server_replies = told["replies"] + told["faults"]["refused"]
    late = max(0, server_replies - (len(lines) - len(errors)))
    server_failed["timed_out"] += told["abandoned"] + late
    unknown = {kind: count for kind, count in kinds.items() if kind not in KINDS.values()}
    return Run(
        decision=compiled.drpo_result["decision"],
        program=hashlib.sha256((folder / "program.json").read_bytes()).hexdigest(),
        gain=compiled.drpo_result["gain"],
        requests=len(lines),
        replies=len(lines) - len(errors),
        failed={**{kind: kinds[ours] for kind, ours in KINDS.items()}, **unknown},
        given_up=sum("given_up" in error for error in errors),
        missing=compiled.drpo_result["missing_judgements"],
        seconds=seconds,
        server_requests=sum(told["requests"].values()),
        server_replies=server_replies - late,
        server_failed=server_failed,
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--faults", type=float, default=0.2, help="share of requests that fail, in six ways")
    parser.add_argument("--filtered", type=float, default=0.05, help="share of the failures that is a content filter's")
    parser.add_argument("--latency", type=float, default=0.03, help="median seconds of a reply, log-normal")
    parser.add_argument("--timeout", type=float, default=1.5, help="seconds that a reply is waited for")
    parser.add_argument("--auto", default="light")
    parser.add_argument("--prompts", type=int, default=60)
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    slow = {"latency": arguments.latency, "latency_sigma": 1.0, "retry_after": 0.2}
    mixed = {kind: arguments.faults * (1 - arguments.filtered) * share for kind, share in MIXED.items()}
    mixed["refused"] = arguments.faults * arguments.filtered
    pairs: list[tuple[Run, Run]] = []
    for seed in range(arguments.seeds):
        with tempfile.TemporaryDirectory() as place:
            without = run(seed, slow, arguments, Path(place) / "without")
            with_faults = run(seed, {**slow, **mixed, "seed": seed}, arguments, Path(place) / "with")
        pairs.append((without, with_faults))
        print(f"seed {seed}: {without.decision} and {with_faults.decision}; {with_faults}", file=sys.stderr, flush=True)
    same = sum(one.decision == other.decision for one, other in pairs)
    alike = sum(one.program == other.program for one, other in pairs)
    added = sum(one.adds_up for pair in pairs for one in pair)
    table = Table(title=f"{arguments.faults:.0%} of the requests fail")
    for heading in ("seed", "decision", "with faults", "gain", "with faults", "requests", "failed", "given up",
                    "missing", "counts", "seconds", "with faults"):  # fmt: skip
        table.add_column(heading)
    for seed, (one, other) in enumerate(pairs):
        table.add_row(
            str(seed), str(one.decision), str(other.decision), _signed(one.gain), _signed(other.gain),
            str(other.requests), f"{sum(other.failed.values()) / other.requests:.1%}", str(other.given_up),
            str(other.missing), "equal" if one.adds_up and other.adds_up else "DIFFER",
            f"{one.seconds:.1f}", f"{other.seconds:.1f}",
        )  # fmt: skip
    Console(width=140).print(table)
    print(
        f"same decision: {same} of {len(pairs)}; same program: {alike}; counts equal: {added} of {2 * len(pairs)} runs"
    )
    if arguments.json:
        runs = [
            {"seed": seed, "without": asdict(one), "with": asdict(other)} for seed, (one, other) in enumerate(pairs)
        ]
        figures = {"faults": mixed, "same_decision": same, "same_program": alike, "counts_equal": added, "runs": runs}
        arguments.json.write_text(json.dumps(figures, indent=2))
    differs = alike < len(pairs) and not arguments.filtered
    sys.exit(same < 0.9 * len(pairs) or added < 2 * len(pairs) or differs)


def _signed(number: float | None) -> str:
    return "-" if number is None else f"{number:+.3f}"


if __name__ == "__main__":
    main()
