"""DSPy's own optimizers in the simulated world, unchanged, beside DRPO: the true gain of each.

python benchmarks/optimizers.py [--world NAME] [--train N] [--json FILE] [--only NAME,...] [--http]
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import dspy

from drpo import DRPOTeleprompter, DynamicReward, Responder
from drpo.serving.engine import build_lm
from drpo.serving.settings import LMSettings
from drpo.serving.simulated.engine import simulated_lm
from drpo.serving.simulated.models import SimulatedModels
from drpo.serving.simulated.server import SimulatedServer
from drpo.serving.simulated.world import World

Optimize = Callable[[dspy.Module, Sequence[dspy.Example], Any, dict[str, dspy.LM]], dspy.Module]


def drpo_paper(student: Any, trainset: Any, metric: Any, lms: Any) -> Any:
    named = {f"{role}_lm": lm for role, lm in lms.items()}
    return DRPOTeleprompter(auto="paper", num_threads=1, **named).compile(student, trainset=trainset)


def copro(student: Any, trainset: Any, metric: Any, lms: Any) -> Any:
    optimizer = dspy.COPRO(prompt_model=lms["prompt"], metric=metric, breadth=4, depth=2)
    return optimizer.compile(student, trainset=trainset, eval_kwargs={"num_threads": 1, "display_progress": False})


def mipro(demos: int) -> Optimize:
    def optimize(student: Any, trainset: Any, metric: Any, lms: Any) -> Any:
        optimizer = dspy.MIPROv2(
            metric=metric, prompt_model=lms["prompt"], task_model=lms["task"], auto=None, num_candidates=4,
            max_bootstrapped_demos=demos, max_labeled_demos=0, num_threads=1,
        )  # fmt: skip
        return optimizer.compile(student, trainset=trainset, num_trials=6, minibatch=False, seed=1)

    return optimize


def gepa(student: Any, trainset: Any, metric: Any, lms: Any) -> Any:
    optimizer = dspy.GEPA(
        metric=metric,
        max_metric_calls=8 * len(trainset),
        reflection_lm=lms["prompt"].copy(temperature=1.0),
        num_threads=1,
    )
    return optimizer.compile(student, trainset=trainset)


def simba(student: Any, trainset: Any, metric: Any, lms: Any) -> Any:
    optimizer = dspy.SIMBA(
        metric=metric,
        bsize=min(8, len(trainset)),
        num_candidates=3,
        max_steps=3,
        max_demos=2,
        prompt_model=lms["prompt"],
        num_threads=1,
    )
    return optimizer.compile(student, trainset=trainset, seed=1)


OPTIMIZERS: dict[str, Optimize] = {
    "drpo-paper": drpo_paper, "copro": copro, "mipro-0shot": mipro(0), "mipro-demos": mipro(2),
    "gepa": gepa, "simba": simba,
}  # fmt: skip


MODELS = {"task": "base", "judge": "judge", "criteria": "criteria", "prompt": "prompt"}
"""Role to the simulated model that plays it."""


def compare(
    world: World, train: Sequence[str], held_out: Sequence[str], names: Sequence[str], *, api_base: str | None = None
) -> list[dict[str, Any]]:
    """Return a row per optimizer: true quality on held-out queries before and after, seconds, instruction.

    With an `api_base` the models are asked over HTTP, as any model behind an OpenAI-compatible server is.
    """
    rows = []
    for name in names:
        lms = {role: simulated_lm(role, world) for role in MODELS}
        if api_base is not None:
            served = {role: f"hosted_vllm/sim/{model}" for role, model in MODELS.items()}
            lms = {
                role: build_lm(LMSettings(model=model, api_base=api_base, temperature=0.0))
                for role, model in served.items()
            }
        metric = DynamicReward(lms["judge"], lms["criteria"])
        trainset = [dspy.Example(query=query).with_inputs("query") for query in train]
        student = Responder(adapter="chat")
        before, begin = world.true_quality(student, held_out), time.perf_counter()
        random.seed(0)
        with dspy.context(lm=lms["task"], disable_history=True):
            program = OPTIMIZERS[name](student, trainset, metric, lms)
        seconds = time.perf_counter() - begin
        after = world.true_quality(program, held_out)
        predictor = program.predictors()[0]
        rows.append({"optimizer": name, "before": before, "after": after, "gain": after - before, "seconds": seconds,
                     "demos": len(predictor.demos), "instruction": predictor.signature.instructions})  # fmt: skip
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare optimizers on true quality in a simulated world.")
    parser.add_argument("--world", default="default", help="a preset, random-<seed> or a YAML file")
    parser.add_argument("--train", type=int, default=24, help="how many training queries")
    parser.add_argument("--only", default=",".join(OPTIMIZERS), help="names, separated by commas")
    parser.add_argument("--http", action="store_true", help="ask the models through the simulated HTTP server")
    parser.add_argument("--json", type=Path, help="where the rows are written")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    path = Path(__file__).parents[1] / "configs" / "data" / "prompts.jsonl"
    queries = [json.loads(line)["query"] for line in path.read_text(encoding="utf-8").splitlines()]
    world = World.named(arguments.world)
    with SimulatedServer(SimulatedModels(world)) if arguments.http else nullcontext() as server:
        api_base = server.api_base if server else None
        rows = compare(world, queries[: arguments.train], queries[60:], arguments.only.split(","), api_base=api_base)
    by = "over HTTP" if arguments.http else "in this process"
    print(f"world {arguments.world} (simulated, {by}), {arguments.train} training queries")
    for row in rows:
        quality = f"true {row['before']:.3f} -> {row['after']:.3f} ({row['gain']:+.3f})"
        print(f"{row['optimizer']:12} {quality}  {row['seconds']:6.1f} s  {row['demos']} demos")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
