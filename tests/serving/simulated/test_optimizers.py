import importlib.util
import json
import logging
from pathlib import Path
from types import ModuleType

import dspy
import pytest

from drpo import DRPOTeleprompter, Responder
from drpo.serving.simulated.engine import simulated_lm
from drpo.serving.simulated.models import SimulatedModels
from drpo.serving.simulated.server import SimulatedServer
from drpo.serving.simulated.world import World

ROOT = Path(__file__).parents[3]
QUERIES = [json.loads(line)["query"] for line in (ROOT / "configs/data/prompts.jsonl").read_text("utf-8").splitlines()]
OPTIMIZERS = ("drpo-paper", "copro", "mipro-0shot", "mipro-demos", "gepa", "simba")
KNOWN = ("Type mismatch for field", "Input contains fields not in signature", "Skipping", "No valset")
"""Warnings that DSPy's optimizers raise about themselves, with any model."""


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_optimizers", ROOT / "benchmarks/optimizers.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_run_unchanged_and_do_no_harm(benchmark: ModuleType, name: str, monkeypatch) -> None:
    """DSPy's own optimizers run to their end on the simulated models, swallow no error, and lose no true quality."""
    said: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    listener = Listener(level=logging.WARNING)
    for logger in ("dspy", "gepa"):
        logging.getLogger(logger).addHandler(listener)
    try:
        [row] = benchmark.compare(World.preset("weak-base"), QUERIES[:8], QUERIES[60:120], [name])
    finally:
        for logger in ("dspy", "gepa"):
            logging.getLogger(logger).removeHandler(listener)
    assert row["gain"] > -0.03
    assert [text for text in said if not text.startswith(KNOWN)] == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_run_over_http(benchmark: ModuleType, name: str) -> None:
    """The same optimizers run to their end on the same models behind a real HTTP server, every request answered."""
    world = World.preset("weak-base")
    with SimulatedServer(SimulatedModels(world)) as server:
        [row] = benchmark.compare(world, QUERIES[:6], QUERIES[60:90], [name], api_base=server.api_base)
        assert sum(server.counts.requests.values()) == server.counts.replies > 0
    assert row["gain"] > -0.03


@pytest.mark.parametrize("world", ["default", "weak-base", "safety-heavy"])
def test_the_papers_search_raises_true_quality(world: str) -> None:
    """A whole run on the shipped prompts ends better than it began, by the measure that no judge gives."""
    chosen = World.preset(world)
    lms = {f"{role}_lm": simulated_lm(role, chosen) for role in ("task", "judge", "criteria", "prompt")}
    trainset = [dspy.Example(query=query).with_inputs("query") for query in QUERIES[:40]]
    program = DRPOTeleprompter(auto="paper", num_threads=1, **lms).compile(Responder(), trainset=trainset)
    gain = chosen.true_quality(program, QUERIES[60:]) - chosen.true_quality(Responder(), QUERIES[60:])
    assert gain > 0.02


def test_runs_repeat_at_any_thread_count() -> None:
    """The same world and data give the same instruction, alone or in eight threads."""

    def run(threads: int) -> str:
        lms = {f"{role}_lm": simulated_lm(role, World()) for role in ("task", "judge", "criteria", "prompt")}
        trainset = [dspy.Example(query=query).with_inputs("query") for query in QUERIES[:10]]
        program = DRPOTeleprompter(auto="paper", depth=8, num_threads=threads, **lms).compile(
            Responder(), trainset=trainset
        )
        return program.respond.signature.instructions

    assert run(1) == run(8) == run(1)
