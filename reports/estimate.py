"""What `drpo estimate` prints: calls, tokens, minutes and money of a run by role, each with a range, and the caps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

FIGURES = {"calls": "calls", "tokens": "tokens", "seconds": "minutes", "cost": "dollars"}
"""Figure to the heading of its column."""


def print_estimate(estimate: Mapping[str, Any], *, console: Console) -> None:
    """Print what a run will take, what its caps will do, and what was done to find out.

    Args:
        estimate: What `Estimate.as_dict` returns.
        console: Where to print.
    """
    console.print(_bills(estimate))
    for cap, effect in estimate["caps"].items():
        console.print(Text(f"{cap} {effect}."))
    if any(effect.startswith(("will end", "may end", "ends")) for effect in estimate["caps"].values()):
        console.print(Text(f"Without caps: {_in_words(estimate['uncapped'])}."))
    if estimate["probe"] is not None:
        console.print(_probe(estimate["probe"]))
    for line in notes(estimate):
        console.print(Text(line))


def notes(estimate: Mapping[str, Any]) -> list[str]:
    """Return where the figures come from, and what they leave out."""
    lines = [
        f"From {estimate['rehearsals']} rehearsals of this search on simulated models. Calls that fail and are made "
        "again come on top."
    ]
    if estimate["probe"] is None:
        lines.append("Without a probe nothing is known of your models' speed and little of how much they write.")
    if estimate["priceless"]:
        models = ", ".join(estimate["priceless"])
        lines.append(f"No price is known of {models}: give lms.<role>.input_price and output_price, or hourly_price.")
    return lines


def in_range(amount: Mapping[str, float] | None, shown: Callable[[float], str]) -> tuple[str, str]:
    """Return what is expected, and the range, as texts; the range is empty if it is only one value.

    Args:
        amount: `expected`, `low` and `high`; None: unknown.
        shown: How one number is written.

    Example:
        >>> in_range({"expected": 178.0, "low": 161.8, "high": 195.8}, "{:.0f}".format)
        ('178', '162 to 196')
    """
    if amount is None:
        return "unknown", ""
    expected, low, high = (shown(amount[name]) for name in ("expected", "low", "high"))
    return expected, "" if low == high else f"{low} to {high}"


def _bills(estimate: Mapping[str, Any]) -> Table:
    figures = [figure for figure in FIGURES if figure != "seconds" or estimate["probe"] is not None]
    table = Table(title="What this run will take", title_justify="left", caption_justify="left")
    table.add_column("role", overflow="fold")
    for figure in figures:
        table.add_column(FIGURES[figure], justify="right")

    def cells(bill: Mapping[str, Any]) -> list[str]:
        return ["\n".join(in_range(bill[figure], _SHOWN[figure])) for figure in figures]

    for role, bill in estimate["roles"].items():
        table.add_row(Text(f"{role}\n{estimate['models'][role]}"), *cells(bill), end_section=role == "prompt")
    table.add_row("all", *cells(estimate["total"]))
    if estimate["total"]["seconds"] is not None:
        threads = estimate["num_threads"]
        table.caption = f"Minutes of all: on the clock, with {threads} {'call' if threads == 1 else 'calls'} at once."
    return table


def _in_words(bill: Mapping[str, Any]) -> str:
    parts = [f"{in_range(bill['calls'], _count)[0]} calls", f"{in_range(bill['tokens'], _count)[0]} tokens"]
    if bill["seconds"] is not None:
        parts.append(f"{in_range(bill['seconds'], _minutes)[0]} minutes")
    if bill["cost"] is not None:
        parts.append(f"{in_range(bill['cost'], _dollars)[0]} dollars")
    return "about " + ", ".join(parts)


def _probe(calls: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(title=f"The {len(calls)} calls that were made to find out", title_justify="left")
    table.add_column("role")
    for heading in ("tokens read", "tokens written", "seconds", "dollars"):
        table.add_column(heading, justify="right")
    for call in calls:
        cost = "unknown" if call["cost"] is None else _dollars(call["cost"])
        table.add_row(call["role"], f"{call['read']:,}", f"{call['written']:,}", f"{call['seconds']:.1f}", cost)
    return table


def _count(number: float) -> str:
    """Return a count with no more digits than it deserves: whole below 10,000, else three in thousands or millions.

    Example:
        >>> [_count(number) for number in (1234.4, 41530, 761742.8, 2400000)]
        ['1,234', '41.5k', '762k', '2.40M']
    """
    if number < 10_000:
        return f"{number:,.0f}"
    return f"{_three(number / 1e3)}k" if number < 999_500 else f"{_three(number / 1e6)}M"


def _three(number: float) -> str:
    return f"{number:,.{max(0, 2 - int(math.log10(number)))}f}"


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f}" if seconds < 594 else f"{seconds / 60:,.0f}"


def _dollars(dollars: float) -> str:
    """Return dollars to the cent, and below ten cents to two digits.

    Example:
        >>> [_dollars(amount) for amount in (1234.567, 0.0123, 0.0, 0.000004)]
        ['1,234.57', '0.012', '0', '0.0000040']
    """
    if dollars >= 0.1:
        return f"{dollars:,.2f}"
    return f"{dollars:.{1 - math.floor(math.log10(dollars))}f}" if dollars else "0"


_SHOWN: dict[str, Callable[[float], str]] = {
    "calls": _count,
    "tokens": _count,
    "seconds": _minutes,
    "cost": _dollars,
}
