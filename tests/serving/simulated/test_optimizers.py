import logging
from collections.abc import Iterator

import dspy
import pytest
from contest import QUERIES, contest

from drpo import DRPOTeleprompter, Responder
from drpo.serving.engine import build_lm
from drpo.serving.settings import LMSettings
from drpo.serving.simulated.engine import simulated_lm
from drpo.serving.simulated.models import SimulatedModels
from drpo.serving.simulated.server import SimulatedServer
from drpo.serving.simulated.world import World
from drpo.teleprompters.comparison.entrants import ENTRANTS, compiled

WORLD = World.preset("weak-base")
MODELS = {"task": "base", "judge": "judge", "criteria": "criteria", "prompt": "prompt"}
"""Role to the simulated model that plays it."""
KNOWN = ("Type mismatch for field", "Input contains fields not in signature", "Skipping", "No valset")
"""Warnings that DSPy's optimizers raise about themselves, with any model."""


def gain(program: dspy.Module) -> float:
    return WORLD.true_quality(program, QUERIES[60:120]) - WORLD.true_quality(Responder(), QUERIES[60:120])


@pytest.fixture
def said() -> Iterator[list[str]]:
    """Return what the loggers of DSPy and GEPA warn of."""
    texts: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            texts.append(record.getMessage())

    listener = Listener(level=logging.WARNING)
    for logger in ("dspy", "gepa"):
        logging.getLogger(logger).addHandler(listener)
    yield texts
    for logger in ("dspy", "gepa"):
        logging.getLogger(logger).removeHandler(listener)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ENTRANTS)
def test_optimizers_run_unchanged_and_do_no_harm(name: str, said: list[str]) -> None:
    """DSPy's own optimizers run to their end on the simulated models, swallow no error, and lose no true quality."""
    done = compiled(ENTRANTS[name], contest(budget=300, world=WORLD))
    assert gain(done.program) > -0.03
    assert done.given_up == 0
    assert [text for text in said if not text.startswith(KNOWN)] == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ENTRANTS)
def test_optimizers_run_over_http(name: str) -> None:
    """The same optimizers run to their end on the same models behind a real HTTP server, every request answered."""
    with SimulatedServer(SimulatedModels(WORLD)) as server:
        lms = {
            role: build_lm(
                LMSettings(
                    model=f"hosted_vllm/sim/{model}", api_base=server.api_base,
                    temperature=1.0 if role == "prompt" else 0.0,
                )
            )
            for role, model in MODELS.items()
        }  # fmt: skip
        done = compiled(ENTRANTS[name], contest(budget=200, world=WORLD, lms=lms))
        assert sum(server.counts.requests.values()) == server.counts.replies == done.calls
    assert gain(done.program) > -0.03


@pytest.mark.slow
@pytest.mark.parametrize("world", ["weak-base", "default", "safety-heavy"])
def test_the_papers_search_raises_true_quality(world: str) -> None:
    """A whole run on the shipped prompts ends better than it began, by the measure that no judge gives."""
    chosen = World.preset(world)
    lms = {f"{role}_lm": simulated_lm(role, chosen) for role in ("task", "judge", "criteria", "prompt")}
    trainset = [dspy.Example(query=query).with_inputs("query") for query in QUERIES[:40]]
    program = DRPOTeleprompter(auto="paper", num_threads=1, **lms).compile(Responder(), trainset=trainset)
    gain = chosen.true_quality(program, QUERIES[60:]) - chosen.true_quality(Responder(), QUERIES[60:])
    assert gain > 0.02


@pytest.mark.slow
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
