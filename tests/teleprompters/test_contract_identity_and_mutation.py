"""The optimizer contract, items 1 to 9: what compile returns, and what it leaves alone."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import dspy
import pytest
from contract_programs import SHAPES, Mixed, all_modules, all_predictors, examples, examples_for, picture
from contract_world import World, run_of
from dspy.teleprompt import Teleprompter
from dspy.utils.callback import BaseCallback
from variants import mostly_slow

from drpo import DRPOTeleprompter
from drpo.errors import ConfigError
from drpo.serving.door import MeteredEngine
from drpo.serving.scripted import ScriptedEngine, scripted_lm


class Counter(BaseCallback):
    """Counts the calls of the LM that it hangs on; a copy of it would count apart."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self.calls.append(call_id)


every_shape = pytest.mark.parametrize("shape", mostly_slow(SHAPES, quick=("mixed", "hops", "frozen", "responder")))


def test_1_direct_subclass() -> None:
    """Item 1: a direct subclass of `Teleprompter`, since MLflow's autolog sees no others."""
    assert DRPOTeleprompter.__bases__ == (Teleprompter,)
    assert DRPOTeleprompter in Teleprompter.__subclasses__()


def test_2_compile_names_its_arguments() -> None:
    """Item 2: the first parameter is `student`; `trainset`, `teacher`, `valset` are named, for BetterTogether."""
    parameters = inspect.signature(DRPOTeleprompter().compile).parameters
    assert next(iter(parameters)) == "student"
    assert {"trainset", "teacher", "valset"} <= set(parameters)
    assert not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())


@pytest.mark.parametrize("student", [None, Mixed, "a program"])
def test_2_what_is_no_program_is_said(student: Any) -> None:
    """Item 2: a student that is no program (a class is the usual slip) is refused in words."""
    with pytest.raises(ConfigError, match="student="):
        World().optimizer().compile(student, trainset=examples(1))


@pytest.mark.parametrize(
    "trainset", [None, [], iter(examples(2)), [{"question": "a dict"}], [dspy.Example(question="no inputs")]]
)
def test_2_what_is_no_trainset_is_said(trainset: Any) -> None:
    """Item 2: so is a trainset that is none, empty, or of examples without inputs."""
    world = World()
    with pytest.raises(ConfigError, match="trainset"):
        world.optimizer().compile(Mixed(), trainset=trainset)
    assert world.num_calls == 0


@every_shape
def test_3_new_program_of_the_same_class_and_names(shape: str, adapter: dspy.Adapter) -> None:
    """Item 3: a new module of the student's class with the same predictor names in the same order."""
    run = run_of(shape, adapter)
    student, program = run.student, run.program
    assert program is not student
    assert type(program) is type(student)
    assert [name for name, _ in program.named_predictors()] == [name for name, _ in student.named_predictors()]
    assert list(all_predictors(program)) == list(all_predictors(student))


def test_3_the_student_is_not_returned_when_nothing_is_found(adapter: dspy.Adapter) -> None:
    """Item 3: also where the seed instruction wins, the result is another object."""
    student = Mixed()
    program = World(scores=lambda answer, number: 5).compile(student)
    assert program is not student
    assert [p.signature.instructions for p in program.predictors()] == [
        p.signature.instructions for p in student.predictors()
    ]


@every_shape
def test_4_student_is_untouched(shape: str, adapter: dspy.Adapter) -> None:
    """Item 4: signature objects, instructions, demos, lm, config, attribute names and `_compiled` stay."""
    run = run_of(shape, adapter)
    student, program = run.student, run.program
    assert any(
        new.signature.instructions != old.signature.instructions
        for new, old in zip(program.predictors(), student.predictors(), strict=True)
    ), "the search changed nothing, so this test shows nothing"
    assert picture(student) == run.before


def test_5_examples_are_untouched(adapter: dspy.Adapter) -> None:
    """Item 5: values and input keys of trainset and valset, the lists and their order stay."""
    student = SHAPES["several_inputs"]()
    trainset, valset = examples_for(student, 4), examples_for(student, 6)[4:]

    def pictured() -> list[Any]:
        everything = [*trainset, *valset]
        return [(id(item), copy.deepcopy(item.toDict()), id(item.tags), set(item._input_keys)) for item in everything]

    before = pictured()
    World().optimizer().compile(student, trainset=trainset, valset=valset)
    assert pictured() == before


@every_shape
def test_6_nothing_is_shared(shape: str, adapter: dspy.Adapter) -> None:
    """Item 6: result, student and candidate programs share no predictor, demo list or demo."""
    run = run_of(shape, adapter)
    student, program = run.student, run.program
    programs = [student, program, *(candidate["program"] for candidate in program.candidate_programs)]
    for position, one in enumerate(programs):
        for other in programs[position + 1 :]:
            for ours in all_predictors(one).values():
                for theirs in all_predictors(other).values():
                    assert ours is not theirs
                    for name in ("demos", "traces", "train", "config"):
                        assert getattr(ours, name) is not getattr(theirs, name)
                    assert not {id(demo) for demo in ours.demos} & {id(demo) for demo in theirs.demos}


def test_7_predictors_keep_their_lm(adapter: dspy.Adapter) -> None:
    """Item 7: a predictor's own LM answers, and comes back as it was; the configured LM is not touched."""
    world, counter = World(), Counter()
    own = scripted_lm(world._answer, name="own", temperature=0.3, max_tokens=55, callbacks=[counter])
    configured = world.task.copy(max_tokens=77)
    dspy.configure(lm=configured)
    kwargs = copy.deepcopy(configured.kwargs)
    student = Mixed()
    student.think.predict.lm = own
    before = picture(student)
    program = world.compile(student, task_lm=None)
    assert len(counter.calls) == program.drpo_result["lm_calls"]["task"] / 2
    for candidate in (program, *(entry["program"] for entry in program.candidate_programs)):
        lm = candidate.think.predict.lm
        assert (lm.model, lm.kwargs) == ("own", {"temperature": 0.3, "max_tokens": 55})
        assert not isinstance(lm.engine, MeteredEngine)
        assert candidate.answer.lm is None
    assert picture(student) == before
    assert dspy.settings.lm is configured
    assert configured.kwargs == kwargs


def test_7_no_lm_is_configured_but_every_predictor_has_one() -> None:
    """Item 7: predictors with an LM of their own need none in the settings."""
    world = World()
    student = Mixed()
    student.set_lm(world.task)
    program = world.compile(student, task_lm=None)
    assert [predictor.lm.model for predictor in program.predictors()] == ["world/task"] * 2


@every_shape
def test_8_result_is_compiled(shape: str, adapter: dspy.Adapter) -> None:
    """Item 8: the result is marked, and it alone: a marked sub-module would be frozen and left out of the state."""
    run = run_of(shape, adapter)
    student, program = run.student, run.program
    assert program._compiled is True
    assert student._compiled is False
    marked = {name for name, module in all_modules(program).items() if module._compiled}
    assert marked - {"self"} == {name for name, module in all_modules(student).items() if module._compiled}


@every_shape
def test_9_same_state_keys(shape: str, adapter: dspy.Adapter) -> None:
    """Item 9: the saved state has exactly the student's keys, at the top and in each predictor."""

    def keys(program: dspy.Module) -> dict[str, object]:
        return {key: list(value) if isinstance(value, dict) else None for key, value in program.dump_state().items()}

    run = run_of(shape, adapter)
    student, program = run.student, run.program
    assert keys(program) == keys(student)


def test_7_engines_are_not_copied() -> None:
    """Item 7: the engine of a predictor's own LM, which may hold a model, is never copied."""

    copies: list[object] = []

    class Heavy(ScriptedEngine):
        def __deepcopy__(self, memo: object) -> Any:
            copies.append(memo)
            return self

    world, student = World(), Mixed()
    engine = Heavy(world._answer)
    student.answer.lm = dspy.LM("own", engine=engine, cache=False)
    program = world.compile(student)
    assert program.answer.lm.engine is engine
    assert engine.prompts
    assert not copies
