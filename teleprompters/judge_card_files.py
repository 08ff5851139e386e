"""What a judge card leaves behind: its configuration, and itself as `judge-card.json` and `judge-card.md`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import dspy

from ..metrics.judge_card.card import JudgeCard
from ..metrics.judge_card.labels import Label
from ..metrics.judge_card.lights import Light
from ..programs.boundary import one_line
from ..programs.text import counted
from .candidates import base_of
from .result import bill_data, is_simulated, usage_data, versions
from .roles import RunLMs, digest
from .run_config import run_config
from .session import Session

FORMAT = 1
"""Version of `judge-card.json`."""


def config_of(
    program: dspy.Module,
    *,
    lms: RunLMs,
    second: dspy.BaseLM | None,
    examples: Sequence[dspy.Example],
    labels: Sequence[Label],
    seed: int,
    caps: dict[str, Any],
    timeout: float | None,
    settings: dict[str, Any] | None,
) -> dict[str, Any]:
    """Return what `config.json` says; two cards with the same one are the same card."""
    work = {
        "second_judge": described(second, lms),
        "labels": digest([asdict(label) for label in labels]),
        "num_labels": len(labels),
        "call_timeout": timeout,
    }
    config = run_config(
        optimizer=work, base=base_of(program, k=None), lms=lms, trainset=examples, valset=(), seed=seed, caps=caps,
        settings=settings,
    )  # fmt: skip
    return {"command": "judge-card", **config}


def described(lm: dspy.BaseLM | None, lms: RunLMs) -> dict[str, Any] | None:
    """Return a judge's model and sampling, without keys and endpoints; None if there is none."""
    return None if lm is None else replace(lms, judge=lm).described["judge"]


def about(
    lms: RunLMs,
    *,
    second: dspy.BaseLM | None,
    date: str | None,
    seed: int,
    num_prompts: int,
    num_labels: int,
    failed: int,
) -> dict[str, Any]:
    """Return whose card it is, of what, and what it took."""
    models = {role: model for role, model in lms.models.items() if role != "prompt"}  # it is not asked
    if second is not None:
        models["second_judge"] = second.model
    used = usage_data(lms.meter)
    return {
        "format": FORMAT,
        "judge": described(lms.judge, lms),
        "second_judge": described(second, lms),
        "models": models,
        "date": date,
        "num_prompts": num_prompts - failed,
        "failed_prompts": failed,
        "num_labels": num_labels,
        "seed": seed,
        "simulated": is_simulated(models),
        **{key: used[key] for key in ("lm_calls", "tokens", "seconds", "cost")},
        "versions": versions(),
    }


def write_card(opened: Session, card: JudgeCard) -> None:
    """Write the card and what stands beside it, if there is a directory; `judge-card.json` is the last file."""
    if opened.directory is None:
        return
    data = card.as_dict()
    if opened.lms.reward is not None:
        opened.directory.replace("ledger.json", opened.lms.reward.ledger.save)
    opened.directory.write_json("bill.json", bill_data(opened.lms.meter, opened.lms.models))
    opened.directory.write_text("judge-card.md", markdown_of(data))
    opened.directory.write_json("judge-card.json", data)


WORDS = {
    Light.GREEN: "nothing speaks against this judge on these prompts.",
    Light.AMBER: "usable; read the amber lines before you believe small gains.",
    Light.RED: "a search would learn this judge's faults: act on the red lines first.",
    Light.UNKNOWN: "nothing could be measured.",
}
"""What the light of the whole card means."""


def headline(data: Mapping[str, Any]) -> str:
    """Return the light of a card in one line."""
    light = Light(data["light"])
    return " ".join([f"{light.value.upper()}: {WORDS[light]}", *by_luck(data)])


def by_luck(data: Mapping[str, Any]) -> list[str]:
    """Return a sentence on the amber lines that luck alone may explain, if there are any."""
    count = sum(one["decides"] and one.get("may_be_luck", False) for one in data["measures"])
    if not count:
        return []
    return [f"{counted(count, 'amber line')} may be luck and {'does' if count == 1 else 'do'} not count."]


def subject(data: Mapping[str, Any]) -> str:
    """Return whose card it is, when it was made and of what, in one line."""
    day = f", {data['date']}" if data["date"] else ""
    labels = f" and {data['num_labels']} labels" if data["num_labels"] else ""
    return f"{one_line(data['judge']['model'])}{day}, on {data['num_prompts']} prompts{labels}"


def figure(measure: Mapping[str, Any]) -> str:
    """Return a measure's figure with its interval, as text.

    Example:
        >>> figure({"value": 0.05, "interval": [0.01, 0.125]})
        '0.05 (0.01 to 0.12)'
    """
    if measure["value"] is None:
        return "-"
    interval = measure["interval"]
    ends = "" if interval is None else f" ({_short(interval[0])} to {_short(interval[1])})"
    return f"{_short(measure['value'])}{ends}"


def markdown_of(data: Mapping[str, Any]) -> str:
    """Return a card as Markdown."""
    rows = [
        f"| {one['light']} | {one['title']} | {figure(one)} | {one['count']} | {one['says'].replace('|', '/')} |"
        for one in data["measures"]
    ]
    simulated = ["", "Simulated models: no number here says anything about a real one."] if data["simulated"] else []
    used = ", ".join(f"{role} {count:,}" for role, count in data["lm_calls"].items() if count)
    return "\n".join(
        [
            f"# Judge card: {subject(data)}",
            *simulated,
            "",
            f"**{headline(data)}**",
            "",
            "| light | what | figure | on | what it means |",
            "|---|---|---|---|---|",
            *rows,
            "",
            f"Calls: {used}.",
            "",
        ]
    )


def _short(number: float) -> str:
    return f"{round(number, 2) + 0.0:.2f}"
