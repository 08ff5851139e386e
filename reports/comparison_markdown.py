"""A comparison as a page of Markdown: every figure, pair, failure, setting and instruction."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..programs.boundary import one_line
from ..teleprompters.trace import fenced
from .comparison import VERDICTS, interval, notes, number, ranked, signed
from .summary import SIMULATED_BANNER


def comparison_markdown(result: Mapping[str, Any]) -> str:
    """Return the page of what `comparison.json` says; model text stands in fenced blocks."""
    seeds = ", ".join(map(str, result["seeds"]))
    lines = [
        "# Comparison",
        "",
        *([SIMULATED_BANNER, ""] if result["simulated"] else []),
        f"{result['budget']:,} LM calls per optimizer and seed; seeds {seeds}; {result['num_train']} prompts for the "
        f"optimizers, {result['num_test']} test prompts that none of them saw. Rewards are in [0, 1].",
        "",
        "![Reward against calls](comparison.svg)",
        "",
        *_rewards(result),
        *(f"* {_plain(line)}" for line in notes(result)),
        "",
        "## What it took per seed",
        "",
        *_costs(result),
        "## Each against each",
        "",
        *_pairs(result),
        "## By seed",
        "",
        *_by_seed(result),
        "## Programs",
        "",
        *_programs(result),
    ]
    return "\n".join(lines) + "\n"


def _rewards(result: Mapping[str, Any]) -> list[str]:
    def row(name: str, one: Mapping[str, Any]) -> list[str]:
        ci, quality = one["reward_ci"], one["true_quality"]
        reward = "failed" if one["reward"] is None else f"{one['reward']:.3f}"
        return [name, reward, "-" if ci is None else f"{ci[0]:.3f} to {ci[1]:.3f}", signed(one["gain"]),
                interval(one["gain_ci"]), VERDICTS[one["verdict"]], str(one["queries"]),
                "-" if quality is None else f"{quality:.3f}", signed(one["true_gain"])]  # fmt: skip

    return _table(
        ("", "reward", "95 % interval", "gain over the seed", "95 % interval", "than the seed", "prompts",
         "true quality", "true gain"),
        (row(name, one) for name, one in ranked(result)),
    )  # fmt: skip


def _costs(result: Mapping[str, Any]) -> list[str]:
    def row(name: str, one: Mapping[str, Any]) -> list[str]:
        calls = [row["lm_calls"] for row in one["by_seed"]]
        roles = [number(sum(by_role[role] for by_role in calls) / len(calls)) for role in calls[0]]
        share = "-" if one["budget_used"] is None else f"{one['budget_used']:.1%}"
        cost = "unknown" if one["cost"] is None else f"${one['cost']:.4f}"
        return [name, number(one["calls"]), share, *roles, number(one["tokens"]), number(one["seconds"]), cost]

    seconds = "simulated seconds" if result["simulated"] else "seconds"
    roles = list(result["test"]["lm_calls"])
    return _table(
        ("", "calls", "of the budget", *roles, "tokens", seconds, "cost"),
        (row(name, one) for name, one in ranked(result)),
    )


def _pairs(result: Mapping[str, Any]) -> list[str]:
    return _table(
        ("first", "second", "second minus first", "95 % interval", "second is", "prompts"),
        (
            [pair["first"], pair["second"], signed(pair["difference"]), interval(pair["ci"]),
             VERDICTS[pair["verdict"]], str(pair["queries"])]
            for pair in result["pairs"]
        ),
    )  # fmt: skip


def _by_seed(result: Mapping[str, Any]) -> list[str]:
    return _table(
        ("", "seed", "reward", "gain", "true gain", "calls", "instruction words", "demos", ""),
        (
            [name, str(row["seed"]), "-" if row["reward"] is None else f"{row['reward']:.3f}", signed(row["gain"]),
             signed(row["true_gain"]), number(sum(row["lm_calls"].values())),
             number(row["length"] and row["length"]["instruction_words"]),
             number(row["length"] and row["length"]["demos"]), _said(row)]
            for name, one in ranked(result)
            for row in one["by_seed"]
        ),
    )  # fmt: skip


def _said(row: Mapping[str, Any]) -> str:
    if row["failure"] is not None:
        return f"failed: {row['failure']['kind']}"
    return "the seed, unchanged" if row["same_as_seed"] else ""


def _programs(result: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, one in ranked(result):
        if name == "seed":
            continue
        for row in one["by_seed"] if one["kind"] == "optimizer" else one["by_seed"][:1]:
            lines += [f"### {name}, seed {row['seed']}", ""]
            if row["settings"]:
                told = ", ".join(f"{key}={value}" for key, value in row["settings"].items())
                lines += [f"Settings: {_plain(told)}", ""]
            for predictor, text in (row["instructions"] or {}).items():
                lines += fenced(f"instruction of {predictor}", text)
    return lines


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(map(_plain, cells))} |"

    return [line(headings), f"|{'---|' * len(headings)}", *map(line, rows), ""]


def _plain(text: str) -> str:
    """Return a text on one line of which nothing is read as markup."""
    return re.sub(r"([\\`\[\]!|])", r"\\\1", html.escape(one_line(text), quote=False))
