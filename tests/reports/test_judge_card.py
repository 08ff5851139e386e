"""What `drpo judge-card` prints."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from drpo.metrics.judge_card.card import judge_card_of
from drpo.metrics.judge_card.evidence import Evidence, Kind, Reading
from drpo.reports.judge_card import print_judge_card
from drpo.teleprompters.judge_card_files import markdown_of

ABOUT: dict[str, Any] = {
    "judge": {"model": "openai/judge"}, "models": {"task": "openai/task", "judge": "openai/judge"}, "date": "2026-11-28",
    "num_prompts": 3, "failed_prompts": 0, "num_labels": 0, "simulated": False,
    "lm_calls": {"task": 6, "judge": 20, "prompt": 0}, "cost": {"task": 0.01, "judge": 0.02, "prompt": None},
}  # fmt: skip


def card(**changed: Any) -> dict[str, Any]:
    readings = tuple(Reading(query, kind, (5, 5), 1.0, 10) for query in range(9) for kind in Kind)
    return {**ABOUT, **judge_card_of(Evidence(readings)).as_dict(), **changed}


def printed(data: dict[str, Any], *, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_judge_card(data, log_dir=None, console=console)
    return console.file.getvalue()


def test_every_measure_has_its_light_and_its_sentence() -> None:
    """Eighty columns hold the card; the light is a word, so that no colour is needed, and red stands out."""
    data = card()
    text = printed(data)
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("RED") == len(data["faults"]) + 1
    words = " ".join(printed(data, width=400).split())
    assert all(" ".join(one["says"].split()) in words for one in data["measures"])
    assert "task 6, judge 20; $0.0300" in words


def test_a_judge_that_judges_itself_is_told() -> None:
    """The same model as judge and as task is worth a line; an unknown price stays unknown."""
    data = card(models={"task": "x", "judge": "x"}, failed_prompts=2, cost={"task": None, "judge": 0.0, "prompt": None})
    words = " ".join(printed(data).split())
    assert "The judge is the task model" in words
    assert "failed on 2 prompts" in words
    assert "cost unknown" in words
    assert "The judge is the task model" not in printed(card())


@pytest.mark.parametrize("name", ["[red]bold[/red]", "a|b", "x\x1b[2J\ny"])
def test_a_model_name_is_text(name: str) -> None:
    """Markup, control characters and line breaks in a model's name do nothing, on the terminal and in the page."""
    data = card(judge={"model": name})
    text, page = printed(data, width=200), markdown_of(data)
    assert "\x1b[2J" not in text + page
    assert name.split("\x1b")[0].strip() in text
    assert page.splitlines()[0].startswith("# Judge card: ")
    assert page.splitlines()[1] == ""
