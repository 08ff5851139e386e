"""What `drpo compare` prints: who is how good, what that took, and how the best stands against the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..programs.boundary import one_line, visible
from ..programs.text import counted

VERDICTS = {
    "better": "better",
    "perhaps_better": "perhaps better",
    "no_difference_shown": "no difference",
    "perhaps_worse": "perhaps worse",
    "worse": "worse",
    "same_program": "same program",
    "not_compared": "not compared",
}
"""Verdict to how tables say it."""
FILES = {
    "comparison.json": "these figures, and every reward",
    "comparison.md": "the same to read, with every pair, setting and instruction",
    "comparison.svg": "reward against calls",
    "ledger.json": "the criteria of each query",
    "units": "per optimizer and seed: its program, calls and bill",
}
"""The files of a comparison that people open, and what is in them."""


def ranked(result: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the entrants and their figures, the highest reward first, those without any last."""
    entrants = list(result["entrants"].items())
    return sorted(entrants, key=lambda item: -1.0 if item[1]["reward"] is None else item[1]["reward"], reverse=True)


def print_comparison(result: Mapping[str, Any], *, log_dir: Any, console: Console) -> None:
    """Print the figures of a comparison.

    Args:
        result: What `comparison.json` says.
        log_dir: The run directory.
        console: Where to print.
    """
    console.print(_rewards(result))
    console.print(_costs(result))
    if (leading := leading_pairs(result)) and len(leading[1]) > 0:
        console.print(_leader(*leading))
    for line in notes(result):
        console.print(Text(line))
    console.print(Text(f"Files in {log_dir}:"))
    for name, what in FILES.items():
        if (log_dir / name).exists():
            console.print(Text(f"  {name:<16} {what}"))


def leading_pairs(result: Mapping[str, Any]) -> tuple[str, list[dict[str, Any]]] | None:
    """Return the optimizer with the highest reward, and what it is better than each other entrant by.

    Each has `other`, `difference`, `ci` and `verdict`; those of the seed are in its own row.
    """
    leaders = [
        name for name, figures in ranked(result) if figures["kind"] == "optimizer" and figures["reward"] is not None
    ]
    if not leaders:
        return None
    found = []
    for pair in result["pairs"]:
        if leaders[0] in (pair["first"], pair["second"]) and pair["difference"] is not None:
            turned = pair["first"] == leaders[0]
            found.append(_turned(pair) if turned else {**pair, "other": pair["first"]})
    return leaders[0], sorted(found, key=lambda pair: float(pair["difference"]))


def notes(result: Mapping[str, Any]) -> list[str]:
    """Return what has to be known beside the tables; nothing of what did not happen."""
    lines = []
    for name, figures in ranked(result):
        for row in figures["by_seed"]:
            if row["failure"] is not None:
                failure = row["failure"]
                lines.append(f"{name}, seed {row['seed']}, failed: {failure['kind']}: {one_line(failure['message'])}")
        kept = sum(row["same_as_seed"] for row in figures["by_seed"])
        if kept and figures["kind"] == "optimizer":
            lines.append(f"{name} returned the seed, unchanged, for {kept} of {len(figures['by_seed'])} seeds.")
        if wrong := _wrong(figures):
            lines.append(f"{name}: {wrong}.")
    lines.append(
        f"Intervals: 95 %, over {result['num_test']} test prompts; they do not tell how other seeds would do. "
        '"Perhaps": the interval excludes 0, but not if it is to hold for all comparisons at once.'
    )
    apart = [sum(result[part]["lm_calls"].values()) for part in ("criteria", "test")]
    lines.append(f"Billed apart: {apart[0]:,} calls for criteria, {apart[1]:,} for the test.")
    return lines


def signed(number: float | None) -> str:
    """Return a difference as tables show it.

    Example:
        >>> signed(0.0414), signed(-0.0001), signed(None)
        ('+0.041', '+0.000', '-')
    """
    return "-" if number is None else f"{round(number, 3) + 0.0:+.3f}"  # never -0.000


def interval(ci: Sequence[float] | None) -> str:
    """Return an interval of differences as tables show it."""
    return "-" if ci is None else f"{signed(ci[0])} to {signed(ci[1])}"


def _turned(pair: Mapping[str, Any]) -> dict[str, Any]:
    mirror = {
        "better": "worse",
        "worse": "better",
        "perhaps_better": "perhaps_worse",
        "perhaps_worse": "perhaps_better",
    }
    ci = None if pair["ci"] is None else [-pair["ci"][1], -pair["ci"][0]]
    verdict = mirror.get(pair["verdict"], pair["verdict"])
    return {**pair, "other": pair["second"], "difference": -pair["difference"], "ci": ci, "verdict": verdict}


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for number, heading in enumerate(columns):
        table.add_column(heading, justify="right" if number else "left", no_wrap=True)
    return table


def _rewards(result: Mapping[str, Any]) -> Table:
    true = result["simulated"] and any(one["true_gain"] is not None for one in result["entrants"].values())
    count = len(result["seeds"])
    table = _table(
        f"Reward on {result['num_test']} test prompts, {count} {'seed' if count == 1 else 'seeds'}, scale 0 to 1",
        "", "reward", "gain", "95 % interval", "than the seed", *(["true"] if true else []),
    )  # fmt: skip
    for name, figures in ranked(result):
        reward = "failed" if figures["reward"] is None else f"{figures['reward']:.3f}"
        own = name == "seed"
        table.add_row(
            Text(visible(name)), reward, "" if own else signed(figures["gain"]),
            "" if own else interval(figures["gain_ci"]), "" if own else VERDICTS[figures["verdict"]],
            *([signed(figures["true_gain"]) if not own else ""] if true else []),
        )  # fmt: skip
    return table


def _costs(result: Mapping[str, Any]) -> Table:
    priced = any(one["cost"] for one in result["entrants"].values())
    seconds = "sim. seconds" if result["simulated"] else "seconds"
    table = _table(
        f"What it took per seed, of {result['budget']:,} calls, and how long its prompt is",
        "", "calls", "share", "tokens", seconds, *(["cost"] if priced else []), "words", "demos",
    )  # fmt: skip
    for name, figures in ranked(result):
        used = figures["budget_used"]
        table.add_row(
            Text(visible(name)), number(figures["calls"]), "" if used is None else f"{used:.1%}",
            number(figures["tokens"]), number(figures["seconds"]),
            *(["unknown" if figures["cost"] is None else f"${figures['cost']:.4f}"] if priced else []),
            number(figures["instruction_words"]), number(figures["demos"]),
        )  # fmt: skip
    return table


def _leader(name: str, pairs: Sequence[Mapping[str, Any]]) -> Table:
    table = _table(f"{visible(name)} beside each other", "", "difference", "95 % interval", f"{visible(name)} is")
    for pair in pairs:
        table.add_row(
            Text(visible(pair["other"])), signed(pair["difference"]), interval(pair["ci"]), VERDICTS[pair["verdict"]]
        )
    return table


def number(value: float | None) -> str:
    """Return an amount as tables show it."""
    return "-" if value is None else f"{value:,.0f}"


def _wrong(figures: Mapping[str, Any]) -> str:
    imputed = sum(row["imputed_judgements"] for row in figures["by_seed"])
    counts = [
        (figures["missing_judgements"], "test answer", "without a judgement"),
        (figures["program_errors"], "test query", "on which it failed"),
        (imputed, "judgement", "missing while it worked"),
    ]
    return ", ".join(f"{counted(count, what)} {how}" for count, what, how in counts if count)
