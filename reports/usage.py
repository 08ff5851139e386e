"""The table of what each role used, in as many columns as the terminal has."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ..programs.boundary import visible
from ..teleprompters.picture import short

NARROWEST_MODEL = 23
"""Columns, with its borders, below which a model's name is not folded into the table."""


def usage(result: dict[str, Any], width: int) -> list[RenderableType]:
    """Return the table of what each role used; where its model has no room in it, it stands below."""
    # Columns are few: what never happened needs none.
    counts = {"calls": "lm_calls", "cut\noff": "truncated", "tokens": "tokens"}
    shown = [heading for heading, key in counts.items() if heading in ("calls", "tokens") or any(result[key].values())]
    costs = result["cost"]
    priced = any(costs.values())
    seconds = "simulated\nseconds" if result["simulated"] else "seconds"
    headings = [*shown, seconds, *(["cost"] if priced else [])]
    total = None if None in costs.values() else sum(costs.values())

    def cells(pick: Callable[[dict[str, Any]], Any], cost: float | None, *, tight: bool) -> list[str]:
        said = short if tight else "{:,}".format
        time = f"{pick(result['seconds']):,.{0 if tight else 1}f}"
        amounts = [said(pick(result[counts[heading]])) for heading in shown]
        return [*amounts, time, *([_dollars(cost)] if priced else [])]

    def rows(*, tight: bool) -> dict[str, list[str]]:
        each = {role: cells(itemgetter(role), costs[role], tight=tight) for role in result["lm_calls"]}
        return {**each, "all": cells(lambda amounts: sum(amounts.values()), total, tight=tight)}

    def needed(found: dict[str, list[str]]) -> int:
        columns = [list(found), *zip(*found.values(), strict=True)]
        words = [["role"], *(heading.split("\n") for heading in headings)]
        widths = (max(map(len, [*column, *some])) for column, some in zip(columns, words, strict=True))
        return 1 + sum(widest + 3 for widest in widths)

    found = rows(tight=False)
    if needed(found) > width:
        found = rows(tight=True)
    inside = width - needed(found) >= NARROWEST_MODEL
    table = Table()
    table.add_column("role", no_wrap=True)
    if inside:
        table.add_column("model", overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for role, amounts in found.items():
        if role == "all":
            table.add_section()
        model = [Text(visible(result["models"].get(role, "-" if role != "all" else "")))] if inside else []
        table.add_row(role, *model, *amounts)
    if not priced:
        table.caption = "Cost: unknown, none of these models has a price."
        table.caption_justify = "left"
    below = [] if inside else [Text(f"{role}: {visible(model)}") for role, model in result["models"].items()]
    return [table, *below]


def _dollars(cost: float | None) -> str:
    return "unknown" if cost is None else f"${cost:.4f}"
