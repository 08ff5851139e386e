"""Do tuned settings beat the preset where they were not tuned? `drpo tune` in some simulated worlds, tested in others.

    python benchmarks/tuning.py                       # 4 worlds to tune in, 12 others to test in
    python benchmarks/tuning.py --tuned 2 --tested 4  # smaller

Worlds are random ones of seeds 100 and above. A study sees 120 of the shipped prompts; settings are tested on the same
120 by a plain compile in each other world, and the program that is returned is measured on the 60 others, by true
quality. What is compared is true gain per 1,000 LM calls, tuned minus preset in the same world under the same seed.
Beside it stands what the study itself said of the difference: over the folds of its trials, where the best was chosen,
and confirmed on fresh folds.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import dspy
import numpy as np
from rich.console import Console
from rich.table import Table

from drpo import DRPOTeleprompter, Responder
from drpo.commands.tuning import tuning
from drpo.configs.settings import load_settings
from drpo.serving.simulated.engine import simulated_lm
from drpo.serving.simulated.world import World

TRAIN = 120
FIRST_TUNED, FIRST_TESTED = 100, 200


@dataclass(frozen=True)
class Job:
    """One compile with some settings in a world."""

    name: str
    world: int
    seed: int
    settings: dict[str, Any]


def tune(world: int, *, trials: int, folds: int, confirm: int) -> dict[str, Any]:
    """Return what a study in a world found."""
    quiet()
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(
            "default",
            [f"world=random-{world}", f"data.limit={TRAIN}", f"tune.trials={trials}", f"tune.folds={folds}",
             f"tune.confirm={confirm}", "num_threads=1"],
        )  # fmt: skip
        return tuning(settings, log_dir=Path(folder), storage=None, study=None, say=lambda text: None).data


def test(job: Job) -> dict[str, Any]:
    """Return the true gain of what a compile returns, on prompts that it never saw."""
    quiet()
    world = World.random(job.world)
    examples = [dspy.Example(**row).with_inputs("query") for row in queries()]
    tested = [example.query for example in examples[TRAIN:]]
    lms = {f"{role}_lm": simulated_lm(role, world) for role in ("task", "judge", "criteria")}
    lms["prompt_lm"] = simulated_lm("prompt", world, temperature=1.0)
    optimizer = DRPOTeleprompter(seed=job.seed, num_threads=1, display_progress=False, **lms, **job.settings)
    with dspy.context(disable_history=True):
        program = optimizer.compile(Responder(), trainset=examples[:TRAIN])
    gain = world.true_quality(program, tested) - world.true_quality(Responder(), tested)
    calls = sum(program.drpo_result["lm_calls"].values())
    return {**asdict(job), "true_gain": gain, "calls": calls, "per_1000": 1000 * gain / calls}


def quiet() -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)


def queries() -> list[dict[str, Any]]:
    path = Path(__file__).parents[1] / "configs" / "data" / "prompts.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def interval(values: Sequence[float], worlds: Sequence[int]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a mean over whole worlds."""
    means = [np.mean([value for value, one in zip(values, worlds, strict=True) if one == world])
             for world in sorted(set(worlds))]  # fmt: skip
    drawn = np.random.default_rng(0).choice(means, (10_000, len(means))).mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def compared(rows: Sequence[dict[str, Any]], name: str) -> dict[str, Any]:
    """Return what settings are worth beside the preset's, in the same worlds under the same seeds."""
    mine, preset = (sorted((row for row in rows if row["name"] == one), key=lambda row: (row["world"], row["seed"]))
                    for one in (name, "preset"))  # fmt: skip
    differences = [one["per_1000"] - two["per_1000"] for one, two in zip(mine, preset, strict=True)]
    return {
        "name": name,
        "true_gain": float(np.mean([row["true_gain"] for row in mine])),
        "calls": float(np.mean([row["calls"] for row in mine])),
        "per_1000": float(np.mean([row["per_1000"] for row in mine])),
        "difference": float(np.mean(differences)),
        "interval": interval(differences, [row["world"] for row in mine]),
    }


def confirmed(study: dict[str, Any]) -> str:
    """Return the difference that a study found on fresh folds, with its interval."""
    found = study["confirmed"]
    if found is None:
        return "nothing"
    low, high = found["interval"] or (float("nan"), float("nan"))
    return f"{found['mean']:+.3f} ({low:+.3f} to {high:+.3f})"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tuned", type=int, default=4, help="worlds to tune in")
    parser.add_argument("--tested", type=int, default=12, help="other worlds to test in")
    parser.add_argument("--seeds", type=int, default=2, help="compiles per tested world")
    parser.add_argument("--trials", type=int, default=20, help="trials per study")
    parser.add_argument("--folds", type=int, default=3, help="compiles per trial")
    parser.add_argument("--confirm", type=int, default=6, help="fresh folds that confirm the best")
    parser.add_argument("--processes", type=int, default=2, help="studies or compiles at the same time")
    parser.add_argument("--json", type=Path, help="where everything is written")
    arguments = parser.parse_args()
    worlds = range(FIRST_TUNED, FIRST_TUNED + arguments.tuned)
    with ProcessPoolExecutor(arguments.processes) as executor:
        studied = partial(tune, trials=arguments.trials, folds=arguments.folds, confirm=arguments.confirm)
        studies = list(executor.map(studied, worlds))
        settings = {"preset": {}} | {
            f"tuned in {world}": study["best"]["settings"] for world, study in zip(worlds, studies, strict=True)
        }
        jobs = [
            Job(name, world, seed, found)
            for name, found in settings.items()
            for world in range(FIRST_TESTED, FIRST_TESTED + arguments.tested) for seed in range(arguments.seeds)
        ]  # fmt: skip
        rows = list(executor.map(test, jobs))
    table = Table(title=f"true gain in {arguments.tested} other worlds, {arguments.seeds} seeds each (simulated)")
    for heading in (
        "settings",
        "gain",
        "calls",
        "per 1,000",
        "minus preset",
        "95 % interval",
        "its trials said",
        "its study confirmed",
    ):
        table.add_column(heading, justify="left" if heading == "settings" else "right")
    summary = [compared(rows, name) for name in settings]
    said = ["", *(f"{s['difference']['mean']:+.3f}" if s["difference"] else "+0.000, preset" for s in studies)]
    for row, claim, held in zip(summary, said, ["", *map(confirmed, studies)], strict=True):
        low, high = row["interval"]
        table.add_row(
            row["name"], f"{row['true_gain']:+.3f}", f"{row['calls']:.0f}", f"{row['per_1000']:+.3f}",
            f"{row['difference']:+.3f}", f"{low:+.3f} to {high:+.3f}", claim, held,
        )  # fmt: skip
    console = Console(width=130)
    console.print(table)
    for name, found in settings.items():
        console.print(f"{name}: {found}")
    if arguments.json:
        data = {"summary": summary, "studies": studies, "rows": rows}
        arguments.json.write_text(json.dumps(data, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
