"""The table that ends a tuning on the terminal: which settings gained most for their calls, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..programs.boundary import one_line
from ..programs.text import counted

ROWS = 12
"""Trials that the table shows, best first; all are in `tuning.json`."""
SHORT = {
    "beam_size": "beam", "n_actions": "actions", "minibatch_size": "batch", "max_depth_increase": "deeper",
    "temperature": "temp", "demo_iters": "rewrites",
}  # fmt: skip
"""Settings whose names are too long for eighty columns."""
ORDER = {"complete": 0, "pruned": 1, "failed": 2}
"""Which trials stand first; a pruned one is measured on fewer folds, so it is not compared with the others."""


def print_tuning(data: Mapping[str, Any], *, directory: Path, console: Console) -> None:
    """Print the trials, the verdict, what matters, the bill and the files.

    Args:
        data: What `tuning.json` says.
        directory: Where it lies.
        console: Where to print.
    """
    console.print(_trials(data))
    for line in (*verdict(data), *_notes(data)):
        console.print(Text(line))
    console.print(Text(f"Files in {directory}:"))
    for name, what in (("tuned.yaml", "the config with the best settings, for drpo compile"),
                       ("tuning.json", "every trial with its folds"), ("trials/", "the run of each fold"),
                       ("confirmation/", "the runs of fresh folds")):  # fmt: skip
        if (directory / name).exists():
            console.print(Text(f"  {name:<13} {what}"))


def verdict(data: Mapping[str, Any]) -> list[str]:
    """Return in words which settings are best, and what that is worth."""
    best, own, difference = data["best"], data["own"], data["difference"]
    if best is None:
        return ["No trial has all of its folds yet, so nothing can be said."]
    what = f"{_figure(best['value'])}{_interval(best['interval'])} {data['objective']['unit']}"
    if best["value"] <= 0:
        return [f"No settings gained anything: the best of them, trial {best['trial']}, has {what}."]
    if own is not None and difference is None:
        return [f"Best: the config's own settings (trial {best['trial']}) with {what}."]
    lines = [f"Best: trial {best['trial']} with {what}."]
    count = data["states"].get("complete", 0) + data["states"].get("pruned", 0)
    lucky = f"The best of {count} noisy trials looks better than it is, so this is no figure to go by."
    if own is not None and difference is not None:
        lines.append(
            f"The config's own settings: {_figure(own['value'])}{_interval(own['interval'])}. Difference in the "
            f"trials, fold by fold: {_figure(difference['mean'])}{_interval(difference['interval'])}. {lucky}"
        )
    return [*lines, *_confirmation(data)]


def header(data: Mapping[str, Any]) -> list[str]:
    """Return what `tuned.yaml` says of its settings above them, each line one of text.

    Args:
        data: What `tuning.json` says, with a best trial.
    """
    best, study = data["best"], one_line(data["study"])
    lines = [
        f"Written by `drpo tune`: trial {best['trial']} of study {study}, {len(data['trials'])} trials.",
        *_confirmation(data),
        f"In the trials, chosen as the best and so too high: {best['value']:.4f} {data['objective']['unit']}",
        f"({data['objective']['formula']}).",
    ]
    if data["simulated"]:
        lines.append("SIMULATED: tuned on simulated models. It says nothing about real ones.")
    return lines


def _confirmation(data: Mapping[str, Any]) -> list[str]:
    """Return what fresh folds say of the best settings, and which to use."""
    found = data["confirmed"]
    if found is None:
        lines = [f"Not confirmed on fresh folds: {one_line(data['unconfirmed'])}."]
        settled = data["difference"] is None and data["own"] is not None
        return lines if settled else [*lines, "Keep your own settings until they are."]
    best, own = found["best"], found["own"]
    return [
        f"Confirmed on {counted(len(best['folds']), 'fresh fold')}: {_figure(best['value'])} with these settings, "
        f"{_figure(own['value'])} with the config's own. Difference, fold by fold: {_figure(found['mean'])}"
        f"{_interval(found['interval'])}.",
        _advice(found["interval"]),
    ]


def _advice(interval: list[float] | None) -> str:
    if interval is None:
        return "Keep your own settings: one fold cannot tell a gain from luck. More of them (tune.confirm) can."
    if interval[0] > 0:
        return "Take the tuned settings: the whole interval is above 0."
    if interval[1] < 0:
        return "Keep your own settings: the tuned ones are worse."
    return "Keep your own settings: the interval holds 0. More fresh folds (tune.confirm) would narrow it."


def _trials(data: Mapping[str, Any]) -> Table:
    unit = "gain per 1,000 calls" if data["objective"]["name"] == "gain_per_call" else "gain"
    table = Table(title=f"Trials by held-out {unit}", title_justify="left")
    for heading in ("trial", "value", "95 % interval", "gain", "calls"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("settings", overflow="fold")
    shown = [trial for trial in data["trials"] if trial["state"] in ORDER]
    shown.sort(key=lambda one: (ORDER[one["state"]], -(one["value"] or 0), one["trial"]))
    for trial in shown[:ROWS]:
        interval = "" if trial["interval"] is None else "{:+.2f} to {:+.2f}".format(*trial["interval"])
        table.add_row(
            str(trial["trial"]),
            "" if trial["value"] is None else _figure(trial["value"]),
            interval if trial["state"] == "complete" else trial["state"],
            "" if trial["gain"] is None else f"{trial['gain']:+.3f}",
            "" if trial["lm_calls"] is None else f"{trial['lm_calls']:,.0f}",
            " ".join(f"{SHORT.get(name, name)}={_setting(trial['settings'].get(name))}" for name in data["space"]),
        )
    if len(shown) > ROWS:
        table.caption = f"{len(shown) - ROWS} more in tuning.json."
        table.caption_justify = "left"
    return table


def _notes(data: Mapping[str, Any]) -> list[str]:
    lines = []
    if data["importances"]:
        ordered = sorted(data["importances"].items(), key=lambda item: -item[1])
        most = ", ".join(f"{name} {share:.0%}" for name, share in ordered[:4])
        lines.append(f"What matters most (PED-ANOVA, a rough guess): {most}.")
    bill = data["bill"]
    cost = "" if not bill["cost"] else f", ${bill['cost']:.2f}"
    lines.append(f"All {bill['compiles']} compiles: {bill['lm_calls']:,} calls, {bill['tokens']:,} tokens{cost}.")
    if failed := [trial for trial in data["trials"] if trial["state"] == "failed"]:
        lines.append(f"{len(failed)} trials failed, the last: {failed[-1]['reason']}.")
    if data["stopped"]:
        lines.append(f"Stopped early: {data['stopped']}. The same command goes on.")
    return lines


def _setting(value: Any) -> str:
    return "" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)


def _figure(value: float) -> str:
    return f"{round(value, 3) + 0.0:+.3f}"


def _interval(interval: list[float] | None) -> str:
    return "" if interval is None else f" (95 % interval {interval[0]:+.3f} to {interval[1]:+.3f})"
