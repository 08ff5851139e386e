"""`drpo diff` on a terminal: coloured there, with marks that need no colour everywhere else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..programs.boundary import one_line, visible
from .flat import MISSING
from .word_diff import Change

MARKS = {Change.REMOVED: ("[-", "-]", "red strike"), Change.ADDED: ("{+", "+}", "green")}
"""What stands around a piece of text, as in `git diff --word-diff`, and its style in colours."""


def print_diff(found: Mapping[str, Any], *, console: Console) -> None:
    """Print what `program_diff` found.

    Args:
        found: What it returned.
        console: Where to print.
    """
    if found["equal"]:
        console.print(Text("No difference."))
    for name, told in found["predictors"].items():
        _predictor(name, told, console)
    for title in ("settings", "figures"):
        if found[title]:
            console.print(_table(title, found[title]))


def _predictor(name: str, told: Mapping[str, Any], console: Console) -> None:
    if "only_in" in told:
        console.print(Text(f"{visible(name)}: only in the {told['only_in']} program", style="bold"))
        return
    if "instruction" in told:
        console.print(Text(f"instruction of {visible(name)}", style="bold"))
        console.print(_words(told["instruction"]["words"], coloured=_coloured(console)))
    demos = told.get("demonstrations", {})
    for demo in demos.get("removed", ()):
        console.print(Text(f"- demonstration of {visible(name)}: {_shown(demo)}", style="red"))
    for demo in demos.get("added", ()):
        console.print(Text(f"+ demonstration of {visible(name)}: {_shown(demo)}", style="green"))
    for pair in demos.get("changed", ()):
        console.print(Text(f"~ demonstration of {visible(name)}, changed", style="bold"))
        console.print(Text(f"- {_shown(pair['before'])}", style="red"))
        console.print(Text(f"+ {_shown(pair['after'])}", style="green"))
    if demos.get("reordered"):
        console.print(Text(f"demonstrations of {visible(name)}: the same in another order"))
    if "settings" in told:
        console.print(_table(f"{visible(name)}", told["settings"]))


def _words(words: list[list[str]], *, coloured: bool) -> Text:
    text = Text()
    for change, piece in words:
        left, right, style = MARKS.get(Change(change), ("", "", ""))
        text.append(visible(piece) if coloured else f"{left}{visible(piece)}{right}", style=style)
    return text


def _coloured(console: Console) -> bool:
    return console.color_system is not None and not console.no_color


def _table(title: str, found: Mapping[str, list[Any]]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("", overflow="fold")
    for heading in ("first", "second"):
        table.add_column(heading, overflow="fold")
    for name, pair in found.items():
        table.add_row(Text(visible(name)), *(Text(_value(one)) for one in pair))
    return table


def _value(value: Any) -> str:
    if value == MISSING:
        return "-"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return one_line(text) if len(text) <= 200 else f"{one_line(text[:200])}..."


def _shown(demo: Any) -> str:
    text = " | ".join(map(str, demo.values())) if isinstance(demo, Mapping) else str(demo)
    return one_line(text)
