"""A whole run on a real vLLM: compile, save, kill the server, start it again, load, respond.

The model is far too weak for anything to improve; what must hold is the machinery around it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dspy
import pytest

from drpo import DynamicReward, load
from drpo.configs.prompts import load_prompts
from drpo.configs.settings import RunSettings, load_settings
from drpo.programs.judge import Asked, Judge, judge_signature
from drpo.serving.engine import build_lm
from drpo.serving.scripted import Prompt, scripted_lm
from drpo.serving.vllm import VLLMServer

pytestmark = pytest.mark.vllm

ROOT = Path(__file__).parents[2]
PYTHON = Path(os.environ.get("DRPO_VLLM_PYTHON", ROOT / ".venv-vllm/bin/python"))
MODEL = Path(os.environ.get("DRPO_VLLM_MODEL", ROOT / ".models/SmolLM2-135M-Instruct"))


@dataclass(frozen=True)
class Run:
    """A finished `drpo compile` and its server."""

    folder: Path
    overrides: list[str]
    settings: RunSettings
    server: VLLMServer
    counters: dict[str, float]
    """The server's counters over the compile alone."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Compile once by the command line, on a server that is running already."""
    for path in (PYTHON, MODEL):
        if not path.exists():
            pytest.fail(f"{path} is missing: run `make vllm-env` first (or set DRPO_VLLM_PYTHON and DRPO_VLLM_MODEL)")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    overrides = [
        f"serve.smollm2.{key}={value}" for key, value in (("python", PYTHON), ("model", MODEL), ("port", port))
    ]
    settings = load_settings("smollm2", overrides)
    folder = tmp_path_factory.mktemp("run")
    server = VLLMServer(settings.serve["smollm2"], log_dir=folder, on_progress=print).start()
    try:
        before = server.metrics()
        done = drpo("compile", "smollm2", "--log-dir", str(folder / "run"), *sets(overrides))
        assert done.returncode == 0, done.stderr
        print(done.stdout)
        after = server.metrics()
        counters = {name: value - before.get(name, 0.0) for name, value in after.items()}
        yield Run(folder / "run", overrides, settings, server, counters)
    finally:
        server.stop()


def sets(overrides: list[str]) -> list[str]:
    return [word for override in overrides for word in ("--set", override)]


def drpo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "drpo", *arguments], capture_output=True, text=True, timeout=600, check=False
    )


def result_of(run: Run) -> dict:
    result: dict = json.loads((run.folder / "result.json").read_text())
    return result


def test_files_and_decision(run: Run) -> None:
    """The run directory is complete, and its figures say what happened."""
    names = {path.name for path in run.folder.iterdir()}
    assert names >= {
        "config.json",
        "log.txt",
        "calls.jsonl",
        "trace.json",
        "trace.md",
        "program.json",
        "ledger.json",
        "result.json",
        "bill.json",
    }
    result = result_of(run)
    assert result["decision"] in {"improved", "no_gain"}
    assert result["num_val"] == 10
    assert not result["simulated"]
    assert set(result["cost"].values()) == {None}  # nobody knows what a local model costs


def test_calls_are_counted_as_the_server_counts_them(run: Run) -> None:
    """Calls and tokens by role add up to the server's own counters."""
    result = result_of(run)
    assert sum(result["lm_calls"].values()) == run.counters["vllm:request_success_total"]
    tokens = run.counters["vllm:prompt_tokens_total"] + run.counters["vllm:generation_tokens_total"]
    assert sum(result["tokens"].values()) == tokens


def test_prefix_cache_serves_most_prompt_tokens(run: Run) -> None:
    """Constant text stands first in every prompt, so the server finds most tokens in its cache."""
    rate = run.counters["vllm:prefix_cache_hits_total"] / run.counters["vllm:prefix_cache_queries_total"]
    print(f"prefix cache: {rate:.1%} of {run.counters['vllm:prefix_cache_queries_total']:.0f} prompt tokens")
    assert rate > 0.6


def test_25_of_25_judge_replies_parse(run: Run) -> None:
    """With structured output every reply has every grade, at the first asking."""
    lm = build_lm(run.settings.lms.judge.model_copy(update={"api_base": run.server.api_base, "server": None}))
    library = DynamicReward(judge_lm=lm).library
    criteria = [Asked(item.name, item.definition, item.best, item.worst) for item in list(library)[:2]]
    judge = Judge(tries=1)
    queries = [example.query for example in load_prompts("builtin:prompts", limit=25).examples]
    pairs = dspy.Parallel(num_threads=8, disable_progress_bar=True)(
        [
            (judge, {"lm": lm, "query": query, "answer": f"About that: {query} It depends.", "criteria": criteria})
            for query in queries
        ]
    )
    parsed = [grades for grades in pairs if all(grade is not None for grade in grades)]
    print(f"{len(parsed)} of {len(queries)} judge replies parsed")
    assert len(parsed) == 25
    assert "judgement_2" in judge_signature("x", 2).output_fields


def test_killed_server_restarts_and_the_loaded_program_sends_the_same_bytes(run: Run) -> None:
    """After kill -9 of the server a new one answers the saved program, whose prompts are those of the compiled one."""
    compiled = json.loads((run.folder / "program.json").read_text())
    loaded = load(run.folder / "program.json")
    instruction = compiled["respond"]["signature"]["instructions"]
    assert loaded.respond.signature.instructions == instruction
    calls = [json.loads(line) for line in (run.folder / "calls.jsonl").read_text().splitlines()]
    # What is returned, be it the seed, answered held-out queries last.
    sent = [call["request"] for call in calls if call["role"] == "task" and call["request"]["system"] == instruction]
    query = sent[-1]["messages"][-1]["parts"][0]["text"]
    seen: list[Prompt] = []

    def note(prompt: Prompt) -> str:
        seen.append(prompt)
        return "noted"

    with dspy.context(lm=scripted_lm(note)):
        loaded(query=query)
    assert seen[0].system == sent[-1]["system"]
    assert [text for _, text in seen[0].turns] == [message["parts"][0]["text"] for message in sent[-1]["messages"]]

    os.kill(run.server.pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and run.server.pid is not None and Path(f"/proc/{run.server.pid}").exists():
        time.sleep(0.2)
    run.server.stop()
    answer = drpo("respond", str(run.folder / "program.json"), query, "--config", "smollm2", *sets(run.overrides))
    assert answer.returncode == 0, answer.stderr
    assert "ready after" in answer.stderr  # a new server was started for it
    assert answer.stdout.strip()


def test_resuming_the_finished_run_asks_nothing(run: Run) -> None:
    """The same command on the same directory repeats the result from the record, without any server call."""
    before = result_of(run)
    with VLLMServer(run.settings.serve["smollm2"], log_dir=run.folder.parent, on_progress=print) as server:
        done = drpo("compile", "smollm2", "--log-dir", str(run.folder), *sets(run.overrides))
        assert done.returncode == 0, done.stderr
        assert server.metrics().get("vllm:request_success_total", 0) == 0
    assert result_of(run) == before
