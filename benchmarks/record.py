"""The record of calls: what it costs per call, and how long a large one takes to be resumed.

* Overhead: calls arrive at a steady rate from many threads; each one's time in `CallLog.add` is taken, while the disk
  is told now and then to keep them. Beside it: what the disk takes to keep one line.
* Resume: a record of many calls, each of the size of a judge's, is loaded, and every call is asked for again through
  the LM of a run, as a resumed run does it.
* Run: a finished run of the default mode (simulated models) is run again over its record. All of its time is divided by
  its calls: besides the record that is the program, the adapters, the judge's parsing and the search.

    python benchmarks/record.py --calls 100000 --json record.json
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import statistics
import tempfile
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any

import dspy
from dspy._vendor.lm15.serde import request_to_dict
from dspy.lm15 import Message, Request, Response, TextPart, Usage

from drpo import DRPOTeleprompter, Responder
from drpo.serving.calls import asking, call_scope
from drpo.serving.door import metered
from drpo.serving.engine import build_lm
from drpo.serving.meter import Meter, RecordedCall
from drpo.serving.roles import Role
from drpo.serving.scripted import Prompt, scripted_lm
from drpo.serving.settings import LMSettings
from drpo.serving.simulated.world import World
from drpo.teleprompters.record import CallLog

REQUEST, REPLY = 4000, 1000
"""Characters of a judge's request and of its reply."""


def reply(number: int) -> RecordedCall:
    """Return a reply of a judge's size."""
    text = json.dumps({"rationale": f"{number} " + "because it says so, " * (REPLY // 20), "score": 4})
    response = Response(
        id=None, model="judge", message=Message.assistant([TextPart(text)]), finish_reason="stop",
        usage=Usage(input_tokens=1000, output_tokens=250, total_tokens=1250),
    )  # fmt: skip
    return RecordedCall(response, 1.5, 0.001)


def overhead(folder: Path, *, rate: int, calls: int) -> dict[str, Any]:
    """Return how long `add` takes when so many calls per second end."""
    log, seconds = CallLog(folder / "calls.jsonl"), [0.0] * calls
    request = {"messages": [{"role": "user", "parts": [{"type": "text", "text": "x" * REQUEST}]}]}
    begin = time.perf_counter() + 0.2

    def end(number: int) -> None:
        time.sleep(max(0.0, begin + number / rate - time.perf_counter()))
        call = reply(number)
        start = time.perf_counter()
        log.add(f"{number:064d}-1", role=Role.JUDGE, request=request, call=call)
        seconds[number] = time.perf_counter() - start

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(end, range(calls)))
    log.close()
    ordered = sorted(seconds)
    return {
        "calls": calls, "rate": rate, "reached": calls / (time.perf_counter() - begin),
        "median_ms": 1000 * statistics.median(ordered), "p95_ms": 1000 * ordered[int(0.95 * calls)],
        "p99_ms": 1000 * ordered[int(0.99 * calls)],
    }  # fmt: skip


def disk(folder: Path, *, lines: int) -> dict[str, Any]:
    """Return how long the disk takes to keep one line of such a record."""
    data, seconds = b"x" * (REQUEST + REPLY) + b"\n", []
    file = os.open(folder / "lines", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for _ in range(lines):
        begin = time.perf_counter()
        os.write(file, data)
        os.fsync(file)
        seconds.append(time.perf_counter() - begin)
    os.close(file)
    return {
        "lines": lines,
        "median_ms": 1000 * statistics.median(seconds),
        "p99_ms": 1000 * sorted(seconds)[int(0.99 * lines)],
    }


def resume(folder: Path, *, calls: int, num_threads: int) -> dict[str, Any]:
    """Return how long it takes to load a record of so many calls, and to answer all of them from it."""
    prompt = "How good is this answer? " + "y" * (REQUEST - 25)
    asked: list[Request] = []

    class Noting:
        supports_function_calling = supports_reasoning = False
        supports_response_schema = False
        supported_params = frozenset[str]()

        def complete(self, request: Request) -> Response:
            asked.append(request)
            return reply(0).response

    dspy.LM("judge", engine=Noting(), cache=False, num_retries=0, temperature=0.0)(prompt)
    data = request_to_dict(asked[0])
    sync = os.fsync
    os.fsync = lambda file: None
    log = CallLog(folder / "calls.jsonl")
    for number in range(calls):
        with call_scope(f"level {number}"), asking(Role.JUDGE, data) as key:
            log.add(key, role=Role.JUDGE, request=data, call=reply(number))
    log.close()
    os.fsync = sync

    begin = time.perf_counter()
    log = CallLog(folder / "calls.jsonl")
    loaded = time.perf_counter() - begin

    def unasked(prompt: Prompt) -> str:
        raise AssertionError("a call on record was asked for")

    meter = Meter()
    lm = metered(scripted_lm(unasked, name="judge", structured_output=False), role=Role.JUDGE, meter=meter, record=log)

    def replay(number: int) -> None:
        with call_scope(f"level {number}"):
            lm(prompt)

    with dspy.context(disable_history=True), ThreadPoolExecutor(num_threads) as pool:
        contexts = threading.local()

        def within_context(number: int) -> None:
            if not hasattr(contexts, "one"):
                contexts.one = context.copy()
            contexts.one.run(replay, number)

        context = copy_context()
        list(pool.map(within_context, range(calls)))
    whole = time.perf_counter() - begin
    log.close()
    return {
        "calls": calls, "megabytes": (folder / "calls.jsonl").stat().st_size / 1e6, "load_s": loaded,
        "resume_s": whole, "replayed": meter.usage[Role.JUDGE].replayed,
        "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
    }  # fmt: skip


def run(folder: Path) -> dict[str, Any]:
    """Return how long a finished run takes when it is run again over its record."""
    world = World.named("default")
    path = Path(__file__).parents[1] / "configs" / "data" / "prompts.jsonl"
    queries = [json.loads(line)["query"] for line in path.read_text(encoding="utf-8").splitlines()]
    trainset = [dspy.Example(query=query).with_inputs("query") for query in queries]

    def once() -> tuple[float, int]:
        lms = {
            f"{role}_lm": build_lm(LMSettings(model=f"sim/{name}"), world=world)
            for role, name in (("task", "base"), ("judge", "judge"), ("criteria", "criteria"), ("prompt", "prompt"))
        }
        optimizer = DRPOTeleprompter(**lms, log_dir=folder / "run", num_threads=8, display_progress=False)
        begin = time.perf_counter()
        program = optimizer.compile(Responder(), trainset=trainset)
        return time.perf_counter() - begin, sum(program.drpo_result["lm_calls"].values())

    once()
    seconds, calls = once()
    return {"calls": calls, "seconds": seconds, "ms_per_call": 1000 * seconds / calls}


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=100_000, help="calls of the record that is resumed")
    parser.add_argument("--rate", type=int, default=200, help="calls per second that are recorded")
    parser.add_argument("--seconds", type=int, default=10, help="how long they are")
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--dir", type=Path, help="where it is written; default: the folder for temporary files")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    found: dict[str, Any] = {"cpus": os.cpu_count()}
    measures = {
        "overhead": lambda folder: overhead(folder, rate=arguments.rate, calls=arguments.rate * arguments.seconds),
        "disk": lambda folder: disk(folder, lines=arguments.rate),
        "run": run,
        "resume": lambda folder: resume(folder, calls=arguments.calls, num_threads=arguments.threads),
    }
    for name, measure in measures.items():
        with tempfile.TemporaryDirectory(dir=arguments.dir) as folder:
            found[name] = measure(Path(folder))
        shown = ", ".join(f"{key} {value:,.2f}".replace(".00", "") for key, value in found[name].items())
        print(f"{name}: {shown}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
