"""The optimizer contract, items 10 to 14: programs of any shape."""

from __future__ import annotations

import dspy
import pytest
from contract_programs import SHAPES, Frozen, Hops, Mixed, Nested, dressed, examples_for
from contract_world import World, run_of
from variants import mostly_slow

from drpo.errors import ConfigError
from drpo.programs.retrieval import RetrievingPredict


def steady(answer: str, number: int) -> int:
    """Score alike everywhere and never easily, so that every level rewrites."""
    return 3


def instructions(program: dspy.Module) -> dict[str, str]:
    return {name: predictor.signature.instructions for name, predictor in program.named_predictors()}


@pytest.mark.parametrize("shape", mostly_slow(SHAPES, quick=("mixed", "hops", "frozen", "responder")))
def test_10_every_predictor_is_rewritten(shape: str, adapter: dspy.Adapter) -> None:
    """Items 10 and 11: each predictor's turn comes, its new words are really sent, and nothing fails on the way.

    A warning raised as an error in a task would be counted as a program error, so the zeros also say that no
    deprecated call was made.
    """
    student = SHAPES[shape]()
    names = list(instructions(student))
    world = World(scores=steady, structured_output=True)
    program = world.compile(student, num_queries=len(names) + 2, depth=len(names) + 2, n_actions=1)
    before, after = instructions(student), instructions(program)
    assert all(after[name].startswith(before[name]) and after[name] != before[name] for name in names)
    result = program.drpo_result
    assert (result["program_errors"], result["missing_judgements"], result["unusable_proposals"]) == (0, 0, 0)
    assert result["instructions"] == after
    for name in names:  # the last words were really sent, by the predictor that has them
        sent = [prompt.system for prompt in world.asked["task"]]
        assert any("".join(after[name].split()) in "".join(text.split()) for text in sent), name


NAMES = {
    "mixed": ["think.predict", "answer"],
    "nested": ["inner.think.predict", "inner.answer", "polish"],
    "hops": ["hops[0]", "hops[1].predict", "d['k']"],
    "frozen": ["answer"],
    "shared": ["first", "last"],
    "several_inputs": ["answer"],
    "bare_predict": ["self"],
    "bare_chain_of_thought": ["predict"],
    "locked": ["first", "steps[0].answer", "steps[1].answer"],
    "responder": ["respond"],
}


@pytest.mark.parametrize("shape", mostly_slow(SHAPES, quick=("mixed", "hops", "frozen", "responder")))
def test_11_names(shape: str, adapter: dspy.Adapter) -> None:
    """Items 10 and 11: the names under which predictors stand, in lists and dicts too."""
    program = run_of(shape, adapter).program
    assert list(instructions(program)) == NAMES[shape]
    assert list(program.drpo_result["instructions"]) == NAMES[shape]


def test_11_retrieval_reaches_lists_and_dicts(adapter: dspy.Adapter) -> None:
    """Item 11: with `k`, the predictors in lists and dicts retrieve their demonstrations."""
    student = dressed(Hops())
    program = World().compile(student, k=1)
    kinds = [type(predictor) for predictor in program.predictors()]
    assert kinds == [RetrievingPredict, RetrievingPredict, RetrievingPredict]
    assert [len(predictor.pool) for predictor in program.predictors()] == [1, 1, 1]
    assert type(student.hops[0]) is dspy.Predict


def test_12_bare_predict(adapter: dspy.Adapter) -> None:
    """Item 12: the result of a bare `dspy.Predict` is one, its only predictor is `self`, and it answers."""
    student = dspy.Predict("question -> answer")
    world = World(scores=steady)
    program = world.compile(student)
    assert type(program) is dspy.Predict
    assert [name for name, _ in program.named_predictors()] == ["self"]
    assert program.signature.instructions != student.signature.instructions
    assert len(world.rendered(program)) == 2


def test_12_bare_predict_with_retrieval(adapter: dspy.Adapter) -> None:
    """Item 12: the same with retrieved demonstrations: one predictor, not a second one beside the first."""
    student = dressed(dspy.Predict("question -> answer"))
    program = World(scores=steady).compile(student, k=1)
    assert isinstance(program, dspy.Predict)
    assert [(name, type(predictor)) for name, predictor in program.named_predictors()] == [("self", RetrievingPredict)]


def test_13_frozen_sub_module(adapter: dspy.Adapter) -> None:
    """Item 13: a compiled sub-module keeps instructions and demos, is not listed, and still answers."""
    student = Frozen()
    world = World(scores=steady)
    program = world.compile(student)
    assert list(instructions(program)) == ["answer"]
    assert program.fixed._compiled is True
    for name in ("think", "answer"):
        old, new = getattr(student.fixed, name), getattr(program.fixed, name)
        assert instructions(new) == instructions(old)
        assert [dict(demo) for p in new.predictors() for demo in p.demos] == [
            dict(demo) for p in old.predictors() for demo in p.demos
        ]
    assert len(world.rendered(program)) == 3 * 2


def test_13_retrieval_leaves_a_frozen_sub_module() -> None:
    """Item 13: nor does `k` make its predictors retrieve."""
    program = World().compile(Frozen(), k=0)
    assert type(program.fixed.answer) is dspy.Predict
    assert [dict(demo) for demo in program.fixed.answer.demos] == [
        {"question": "Old?", "idea": "none", "answer": "Old."}
    ]


def test_13_nothing_left_to_optimize_is_said() -> None:
    """Item 13: a program whose every predictor is frozen is refused before any call."""
    world = World()
    student = Nested()
    student.inner._compiled = student.polish._compiled = True
    outer = dspy.Module()
    outer.only = student.inner
    with pytest.raises(ConfigError, match="_compiled"):
        world.optimizer().compile(outer, trainset=examples_for(outer))
    assert world.num_calls == 0


def test_14_compiles_again(adapter: dspy.Adapter) -> None:
    """Item 14: a result compiles again once `_compiled` is reset, from where it stood, without the first's record."""
    world = World(scores=steady)
    first = world.compile(Mixed())
    first._compiled = False
    names, candidates = list(vars(first)), first.candidate_programs
    second = world.compile(first)
    assert second._compiled is True
    assert list(vars(first)) == names
    assert first.candidate_programs is candidates
    assert all(instructions(second)[name].startswith(text) for name, text in instructions(first).items())
    assert instructions(second) != instructions(first)
    for entry in second.candidate_programs:  # else each run would carry and copy all runs before it
        assert not hasattr(entry["program"], "candidate_programs")
        assert not hasattr(entry["program"], "drpo_result")


def test_14_no_statistics_of_an_earlier_run() -> None:
    """Item 14: with `track_stats=False` the second result does not pass off the first run's figures as its own."""
    world = World(scores=steady)
    first = world.compile(Mixed())
    first._compiled = False
    second = world.compile(first, track_stats=False)
    assert not hasattr(second, "candidate_programs")
    assert not hasattr(second, "drpo_result")


def test_14_compiled_part_of_a_new_program() -> None:
    """Item 14: inside a new program a result is frozen until it is reset."""
    world = World(scores=steady)
    outer = Nested()
    outer.inner = world.compile(Mixed())
    assert list(instructions(world.compile(outer))) == ["polish"]
    outer.inner._compiled = False
    again = world.compile(outer)
    assert list(instructions(again)) == ["inner.think.predict", "inner.answer", "polish"]
