"""Judge cards of simulated judges: planted faults are named, and a card is as durable as a search."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.lm15 import AuthError, InvalidRequestError
from dspy.utils.exceptions import LMAuthError

import drpo
from drpo import Responder
from drpo.configs.prompts import load_prompts
from drpo.errors import BudgetExceededError, ConfigError, ProgramFailureError, RunDirectoryError
from drpo.metrics.judge_card.card import JudgeCard
from drpo.metrics.judge_card.labels import Label
from drpo.metrics.judge_card.lights import Light
from drpo.serving.scripted import Prompt, scripted_lm
from drpo.serving.simulated.engine import simulated_lm
from drpo.serving.simulated.world import World
from drpo.teleprompters.judge_card import judge_card, planned_calls

PROMPTS = load_prompts("builtin:prompts").examples
FILES = ("judge-card.json", "judge-card.md", "ledger.json")


def card_of(world: World, *, num_prompts: int = 12, **options: Any) -> JudgeCard:
    lms = {f"{role}_lm": simulated_lm(role, world) for role in ("task", "judge", "criteria")}
    options = {"num_threads": 1, "display_progress": False, **lms, **options}
    return judge_card(Responder(), PROMPTS, num_prompts=num_prompts, **options)


def test_a_sound_judge_has_no_red_line() -> None:
    """The calibrated judge is steady enough, and its card knows no fault of it."""
    card = card_of(World())
    assert card.faults == ()
    assert card.light in (Light.GREEN, Light.AMBER)
    assert sum(card.about["lm_calls"].values()) == pytest.approx(sum(planned_calls(12).values()), rel=0.06)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        pytest.param({"length_bias": 1.5}, {"padding", "padding_preference"}, marks=pytest.mark.slow),
        ({"position_bias": 1.5}, {"position_preference"}),
        pytest.param({"leniency": 4.0}, {"sameness"}, marks=pytest.mark.slow),
        pytest.param({"flattery": 2.5}, {"canaries_alone", "canaries_added"}, marks=pytest.mark.slow),
        pytest.param({"malformed_rate": 0.4}, {"missing"}, marks=pytest.mark.slow),
        pytest.param({"judge_unsure": 1.0, "judge_noise": 1.8}, {"noise"}, marks=pytest.mark.slow),
    ],
    ids=["length", "order", "always 5", "flattery", "unreadable", "unsure"],
)
def test_each_planted_fault_is_named(changes: dict[str, float], named: set[str]) -> None:
    """A judge with one planted fault has a red light, and the line that is about it is red."""
    card = card_of(replace(World(), **changes), num_prompts=6)
    assert card.light is Light.RED
    assert named & set(card.faults)


@pytest.mark.slow
def test_a_second_judge_and_people_are_heard() -> None:
    """A second judge on the same answers makes an alpha, labels make agreement and a corrected level."""
    world = World()
    rude, kind = "Just try something and see what happens with it.", "Here is exactly what to do about it: first rinse."
    labels = [
        Label(f"How do I clean a {thing}?", answer.replace("it", thing), good=answer == kind)
        for thing in ("rug", "pan", "kettle", "lamp", "coat", "boot")
        for answer in (rude, kind)
    ]
    card = card_of(world, num_prompts=6, second_judge_lm=simulated_lm("prompt", world), labels=labels)
    assert card["judges_agree"].value is not None
    assert 0.3 < card["judges_agree"].value <= 1.0
    assert card["people_agree"].count == len(labels)
    assert card.about["second_judge"]["model"] == "sim/prompt"
    assert card.about["num_labels"] == 12
    planned = planned_calls(6, labels=labels, second_judge=True)
    assert sum(card.about["lm_calls"].values()) == pytest.approx(sum(planned.values()), rel=0.08)


@pytest.mark.slow
def test_threads_and_kills_change_nothing(tmp_path: Path) -> None:
    """Ended by a cap and gone on with more threads, a card ends as one that was never stopped, and pays once."""
    card_of(World(), num_prompts=4, log_dir=tmp_path / "whole", date="2026-11-28")
    options: dict[str, Any] = {"num_prompts": 4, "log_dir": tmp_path / "stopped", "date": "2026-11-28"}
    with pytest.raises(BudgetExceededError, match="max_tokens"):
        card_of(World(), caps={"max_tokens": 90_000}, **options)
    assert not (tmp_path / "stopped/judge-card.json").exists()
    kept = len((tmp_path / "stopped/calls.jsonl").read_text().splitlines())
    assert kept > 10
    card_of(World(), num_threads=4, **options)
    for name in FILES:
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    bill = json.loads((tmp_path / "stopped/bill.json").read_text())
    assert sum(role["replayed"] for role in bill["roles"].values()) == kept
    lines = [len((tmp_path / name / "calls.jsonl").read_text().splitlines()) for name in ("whole", "stopped")]
    assert lines[0] == lines[1]


def test_another_card_does_not_go_on_in_its_directory(tmp_path: Path) -> None:
    """A directory holds one card: other prompts, labels or judges are refused before a call."""
    card_of(World(), num_prompts=2, log_dir=tmp_path / "one")
    for other in (
        {"num_prompts": 3},
        {"labels": [Label("q", "a", score=3)]},
        {"second_judge_lm": simulated_lm("task", World())},
    ):
        with pytest.raises(RunDirectoryError, match="another configuration"):
            card_of(World(), **{"num_prompts": 2, "log_dir": tmp_path / "one", **other})


def test_what_is_wrong_is_said_before_the_first_call(tmp_path: Path) -> None:
    """A cap on calls that is too low is refused with the number of prompts that fits, and nothing is written."""
    asked: list[Prompt] = []

    def never(prompt: Prompt) -> str:
        asked.append(prompt)
        return ""

    lms = {f"{role}_lm": scripted_lm(never) for role in ("task", "judge", "criteria")}
    with pytest.raises(ConfigError, match=r"max_lm_calls=100.*--prompts \d"):
        card_of(World(), **lms, caps={"max_lm_calls": 100}, log_dir=tmp_path / "card")
    with pytest.raises(ConfigError, match="at least 2"):
        card_of(World(), **lms, num_prompts=1)
    with pytest.raises(ConfigError, match="second_judge_lm"):
        card_of(World(), **lms, second_judge_lm=7)
    assert asked == []
    assert not (tmp_path / "card").exists()


def test_a_request_that_the_judge_refuses_is_a_missing_verdict() -> None:
    """A judge that refuses everything has missing verdicts and no scores; one that cannot be reached ends the card."""

    def broken(error: Exception) -> Callable[[Prompt], str]:
        def reply(prompt: Prompt) -> str:
            raise error

        return reply

    refusing = scripted_lm(broken(InvalidRequestError("content filter", status=400)))
    card = card_of(World(), num_prompts=3, judge_lm=refusing)
    assert card["missing"].value == 1.0
    assert "missing" in card.faults
    assert card["noise"].light is Light.UNKNOWN
    with pytest.raises(LMAuthError):
        card_of(World(), num_prompts=3, judge_lm=scripted_lm(broken(AuthError("wrong key", status=401))))


def test_a_program_that_fails_is_left_out_and_at_last_told() -> None:
    """Prompts that the program fails on are dropped and counted; with fewer than two left the cause is named."""

    class Picky(dspy.Module):
        def __init__(self, least: int) -> None:
            super().__init__()
            self.respond, self.least = dspy.Predict("query -> response"), least

        def forward(self, query: str) -> dspy.Prediction:
            if len(query) < self.least:
                raise ValueError("too short for me")
            return self.respond(query=query)

    lms = {f"{role}_lm": simulated_lm(role, World()) for role in ("task", "judge")}
    prompts = [dspy.Example(query=text).with_inputs("query") for text in ("Why?", *(f"How is {n}?" for n in "abcd"))]
    options: dict[str, Any] = {**lms, "num_threads": 1, "display_progress": False}
    card = judge_card(Picky(5), prompts, **options)
    assert (card.about["num_prompts"], card.about["failed_prompts"]) == (4, 1)
    with pytest.raises(ProgramFailureError, match="0 of 5") as failed:
        judge_card(Picky(500), prompts, **options)
    assert "too short for me" in str(failed.value.__cause__)


def test_it_is_a_public_name() -> None:
    """`drpo.judge_card` is the function, loaded when it is asked for."""
    assert drpo.judge_card is judge_card
