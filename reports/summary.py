"""The summary that ends a run on the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

SIMULATED_BANNER = (
    "SIMULATED: the models of this run are a model of the world, not language models (docs/simulated.md). "
    "No number of it says anything about a real model."
)
"""What stands over every run with simulated models."""

FILES = {
    "program.json": "the compiled program",
    "trace.md": "every candidate with its answer and judgement",
    "ledger.json": "the criteria of each query",
    "result.json": "these figures",
}
"""The files of a run directory that people open, and what is in them."""


def print_summary(
    result: dict[str, Any], *, seed_instructions: dict[str, str], log_dir: Path | None, console: Console
) -> None:
    """Print the instructions before and after, the reward, what each role used, and where the files are.

    Args:
        result: What `result.json` says.
        seed_instructions: Predictor name to the instruction before.
        log_dir: The run directory. None: there is none.
        console: Where to print.
    """
    for name, instruction in result["instructions"].items():
        console.print(_instruction(f"seed instruction of {name}", seed_instructions[name]))
        console.print(_instruction(f"final instruction of {name}", instruction))
    console.print(Text(verdict(result)))
    if result["simulated"]:
        console.print(Text(_true(result)))
    console.print(_usage(result))
    if result["stopped"]:
        console.print(Text(f"The search was stopped early: {result['stopped']}."))
    counts = {
        name: result[name] for name in ("missing_judgements", "program_errors", "unusable_proposals") if result[name]
    }
    if counts:
        console.print(Text(", ".join(f"{name.replace('_', ' ')}: {count}" for name, count in counts.items())))
    if log_dir is not None:
        console.print(Text(f"Files in {log_dir}:"))
        for name, what in FILES.items():
            if (log_dir / name).exists():
                console.print(Text(f"  {name:<13} {what}"))


def verdict(result: dict[str, Any]) -> str:
    """Return in words what the held-out comparison says."""
    if result["decision"] is None:
        return "No held-out prompts were given, so nothing is said about a gain: set data.num_val to compare."
    if result["gain"] is None:
        return (
            f"None of the {result['num_val']} held-out prompts could be judged twice: nothing can be said about a gain."
        )
    interval = ""
    if result["gain_ci"] is not None:
        low, high = result["gain_ci"]
        interval = f", 95 % interval {low:+.3f} to {high:+.3f}"
    figures = (
        f"reward {result['seed_reward']:.3f} before, {result['reward']:.3f} after; gain {result['gain']:+.3f}{interval}"
        f" ({result['num_val']} held-out prompts, scale 0 to 1)"
    )
    word = "Improved" if result["decision"] == "improved" else "No significant gain"
    return f"{word}: {figures}."


def _true(result: dict[str, Any]) -> str:
    if result["true_gain"] is None:
        return "(simulated models behind an endpoint; their true gain is known only in the process that simulates)"
    return f"True gain, which only a simulated world can tell: {result['true_gain']:+.3f} (simulated)."


def _instruction(title: str, text: str) -> Panel:
    # A model's text: shown without its control characters, and never read as markup.
    visible = "".join(char for char in text if char == "\n" or char.isprintable())
    return Panel(Text(visible), title=escape(title), title_align="left")


def _usage(result: dict[str, Any]) -> Table:
    table = Table()
    for heading in ("role", "model"):
        table.add_column(heading, overflow="fold")
    counts = {"calls": "lm_calls", "errors": "lm_errors", "cut off": "truncated", "tokens": "tokens"}
    # Eighty columns are few: what never happened needs none.
    shown = [heading for heading, key in counts.items() if heading in ("calls", "tokens") or any(result[key].values())]
    priced = any(result["cost"].values())
    for heading in (*shown, "seconds", *(["cost"] if priced else [])):
        table.add_column(heading, justify="right")
    for role in result["lm_calls"]:
        cost = result["cost"][role]
        table.add_row(
            role,
            Text(result["models"].get(role, "-")),
            *(f"{result[counts[heading]][role]:,}" for heading in shown),
            f"{result['seconds'][role]:,.1f}",
            *(["unknown" if cost is None else f"${cost:.4f}"] if priced else []),
        )
    if not priced:
        table.caption = "Cost: unknown, none of these models has a price."
    return table
