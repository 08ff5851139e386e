"""The optimizer contract, items 34, 35 and 37: what is DRPO's own: retrieved demonstrations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dspy
import numpy as np
import pytest
from contract_programs import Hops, Mixed, dressed, examples
from contract_world import World

from drpo import Responder, load
from drpo.errors import ProgramFileError, ProgramStructureError
from drpo.programs.retrieval import RetrievingPredict


@pytest.mark.parametrize("make", ["prose", "chat", "json", "xml"])
def test_34_responder_never_sees_its_own_answer(make: str) -> None:
    """Item 34: demonstrations of the training queries themselves (in other capitals and spacing too) are not shown."""
    trainset = examples(4, inputs=("query",))
    demos = [{"query": example.query, "response": f"LEAK {example.query}"} for example in trainset]
    demos += [{"query": f"  {example.query.upper()}\n", "response": f"LEAK {example.query}"} for example in trainset]
    world = World()
    program = world.optimizer(k=2).compile(Responder(demos=demos, k=2, adapter=make), trainset=trainset)
    assert program.drpo_result["program_errors"] == 0
    for prompt in world.asked["task"]:
        query = next(example.query for example in trainset if example.query in prompt.last)
        assert f"LEAK {query}" not in prompt.text
        assert prompt.text.count("LEAK What is ") == 2


def test_34_any_student(adapter: dspy.Adapter) -> None:
    """Item 34: nor are they to a student that retrieves through `k=`, under any adapter."""
    trainset = examples(4)
    student = dspy.Predict("question -> answer")
    student.demos = [dspy.Example(question=example.question, answer=f"LEAK {example.question}") for example in trainset]
    world = World()
    world.optimizer(k=3).compile(student, trainset=trainset)
    for prompt in world.asked["task"]:
        query = next(example.question for example in trainset if example.question in prompt.last)
        assert f"LEAK {query}" not in prompt.text
        assert prompt.text.count("LEAK What is ") == 3


def saved_retrieval(adapter: dspy.Adapter, path: Path) -> tuple[World, dspy.Module]:
    """Return a program of three retrieving predictors, saved; it is made once under each adapter."""
    if type(adapter) not in _RETRIEVAL:
        world = World()
        _RETRIEVAL[type(adapter)] = world, world.compile(dressed(Hops()), k=1)
    world, program = _RETRIEVAL[type(adapter)]
    program.save(path)
    return world, program


_RETRIEVAL: dict[type, tuple[World, dspy.Module]] = {}


def test_35_a_plain_student_is_rebuilt(adapter: dspy.Adapter, tmp_path: Path) -> None:
    """Item 35: our `load` puts retrieving predictors in a plain student's place instead of dropping the pool."""
    world, program = saved_retrieval(adapter, tmp_path / "program.json")
    student = Hops()
    loaded = load(tmp_path / "program.json", student=student)
    assert [type(predictor) for predictor in loaded.predictors()] == [RetrievingPredict] * 3
    assert world.rendered(loaded) == world.rendered(program)
    assert [type(predictor) for predictor in student.predictors()] == [dspy.Predict] * 3


def test_35_another_structure_is_loud(adapter: dspy.Adapter, tmp_path: Path) -> None:
    """Item 35: a student of another structure, and no student at all, are refused with both structures named."""
    saved_retrieval(adapter, tmp_path / "program.json")
    for student in (Mixed(), dspy.Predict("question -> answer"), None, Responder()):
        with pytest.raises(ProgramStructureError, match=r"hops|Responder"):
            load(tmp_path / "program.json", student=student)


def test_35_other_fields_are_loud(tmp_path: Path) -> None:
    """Item 35: so are the same names over other fields, which the saved demonstrations do not fit."""
    student = dspy.Predict("question -> answer")
    student.demos = [dspy.Example(question="One?", answer="1.")]
    World().compile(student, k=1).save(tmp_path / "program.json")
    with pytest.raises(ProgramFileError):
        load(tmp_path / "program.json", student=dspy.Predict("topic -> poem"))


def test_35_a_plain_state_in_a_retrieving_student_is_loud(adapter: dspy.Adapter, tmp_path: Path) -> None:
    """Item 35: nor does a pool stay behind under a state that has none."""
    Hops().save(tmp_path / "program.json")
    _, retrieving = saved_retrieval(adapter, tmp_path / "other.json")
    with pytest.raises(ProgramStructureError, match="pool"):
        load(tmp_path / "program.json", student=retrieving)


def test_35_dspys_own_load_keeps_static_demonstrations(adapter: dspy.Adapter, tmp_path: Path) -> None:
    """Item 35: DSPy's own `load` knows no pool; a plain student gets its first `k` at least, and never none."""
    world, program = saved_retrieval(adapter, tmp_path / "program.json")
    plain = Hops()
    plain.load(tmp_path / "program.json")
    for predictor, retrieving in zip(plain.predictors(), program.predictors(), strict=True):
        assert [dict(demo) for demo in predictor.demos] == list(retrieving.pool[:1])
    world.rendered(plain)


class Weights:
    """An embedder whose vectors hang on its weights; two of them have the same source text."""

    def __init__(self, weights: Mapping[str, Sequence[float]]) -> None:
        self.weights = dict(weights)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([self.weights[text.split()[0]] for text in texts], dtype=np.float32)

    def spec(self) -> dict[str, Any]:
        return {"kind": "weights"}


def compass(*, mirrored: bool) -> Weights:
    up, down = ((0, -1), (0, 1)) if mirrored else ((0, 1), (0, -1))
    return Weights({"north": up, "south": down, "query": (0, 1)})


def test_37_embedders_share_no_vectors(adapter: dspy.Adapter) -> None:
    """Item 37: two embedders of one class and one spec, over the same texts, each find their own nearest."""
    demos = [{"query": "north demo", "response": "NORTH"}, {"query": "south demo", "response": "SOUTH"}]
    trainset = [dspy.Example(query="query").with_inputs("query")]
    shown = {}
    for name, mirrored in (("NORTH", False), ("SOUTH", True), ("NORTH again", False)):
        world = World()
        student = Responder(demos=demos, k=1, encoder=compass(mirrored=mirrored), adapter="chat")
        world.optimizer(depth=1).compile(student, trainset=trainset)
        shown[name] = {word for prompt in world.asked["task"] for word in ("NORTH", "SOUTH") if word in prompt.text}
    assert shown == {"NORTH": {"NORTH"}, "SOUTH": {"SOUTH"}, "NORTH again": {"NORTH"}}


def test_37_embedders_in_one_program() -> None:
    """Item 37: nor do they when they stand in one program and are asked in turns."""
    demos = [{"query": "north demo", "response": "NORTH"}, {"query": "south demo", "response": "SOUTH"}]
    up, down = (
        RetrievingPredict("query -> response", demos=demos, k=1, encoder=compass(mirrored=mirrored))
        for mirrored in (False, True)
    )
    for _ in range(2):
        assert [p.retrieve(query="query")[0]["response"] for p in (up, down)] == ["NORTH", "SOUTH"]
