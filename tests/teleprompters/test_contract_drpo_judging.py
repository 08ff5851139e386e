"""The optimizer contract, items 36 and 38: what is DRPO's own: judgements, and what is said of evaluations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dspy
import pytest
from contract_programs import Mixed, examples
from contract_world import World
from dspy.utils.callback import BaseCallback
from variants import slow

from drpo import DynamicReward
from drpo.errors import JudgeError

GARBAGE = {
    "empty": "",
    "prose": "A fine answer, I would say.",
    "other_keys": '{"verdict": "good"}',
    "too_high": '{"judgement_1": {"score": 6}, "judgement_2": {"score": 99}, "judgement_3": {"score": 1e9}}',
    "too_low": '{"judgement_1": {"score": 0}, "judgement_2": {"score": -3}, "judgement_3": {"score": 0.5}}',
    "not_numbers": '{"judgement_1": {"score": "high"}, "judgement_2": {"score": null}, "judgement_3": {"score": NaN}}',
    "cut_off": '{"judgement_1": {"rationale": "it is',
    "wrong_types": '[[1, 2], {"judgement_1": [5]}, "judgement_2"]',
    "nested": "[" * 5000,
}


@pytest.mark.parametrize("garbage", GARBAGE)
def test_36_garbage_is_missing(garbage: str) -> None:
    """Item 36: what holds no score from 1 to 5 is asked for once more, then missing and counted, and never a number."""
    world = World()
    grade = world._grade
    world._grade = lambda prompt: GARBAGE[garbage] if "What is 1?" in prompt.last else grade(prompt)
    program = world.compile(dspy.Predict("question -> answer"))
    assert program.drpo_result["missing_judgements"] > 0
    bad = [prompt for prompt in world.asked["judge"] if "What is 1?" in prompt.last]
    assert len(bad) == 2 * program.drpo_result["missing_judgements"]
    assert all(0 <= entry["score"] <= 1 for entry in program.candidate_programs)


@pytest.mark.parametrize("bad", [0, 5.5, None, "six", *slow(6, -1, 7.5, True, [5], "5 of 10")])
def test_36_one_bad_score_is_left_out(bad: object, tmp_path: Path) -> None:
    """Item 36: one criterion out of range is asked for again by itself; the mean is that of the others."""
    world = World(scores=lambda answer, number: bad if number == 0 else 3)
    program = world.compile(dspy.Predict("question -> answer"), log_dir=tmp_path / "run", depth=2)
    nodes = json.loads((tmp_path / "run" / "trace.json").read_text())["nodes"]
    assert {node["reward"] for node in nodes} == {3.0}
    assert all(node["scores"][0]["value"] is None for node in nodes)
    assert all("no score for" in node["error"] for node in nodes)
    assert world.calls["judge"] == 2 * len(nodes)
    assert program.drpo_result["missing_judgements"] == 0


@pytest.mark.parametrize("good", [4, 4.0, "4", "4/5", "4.0", " 4 ", "4 out of 5", "**4**"])
def test_36_kind_reading(good: object, tmp_path: Path) -> None:
    """Item 36: a score that a person would read as one is one, at the first try."""
    world = World(scores=lambda answer, number: good)
    world.compile(dspy.Predict("question -> answer"), log_dir=tmp_path / "run", depth=1)
    nodes = json.loads((tmp_path / "run" / "trace.json").read_text())["nodes"]
    assert {node["reward"] for node in nodes} == {4.0}
    assert world.calls["judge"] == len(nodes)


def test_36_only_garbage_is_an_error(adapter: dspy.Adapter) -> None:
    """Item 36: a judge that never gives a score ends the run, with few queries too; it yields no program."""
    for options in ({}, {"max_errors": 3}):
        world = World()
        world._grade = lambda prompt: "no"
        with pytest.raises(JudgeError, match="readable score"):
            world.compile(dspy.Predict("question -> answer"), **options)


def test_36_criteria_that_cannot_be_read(adapter: dspy.Adapter, tmp_path: Path) -> None:
    """Item 36: garbage from the criteria LM leaves the static criteria, marked as such in the ledger."""
    world = World()
    world._choose = lambda prompt: "{"
    program = world.compile(dspy.Predict("question -> answer"), log_dir=tmp_path / "run")
    entries = json.loads((tmp_path / "run" / "ledger.json").read_text())["entries"]
    assert {entry["source"] for entry in entries} == {"fallback"}
    assert program.drpo_result["missing_judgements"] == 0


class Evaluations(BaseCallback):
    """Remembers the metadata of every evaluation."""

    def __init__(self) -> None:
        self.metadata: list[Any] = []

    def on_evaluate_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self.metadata.append(inputs.get("callback_metadata"))


def test_38_evaluations_say_what_they_are(adapter: dspy.Adapter) -> None:
    """Item 38: no evaluation inside compile is without `metric_key` (full or minibatch) or `disable_logging`."""
    spy, world = Evaluations(), World()
    reward = DynamicReward(world.judge, world.criteria)
    with dspy.context(callbacks=[spy]):
        program = world.optimizer(reward).compile(Mixed(), trainset=examples(4), valset=examples(6)[4:])
        inside = list(spy.metadata)
        with dspy.context(lm=world.task):
            dspy.Evaluate(devset=examples(2), metric=reward, num_threads=1)(program)
    assert len(spy.metadata) == len(inside) + 1, "the spy sees nothing"
    for metadata in inside:
        assert metadata
        assert metadata.get("disable_logging") or metadata["metric_key"] in ("eval_full", "eval_minibatch")
