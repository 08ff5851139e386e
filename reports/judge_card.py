"""What `drpo judge-card` prints: each measure with its light, its figure, and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..metrics.judge_card.lights import Light
from ..teleprompters.judge_card_files import figure, headline, subject

STYLES = {Light.GREEN: "green", Light.AMBER: "yellow", Light.RED: "bold red", Light.UNKNOWN: "dim"}
"""How a light looks; its word stands beside it in any case."""
SHOWN = {Light.GREEN: "green", Light.AMBER: "amber", Light.RED: "RED", Light.UNKNOWN: "-"}
"""What stands in the table."""
FILES = {"judge-card.md": "this card, to read", "judge-card.json": "the same for scripts", "ledger.json": "criteria"}
"""The files that people open, and what is in them."""


def print_judge_card(data: Mapping[str, Any], *, log_dir: Path | None, console: Console) -> None:
    """Print a judge card.

    Args:
        data: What `judge-card.json` says.
        log_dir: The card's directory. None: there is none.
        console: Where to print.
    """
    table = Table(title=Text(f"Judge card: {subject(data)}"), title_justify="left", show_lines=True)
    table.add_column("light")
    table.add_column("what", min_width=18)
    table.add_column("means", ratio=1)
    for one in data["measures"]:
        light = Light(one["light"])
        style = STYLES[light]
        what = Text.assemble(one["title"], "\n", (figure(one), "dim"))
        table.add_row(Text(SHOWN[light], style=style), what, Text(one["says"]))
    console.print(table)
    console.print(Text(headline(data), style=STYLES[Light(data["light"])]))
    for line in notes(data):
        console.print(Text(line))
    if log_dir is not None:
        console.print(Text(f"Files in {log_dir}:"))
        for name, holds in FILES.items():
            console.print(Text(f"  {name:<15} {holds}"))


def notes(data: Mapping[str, Any]) -> list[str]:
    """Return what is worth knowing beside the card: what it took, and what failed."""
    used = ", ".join(f"{role} {count:,}" for role, count in data["lm_calls"].items() if count)
    costs = [cost for role, cost in data["cost"].items() if data["lm_calls"][role]]
    price = "cost unknown" if None in costs else f"${sum(costs):.4f}"
    lines = [f"Calls: {used}; {price}. Figures in [0, 1] are rewards, with 95 % intervals."]
    if data["models"].get("task") == data["models"].get("judge"):
        lines.append("The judge is the task model, and models are lenient with themselves: no line here shows that.")
    if data["failed_prompts"]:
        lines.append(f"The program failed on {data['failed_prompts']} prompts, which are left out.")
    return lines
