"""The summary that ends a run on the terminal: what was decided, how sure that is, what it took."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ..programs.boundary import visible
from ..teleprompters.verdict import FEW, notes, signed, true_gain, verdict
from .usage import usage

SIMULATED_BANNER = (
    "SIMULATED: the models of this run are a model of the world, not language models (docs/simulated.md). "
    "No number of it says anything about a real model."
)
"""What stands over every run with simulated models."""

ABLATION = {"instruction": "instruction only", "demonstrations": "demonstrations only", "both": "both"}
"""The rows of the ablation, in words."""
FILES = {
    "program.json": "the compiled program",
    "trace.md": "every candidate with its answer and judgement",
    "ledger.json": "the criteria of each query",
    "result.json": "these figures",
    "bill.json": "what each role used, and what failed on the way",
}
"""The files of a run directory that people open, and what is in them."""


def print_summary(
    result: dict[str, Any], *, seed_instructions: dict[str, str], log_dir: Path | None, console: Console
) -> None:
    """Print the instructions before and after, the decision with its figures, what each role used, and the files.

    Args:
        result: What `result.json` says.
        seed_instructions: Predictor name to the instruction before.
        log_dir: The run directory. None: there is none.
        console: Where to print.
    """
    for name, instruction in result["instructions"].items():
        if instruction == seed_instructions[name]:
            console.print(_instruction(f"instruction of {name}, unchanged", instruction))
        else:
            console.print(_instruction(f"seed instruction of {name}", seed_instructions[name]))
            console.print(_instruction(f"final instruction of {name}", instruction))
    console.print(Text(verdict(result)))
    if result["simulated"]:
        console.print(Text(true_gain(result)))
    if len(result.get("ablation", {})) > 1:
        console.print(_ablation(result["ablation"]))
    for line in notes(result):
        console.print(Text(line))
    for part in usage(result, console.width):
        console.print(part)
    if log_dir is not None:
        console.print(Text(f"Files in {log_dir}:"))
        for name, what in FILES.items():
            if (log_dir / name).exists():
                console.print(Text(f"  {name:<13} {what}"))


def _ablation(ablation: dict[str, Any]) -> Table:
    table = Table(title="What each part gains beside the seed, on held-out prompts", title_justify="left")
    table.add_column("part")
    for heading in ("gain", "95 % interval", "prompts"):
        table.add_column(heading, justify="right")
    for part, words in ABLATION.items():
        if part not in ablation:
            continue
        found = ablation[part]
        if not found:
            table.add_row(words, "missing", "-", "0")
            continue
        interval = "-" if found["low"] is None else f"{signed(found['low'])} to {signed(found['high'])}"
        table.add_row(words, signed(found["mean"]), interval, str(found["count"]))
    counts = [found["count"] for found in ablation.values() if found]
    if counts and min(counts) < FEW:
        table.caption = f"What drops out early is judged on few prompts; below {FEW} an interval is a rough guess."
        table.caption_justify = "left"
    return table


def _instruction(title: str, text: str) -> Panel:
    # A model's text: shown without its control characters, and never read as markup.
    return Panel(Text(visible(text)), title=escape(title), title_align="left")
