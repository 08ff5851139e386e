"""Does the true bill of a run lie in the range that `drpo estimate` names before?

Random configs: search, sizes, demonstrations, prompts, caps, prices, seed. The models to be paid for are simulated, in
a world `random-N`; the estimate rehearses in other worlds, and knows of this one what its five calls tell, or nothing
without a probe. Then the run is really made, and its bill compared.

    python benchmarks/estimates.py --configs 50 --json estimates.json
    python benchmarks/estimates.py --configs 50 --first 1000     # other configs, in other worlds

A range that is always right is no use if it is wide, so the median of its high end over its low end is shown beside.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import dspy
from rich.console import Console
from rich.table import Table

from drpo.commands.compiling import compile_program
from drpo.commands.estimating import estimate
from drpo.configs.settings import RunSettings, load_settings
from drpo.errors import BudgetExceededError, ConfigError

ROLES = ("task", "judge", "criteria", "prompt")
LEAST = 0.9
"""The share of configs whose totals must lie in their ranges."""
WAYS = {"with probe": True, "without": False}


def drawn(number: int, folder: Path) -> RunSettings:
    """Return the random config of a number; its prompts are written into a folder."""
    draw = random.Random(f"config {number}")
    while True:
        try:
            return load_settings("default", [f"data.prompts={_prompts(draw, folder)}", *_overrides(draw, number)])
        except ConfigError:  # some settings exclude each other
            continue


def _overrides(draw: random.Random, number: int) -> Iterator[str]:
    auto = draw.choices(["light", "medium", "heavy", "paper"], [5, 2, 1, 3])[0]
    yield f"auto={auto}"
    yield f"world=random-{number}"
    yield f"seed={draw.randrange(1000)}"
    yield f"num_threads={draw.choice([1, 4, 8, 16])}"
    for name, values in {
        "beam_size": [1, 2, 3], "n_actions": [2, 4, 8], "depth": [1, 2, 3, 6], "minibatch_size": [4, 8, 16, 24],
        "k": [0, 1, 3, 5], "optimize_demos": ["true", "false"], "data.num_val": [0, 10, 25],
        "reward.max_criteria": [2, 3, 5], "reward.dynamic": ["true", "false"], "data.demos": ["builtin:demos"],
        "program.instructions": ["Answer.", "'You help farmers. " + "Say what to do first, and why it works. ' * 1"],
    }.items():  # fmt: skip
        if draw.random() < 0.3:
            yield f"{name}={draw.choice(values)}"
    if draw.random() < 0.35:
        yield draw.choice(
            [f"max_lm_calls={draw.randrange(60, 900)}", f"max_tokens={draw.randrange(100_000, 900_000)}",
             f"max_cost={draw.uniform(0.02, 1.0):.3f}", f"max_lm_calls={{judge: {draw.randrange(30, 300)}}}"]
        )  # fmt: skip
    for role in ROLES:
        model = {"task": "base"}.get(role, role)
        price = draw.choice([0.1, 0.4, 2.0])
        yield (
            f"lms.{role}={{model: sim/{model}, input_price: {price}, output_price: {4 * price}, "
            f"temperature: {1.0 if role == 'prompt' else 0.0}}}"
        )


def _prompts(draw: random.Random, folder: Path) -> Path:
    """Write 30 to 300 prompts; beyond the 180 that come with the package they are these, asked another way."""
    shipped = Path(__file__).parents[1] / "configs" / "data" / "prompts.jsonl"
    queries = [json.loads(line)["query"] for line in shipped.read_text(encoding="utf-8").splitlines()]
    queries += [f"{query} Give one example from everyday life." for query in queries]
    path = folder / "prompts.jsonl"
    chosen = draw.sample(queries, draw.randint(30, 300))
    path.write_text("".join(json.dumps({"query": query}) + "\n" for query in chosen), encoding="utf-8")
    return path


def true_bill(settings: RunSettings, folder: Path) -> dict[str, dict[str, float]]:
    """Return what a run really takes: figure to role, or `total`, to amount."""
    log_dir = folder / "run"
    with suppress(BudgetExceededError):  # a cap that leaves nothing; what was used is on record
        compile_program(settings, log_dir=log_dir, display_progress=False, say=lambda text: None)
    used = {name: dict.fromkeys(ROLES, 0.0) for name in ("calls", "tokens", "cost", "seconds")}
    for line in (log_dir / "calls.jsonl").read_text(encoding="utf-8").splitlines():
        call = json.loads(line)
        if "response" in call:
            tokens = call["response"]["usage"]
            used["calls"][call["role"]] += 1
            used["tokens"][call["role"]] += tokens["input_tokens"] + tokens["output_tokens"]
            used["cost"][call["role"]] += call["cost"]
            used["seconds"][call["role"]] += call["seconds"]
    return {name: {**by_role, "total": sum(by_role.values())} for name, by_role in used.items()}


def run(number: int) -> dict[str, Any]:
    """Return the row of one config: what was said before, and what came."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name, dspy.context(disable_history=True):
        folder = Path(name)
        settings = drawn(number, folder)
        row: dict[str, Any] = {"number": number, "auto": settings.auto, "estimates": {}, "seconds": {}}
        for way, probe in WAYS.items():
            begin = time.perf_counter()
            found = estimate(settings, with_probe=probe)
            row["seconds"][way] = time.perf_counter() - begin
            row["estimates"][way] = found.as_dict()
        begin = time.perf_counter()
        row["true"] = true_bill(settings, folder)
        row["seconds"]["run"] = time.perf_counter() - begin
        row["capped"] = bool(found.caps)
        row["prompts"] = len((folder / "prompts.jsonl").read_text(encoding="utf-8").splitlines())
        return row


def _amount(row: dict[str, Any], way: str, figure: str, scope: str) -> dict[str, float] | None:
    found = row["estimates"][way]
    bill = found["total"] if scope == "total" else found["roles"][scope]
    amount: dict[str, float] | None = bill[figure]
    return amount


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return, for each figure and way, the share of configs in range and how wide the range is."""
    lines = []
    for way in WAYS:
        for figure in ("calls", "tokens", "cost", "seconds"):
            for scope in ("total", *ROLES):
                # On the clock simulated models in this process take no time; without a probe no time is known.
                if figure == "seconds" and (scope == "total" or not WAYS[way]):
                    continue
                pairs = [(amount, row["true"][figure][scope]) for row in rows
                         if (amount := _amount(row, way, figure, scope)) is not None]  # fmt: skip
                if not pairs:
                    continue
                widths = [amount["high"] / amount["low"] for amount, _ in pairs if amount["low"] > 0]
                errors = [abs(true / amount["expected"] - 1) for amount, true in pairs if amount["expected"] > 0]
                lines.append({
                    "way": way, "figure": figure, "scope": scope, "configs": len(pairs),
                    "inside": sum(_inside(amount, true) for amount, true in pairs) / len(pairs),
                    "above": sum(true > amount["high"] for amount, true in pairs) / len(pairs),
                    "width": median(widths) if widths else None, "error": median(errors) if errors else None,
                })  # fmt: skip
    return lines


def _inside(amount: dict[str, float], true: float) -> bool:
    close = 1e-9 * max(1.0, true)
    return amount["low"] - close <= true <= amount["high"] + close


def shown(lines: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]]) -> Table:
    """Return the lines as a table."""
    table = Table(title=f"the true bill of {len(rows)} random configs (simulated models)", title_justify="left")
    for heading in ("estimate", "figure", "of", "in range", "above it", "high / low", "off by"):
        table.add_column(heading, justify="left" if heading in ("estimate", "figure", "of") else "right")
    for line in lines:
        table.add_row(
            line["way"],
            line["figure"], line["scope"], f"{line['inside']:.0%}", f"{line['above']:.0%}",
            "-" if line["width"] is None else f"{line['width']:.2f}",
            "-" if line["error"] is None else f"{line['error']:.1%}",
            end_section=line["scope"] == "prompt",
        )  # fmt: skip
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configs", type=int, default=50, help="how many")
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="configs at the same time")
    parser.add_argument("--json", type=Path, help="where the rows are written")
    arguments = parser.parse_args()
    numbers = range(arguments.first, arguments.first + arguments.configs)
    begin = time.perf_counter()
    rows = []
    with ProcessPoolExecutor(arguments.processes) as pool:
        for row in pool.map(run, numbers):
            rows.append(row)
            total = row["true"]["calls"]["total"]
            print(f"config {row['number']}: {row['auto']}, {row['prompts']} prompts, {total:.0f} calls", flush=True)
    lines = summary(rows)
    Console().print(shown(lines, rows))
    for name, key in {**{f"an estimate {way}": way for way in WAYS}, "a true run": "run"}.items():
        print(f"{name}: {median(row['seconds'][key] for row in rows):.1f} s in the median")
    print(f"{time.perf_counter() - begin:.0f} s in all")
    if arguments.json:
        arguments.json.write_text(json.dumps({"summary": lines, "rows": rows}, indent=1), encoding="utf-8")
    totals = [line for line in lines if line["scope"] == "total"]
    return 0 if all(line["inside"] >= LEAST for line in totals) else 1


if __name__ == "__main__":
    sys.exit(main())
