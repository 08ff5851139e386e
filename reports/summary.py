"""The summary that ends a run on the terminal: what was decided, how sure that is, what it took."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from ..programs.boundary import visible

SIMULATED_BANNER = (
    "SIMULATED: the models of this run are a model of the world, not language models (docs/simulated.md). "
    "No number of it says anything about a real model."
)
"""What stands over every run with simulated models."""

PARTS = {
    "seed": "the seed, your program as it was",
    "instruction": "a new instruction",
    "demonstrations": "demonstrations under your instruction",
    "both": "a new instruction and demonstrations",
}
"""What a default-mode run can return, in words."""
ABLATION = {"instruction": "instruction only", "demonstrations": "demonstrations only", "both": "both"}
"""The rows of the ablation, in words."""
FEW = 10
"""Below so many prompts a bootstrap interval is too narrow."""

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
        console.print(Text(_true(result)))
    if len(result.get("ablation", {})) > 1:
        console.print(_ablation(result["ablation"]))
    for line in notes(result):
        console.print(Text(line))
    console.print(_usage(result))
    if log_dir is not None:
        console.print(Text(f"Files in {log_dir}:"))
        for name, what in FILES.items():
            if (log_dir / name).exists():
                console.print(Text(f"  {name:<13} {what}"))


def verdict(result: dict[str, Any]) -> str:
    """Return in words what the held-out comparison says, and what was returned."""
    returned = result.get("returned")
    if returned is None:
        return _paper_verdict(result)
    what = PARTS[returned]
    if result["decision"] is None:
        unproven = "" if returned == "seed" else ", unproven"
        return f"{_not_compared(result)} Returned: {what}{unproven}."
    if result["decision"] == "improved":
        return f"Improved: {_figures(result)}. Returned: {what}."
    if not result["ablation"]:
        return f"No significant gain: the search found nothing to compare. Returned: {what}."
    if returned == "seed":
        return f"No significant gain: {what}, is returned. The best candidate: {_figures(result)}."
    return f"No significant gain: {_figures(result)}. Returned all the same (on_no_gain: best): {what}."


def notes(result: dict[str, Any]) -> list[str]:
    """Return a line for each thing that is worth knowing beside the verdict; none for what did not happen."""
    lines = []
    if (curse := _winner_curse(result)) is not None:
        lines.append(curse)
    if collected := sum(result.get("num_demos", {}).values()):
        shown = "" if result["returned"] in ("demonstrations", "both") else "; the program that is returned has none"
        lines.append(f"Demonstrations collected: {collected}{shown}.")
    if refused := result.get("refused_proposals"):
        lines.append(f"Refused proposals: {_counted(refused)}.")
    if result["stopped"]:
        lines.append(f"The search was stopped early: {result['stopped']}.")
    if counts := _counted(
        {name: result[name] for name in ("missing_judgements", "program_errors", "unusable_proposals") if result[name]}
    ):
        lines.append(f"Went wrong: {counts}.")
    if failed := _failed_tries(result):
        lines.append(failed)
    return lines


def _paper_verdict(result: dict[str, Any]) -> str:
    if result["decision"] is None:
        return "No held-out prompts were given, so nothing is said about a gain: set data.num_val to compare."
    word = "Improved" if result["decision"] == "improved" else "No significant gain"
    return f"{word}: {_figures(result)}."


def _not_compared(result: dict[str, Any]) -> str:
    if not result["num_val"]:
        why = f"{result['num_train']} prompts, or the calls that max_lm_calls allows, are too few"
        return f"Nothing could be held out ({why}), so nothing is said about a gain."
    return "The calls that were left are too few for the held-out comparison, so nothing is said about a gain."


def _figures(result: dict[str, Any]) -> str:
    found = _compared(result)
    count = found["count"] if found else result["num_val"]
    if result["gain"] is None:
        return f"none of the {result['num_val']} held-out prompts could be judged twice"
    interval = ""
    if result["gain_ci"] is not None:
        low, high = result["gain_ci"]
        interval = f", 95 % interval {_signed(low)} to {_signed(high)}"
    return (
        f"reward {result['seed_reward']:.3f} before, {result['reward']:.3f} after; gain {_signed(result['gain'])}"
        f"{interval} ({count} held-out prompts, scale 0 to 1)"
    )


def _compared(result: dict[str, Any]) -> dict[str, Any] | None:
    """Return the entry of the ablation that the figures of the result are those of."""
    parts = [found for found in result.get("ablation", {}).values() if found and found["mean"] == result["gain"]]
    return max(parts, key=lambda found: int(found["count"]), default=None)


def _winner_curse(result: dict[str, Any]) -> str | None:
    gap, found = result.get("winner_curse"), result.get("ablation", {}).get("instruction")
    if gap is None or not found:
        return None
    figures = (
        f"{_signed(found['mean'] + gap)} on the search's own prompts, {_signed(found['mean'])} on {found['count']} "
        "held-out ones"
    )
    if found["count"] < FEW:
        return f"Winner's curse: too few held-out prompts to tell; the new instruction gains {figures}."
    if gap > 0:
        return f"Winner's curse: the search thought {gap:.3f} too much of its instruction, which gains {figures}."
    return f"No winner's curse: the new instruction gains {figures}."


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
        interval = "-" if found["low"] is None else f"{_signed(found['low'])} to {_signed(found['high'])}"
        table.add_row(words, _signed(found["mean"]), interval, str(found["count"]))
    counts = [found["count"] for found in ablation.values() if found]
    if counts and min(counts) < FEW:
        table.caption = f"What drops out early is judged on few prompts; below {FEW} an interval is a rough guess."
        table.caption_justify = "left"
    return table


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())


def _signed(number: float) -> str:
    return f"{round(number, 3) + 0.0:+.3f}"  # never -0.000


def _true(result: dict[str, Any]) -> str:
    if result["true_gain"] is None:
        return "(simulated models behind an endpoint; their true gain is known only in the process that simulates)"
    return f"True gain, which only a simulated world can tell: {result['true_gain']:+.3f} (simulated)."


def _instruction(title: str, text: str) -> Panel:
    # A model's text: shown without its control characters, and never read as markup.
    return Panel(Text(visible(text)), title=escape(title), title_align="left")


def _usage(result: dict[str, Any]) -> Table:
    table = Table()
    for heading in ("role", "model"):
        table.add_column(heading, overflow="fold")
    # Eighty columns are few: what never happened needs none.
    counts = {"calls": "lm_calls", "cut off": "truncated", "tokens": "tokens"}
    shown = [heading for heading, key in counts.items() if heading in ("calls", "tokens") or any(result[key].values())]
    costs = result["cost"]
    priced = any(costs.values())
    seconds = "simulated seconds" if result["simulated"] else "seconds"
    for heading in (*shown, seconds, *(["cost"] if priced else [])):
        table.add_column(heading, justify="right")
    for role in result["lm_calls"]:
        table.add_row(
            role,
            Text(result["models"].get(role, "-")),
            *(f"{result[counts[heading]][role]:,}" for heading in shown),
            f"{result['seconds'][role]:,.1f}",
            *([_dollars(costs[role])] if priced else []),
        )
    table.add_section()
    table.add_row(
        "all",
        "",
        *(f"{sum(result[counts[heading]].values()):,}" for heading in shown),
        f"{sum(result['seconds'].values()):,.1f}",
        *([_dollars(None if None in costs.values() else sum(costs.values()))] if priced else []),
    )
    if not priced:
        table.caption = "Cost: unknown, none of these models has a price."
    return table


def _dollars(cost: float | None) -> str:
    return "unknown" if cost is None else f"${cost:.4f}"


def _failed_tries(result: dict[str, Any]) -> str | None:
    """Return which tries of calls failed, how long was waited and what was given up; None if nothing failed."""
    kinds: Counter[str] = Counter()
    roles = result["bill"]["roles"].values()
    for role in roles:
        kinds.update(role["error_kinds"])
    if not kinds:
        return None
    given_up, waited = (sum(role[name] for role in roles) for name in ("given_up", "waited"))
    end = f"; {given_up} {'call was' if given_up == 1 else 'calls were'} given up" if given_up else ""
    return f"Tries that failed: {_counted(dict(kinds.most_common()))}; {waited:.0f} s of waiting{end}."
