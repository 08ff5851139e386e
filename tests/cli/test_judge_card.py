"""`drpo judge-card` as a person types it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

KEYS = {
    "format", "judge", "second_judge", "models", "date", "num_prompts", "failed_prompts", "num_labels", "seed", "simulated",
    "lm_calls", "tokens", "seconds", "cost", "versions", "light", "faults", "measures",
}  # fmt: skip
MEASURE_KEYS = {
    "name",
    "title",
    "light",
    "value",
    "interval",
    "count",
    "says",
    "decides",
    "bounds",
    "details",
    "may_be_luck",
}


def test_a_card_from_nothing(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a config simulated models play; the calls are said before, the files are those that are documented."""
    monkeypatch.setenv("COLUMNS", "80")
    done = desk.drpo("judge-card", "--prompts", 3, "--log-dir", "card", "--second-judge", "task")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("SIMULATED: ")
    assert re.search(
        r"^83 calls \(task 6, criteria 3, judge 69\)|^\d+ calls \(task 6, criteria 3, judge", done.stderr, re.M
    )
    assert max(map(len, done.stdout.splitlines())) <= 80
    data = json.loads((desk.folder / "card/judge-card.json").read_text())
    assert set(data) == KEYS
    assert all(set(one) == MEASURE_KEYS for one in data["measures"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", data["date"])
    page = (desk.folder / "card/judge-card.md").read_text()
    for one in data["measures"]:
        assert one["says"] in page
        assert one["light"] in ("green", "amber", "red", "unknown")
    again = desk.drpo("judge-card", "--prompts", 3, "--log-dir", "card", "--second-judge", "task", "--json", "--quiet")
    assert json.loads(again.stdout)["measures"] == data["measures"]
    assert again.stderr == ""


def test_every_key_and_measure_is_documented() -> None:
    """`docs/judge-card.md` has a line for each measure and names each key of the file."""
    from drpo.metrics.judge_card.card import judge_card_of
    from drpo.metrics.judge_card.evidence import Evidence

    page = (Path(__file__).parents[2] / "docs/judge-card.md").read_text()
    explained = set(re.findall(r"`([\w-]+)`", page))
    names = {one.name for one in judge_card_of(Evidence(())).measures} | {"corrected_level"}
    assert KEYS | MEASURE_KEYS | names <= explained, (KEYS | MEASURE_KEYS | names) - explained


def test_documented_bounds_are_those_of_the_code() -> None:
    """The table of `docs/judge-card.md` says the bounds that the lights are given by."""
    from drpo.metrics.judge_card.card import judge_card_of
    from drpo.metrics.judge_card.evidence import Evidence

    page = (Path(__file__).parents[2] / "docs/judge-card.md").read_text()
    for one in judge_card_of(Evidence(())).measures:
        row = re.search(rf"^\| `{one.name}`.*$", page, re.MULTILINE)
        assert row, one.name
        bounds = one.bounds
        red = "never" if bounds.red is None else f"{bounds.red:g}"
        assert f"| {bounds.green:g} | {red} |" in row.group(), (one.name, bounds)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--labels", "none.jsonl"], "cannot be read"),
        (["--set", "max_lm_calls=20"], "--prompts"),
        (["--prompts", "3", "--set", "lms.judge.model="], "judge"),
    ],
)
def test_mistakes_are_one_line(desk: Any, arguments: list[str], said: str) -> None:
    """A user's mistake exits with 2 and says what to do, before any call."""
    done = desk.drpo("judge-card", *arguments, "--log-dir", "card")
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (desk.folder / "card/calls.jsonl").exists()


def test_resume_says_how_to_go_on(desk: Any) -> None:
    """`drpo resume` does not take a card for a compile; it names the command."""
    assert desk.drpo("judge-card", "--prompts", 2, "--log-dir", "card", "--quiet").returncode == 0
    done = desk.drpo("resume", "card")
    assert done.returncode == 2
    assert "drpo judge-card" in done.stderr


def test_a_cap_that_is_reached_says_how_to_go_on(desk: Any) -> None:
    """A cap on tokens ends a card with 1 and the way on; with a higher one the same command finishes it."""
    card = ["judge-card", "--prompts", 2, "--log-dir", "card", "--quiet"]
    done = desk.drpo(*card, "--set", "max_tokens=20000")
    assert (done.returncode, "--log-dir card" in done.stderr) == (1, True), done.stderr
    assert not (desk.folder / "card/judge-card.json").exists()
    assert desk.drpo(*card).returncode == 0
    assert (desk.folder / "card/judge-card.json").exists()
