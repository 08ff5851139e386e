"""The optimizer contract, items 15 to 20: settings, callbacks, threads, event loops, usage, other optimizers."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import dspy
import pytest
from contract_programs import ADAPTERS, Mixed, Nested, examples, examples_for
from contract_world import World, settings_now
from dspy.lm15 import AuthError
from dspy.teleprompt import BetterTogether, LabeledFewShot
from dspy.utils.callback import ACTIVE_CALL_ID, BaseCallback
from dspy.utils.exceptions import LMAuthError

import drpo.teleprompters.drpo as drpo_module
from drpo import DRPOTeleprompter, DynamicReward
from drpo.errors import BudgetExceededError


class Stop(BaseException):
    """No `Exception`, like Ctrl-C."""


class Spy(BaseCallback):
    """Remembers the events of compiles, modules and LMs, each with its parent."""

    def __init__(self) -> None:
        self.parents: dict[str, str | None] = {}
        self.starts: list[tuple[str, str, Any, dict[str, Any]]] = []
        self.ends: list[tuple[str, Any, BaseException | None]] = []

    def of_kind(self, kind: str) -> list[tuple[str, str, Any, dict[str, Any]]]:
        return [start for start in self.starts if start[0] == kind]

    def ancestors(self, call_id: str) -> list[str]:
        found = []
        while (parent := self.parents.get(call_id)) is not None:
            found.append(parent)
            call_id = parent
        return found

    def on_compile_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self._start("compile", call_id, instance, inputs)

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self._start("module", call_id, instance, inputs)

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self._start("lm", call_id, instance, inputs)

    def on_compile_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        self.ends.append((call_id, outputs, exception))

    def _start(self, kind: str, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self.parents[call_id] = ACTIVE_CALL_ID.get()
        self.starts.append((kind, call_id, instance, inputs))


def failing(error: BaseException, *, after: int) -> Callable[..., float]:
    """Return a metric that raises once it was asked more than `after` times."""
    asked = []

    def metric(example: dspy.Example, prediction: dspy.Prediction, trace: object = None) -> float:
        asked.append(example)
        if len(asked) > after:
            raise error
        return 0.5

    return metric


def same_objects(before: dict[str, object], after: dict[str, object]) -> bool:
    return before.keys() == after.keys() and all(before[name] is after[name] for name in before)


# --- 15 and 16: settings --------------------------------------------------------------------------


@pytest.mark.parametrize("num_threads", [1, 4])
def test_15_settings_are_restored(num_threads: int, adapter: dspy.Adapter) -> None:
    """Item 15: every setting is the same object afterwards, and the global trace has not grown."""
    world = World()
    trace: list[object] = ["before"]
    dspy.configure(lm=world.task, trace=trace, callbacks=[Spy()], rm="a retriever")
    before = settings_now()
    world.compile(Mixed(), task_lm=None, num_threads=num_threads)
    assert same_objects(before, settings_now())
    assert trace == ["before"]


def test_15_settings_of_a_context_are_restored() -> None:
    """Item 15: the same within `dspy.context`, whose trace is the caller's own."""
    world = World()
    trace: list[object] = []
    with dspy.context(lm=world.task, trace=trace, num_threads=2):
        before = settings_now()
        world.compile(Mixed(), task_lm=None, num_threads=None)
        assert same_objects(before, settings_now())
    assert trace == []


FAILURES: dict[str, tuple[type[BaseException], Callable[[], dict[str, Any]]]] = {
    "base_exception": (Stop, lambda: {"metric": failing(Stop("now"), after=2)}),
    "keyboard_interrupt": (KeyboardInterrupt, lambda: {"metric": failing(KeyboardInterrupt(), after=0)}),
    "exception": (ValueError, lambda: {"metric": failing(ValueError("broken"), after=1), "max_errors": 1}),
    "budget": (BudgetExceededError, lambda: {"max_lm_calls": 1}),
    "judge_outage": (LMAuthError, lambda: {"judge_lm": World(before=_unauthorised).judge}),
    "task_outage": (LMAuthError, lambda: {"task_lm": World(before=_unauthorised).task}),
    "proposer": (ZeroDivisionError, lambda: {"proposer": lambda *_: 1 / 0}),
}


def _unauthorised(role: str, prompt: object) -> None:
    raise AuthError("401: wrong key")


@pytest.mark.parametrize("failure", FAILURES)
def test_16_settings_are_restored_after_a_failure(failure: str, adapter: dspy.Adapter, tmp_path: Path) -> None:
    """Item 16: after any failure, a `BaseException` too, settings, LMs, threads, log handlers and folder are free."""
    world = World()
    student = Nested()
    trace: list[object] = []
    dspy.configure(lm=world.task, trace=trace)
    before, handlers, threads = settings_now(), list(logging.getLogger("drpo").handlers), set(threading.enumerate())
    expected, options = FAILURES[failure]
    for num_threads in (1, 4):  # the second time at once, in the same folder
        with pytest.raises(expected):
            world.compile(student, **{"num_threads": num_threads, "log_dir": tmp_path / "run", **options()})
    assert same_objects(before, settings_now())
    assert trace == []
    assert dspy.settings.lm is world.task
    assert [predictor.lm for predictor in student.predictors()] == [None, None, None]
    assert logging.getLogger("drpo").handlers == handlers
    assert set(threading.enumerate()) == threads


@pytest.mark.parametrize("failure", ["base_exception", "task_outage"])
def test_16_own_lms_are_left_after_a_failure(failure: str) -> None:
    """Item 16: nor is a predictor's own LM replaced by the one that counts its calls."""
    world, student = World(), Nested()
    student.inner.answer.lm = own = world.task.copy()
    expected, options = FAILURES[failure]
    with pytest.raises(expected):
        world.compile(student, **options())
    assert [predictor.lm for predictor in student.predictors()] == [None, own, None]


@pytest.mark.parametrize("num_threads", [1, 4])
def test_16_a_base_exception_is_the_one_that_was_raised(num_threads: int, adapter: dspy.Adapter) -> None:
    """Item 16: Ctrl-C in a metric is not turned into a score or another error."""
    stop = Stop("now")
    with pytest.raises(Stop) as caught:
        World().compile(Mixed(), metric=failing(stop, after=2), num_threads=num_threads)
    assert caught.value is stop


# --- 17: callbacks --------------------------------------------------------------------------------


@pytest.mark.parametrize("num_threads", [1, 4])
def test_17_one_pair_per_compile(num_threads: int, adapter: dspy.Adapter) -> None:
    """Item 17: one pair of events on our instance: inputs by name, the returned object; all else is below it."""
    spy, world, student = Spy(), World(), Mixed()
    optimizer, trainset = world.optimizer(num_threads=num_threads), examples_for(student)
    with dspy.context(callbacks=[spy]):
        program = optimizer.compile(student, trainset=trainset)
    [(_, call_id, instance, inputs)] = spy.of_kind("compile")
    assert instance is optimizer
    assert inputs["student"] is student
    assert inputs["trainset"] is trainset
    assert {"teacher", "valset", "seed"} <= inputs.keys()
    [(ended, outputs, exception)] = spy.ends
    assert ended == call_id
    assert outputs is program
    assert exception is None
    assert ACTIVE_CALL_ID.get() is None
    below = [*spy.of_kind("module"), *spy.of_kind("lm")]
    assert len(spy.of_kind("lm")) == world.num_calls
    assert all(spy.ancestors(child)[-1] == call_id for _, child, _, _ in below)


@pytest.mark.parametrize("error", [Stop("now"), ValueError("broken")])
def test_17_the_end_has_the_exception_that_propagates(error: BaseException) -> None:
    """Item 17: on failure the end event carries the very exception that the caller gets."""
    spy = Spy()
    with dspy.context(callbacks=[spy]), pytest.raises(type(error)) as caught:
        World().compile(Mixed(), metric=failing(error, after=1), max_errors=1)
    [(_, outputs, exception)] = spy.ends
    assert exception is caught.value
    assert outputs is None


def test_17_nested_optimizers_are_children() -> None:
    """Item 17: an optimizer that runs inside ours, in one of its threads too, appears below it."""
    spy = Spy()
    labelled = [dspy.Example(question="One?", answer="1.").with_inputs("question")]

    def metric(example: dspy.Example, prediction: dspy.Prediction, trace: object = None) -> float:
        LabeledFewShot(k=1).compile(dspy.Predict("question -> answer"), trainset=labelled)
        return 0.5

    with dspy.context(callbacks=[spy]):
        World().compile(Mixed(), metric=metric)
    [ours] = [call_id for _, call_id, instance, _ in spy.of_kind("compile") if isinstance(instance, DRPOTeleprompter)]
    nested = [call_id for _, call_id, instance, _ in spy.of_kind("compile") if isinstance(instance, LabeledFewShot)]
    assert len(nested) > 1
    assert all(spy.ancestors(call_id)[-1] == ours for call_id in nested)


def test_17_a_subclass_is_one_pair() -> None:
    """Item 17: a subclass that calls our `compile` from its own makes one pair, not two."""

    class Careful(DRPOTeleprompter):
        def compile(self, student: dspy.Module, *, trainset: list[dspy.Example], **options: Any) -> dspy.Module:
            return super().compile(student, trainset=trainset, **options)

    spy, world = Spy(), World()
    optimizer = Careful(**world.optimizer().get_params())
    with dspy.context(callbacks=[spy]):
        optimizer.compile(Mixed(), trainset=examples(3))
    assert len(spy.of_kind("compile")) == len(spy.ends) == 1


def test_17_survives_cloudpickle(adapter: dspy.Adapter) -> None:
    """Item 17: class, instance, and the class by value go through cloudpickle and still compile with events."""
    assert cloudpickle.loads(cloudpickle.dumps(DRPOTeleprompter)) is DRPOTeleprompter
    cloudpickle.register_pickle_by_value(drpo_module)
    try:
        by_value = cloudpickle.dumps(DRPOTeleprompter)
    finally:
        cloudpickle.unregister_pickle_by_value(drpo_module)
    world = World()
    optimizer = world.optimizer(metric=DynamicReward(world.judge))
    for again in (
        cloudpickle.loads(cloudpickle.dumps(optimizer)),
        cloudpickle.loads(by_value)(**optimizer.get_params()),
    ):
        spy = Spy()
        with dspy.context(callbacks=[spy]):
            program = again.compile(Mixed(), trainset=examples(3))
        assert len(spy.of_kind("compile")) == 1
        assert spy.ends[0][1] is program


# --- 18 and 19: threads, event loops, usage -------------------------------------------------------


def outcome(world: World, program: dspy.Module) -> Any:
    result = {key: value for key, value in program.drpo_result.items() if key != "bill"}
    return result, world.rendered(program)


def expected_outcome(adapter: dspy.Adapter) -> Any:
    """Return the outcome in the main thread, made once under each adapter."""
    if type(adapter) not in _EXPECTED:
        world = World()
        _EXPECTED[type(adapter)] = outcome(world, world.compile(Mixed()))
    return _EXPECTED[type(adapter)]


_EXPECTED: dict[type, Any] = {}


def test_18_raw_worker_thread(adapter: dspy.Adapter) -> None:
    """Item 18: compiles in a thread that never configured DSPy, under `dspy.context`, to the same result."""
    world, found = World(), []

    def work() -> None:
        with dspy.context(lm=world.task, adapter=ADAPTERS[_name(adapter)]()):
            found.append(world.compile(Mixed(), task_lm=None))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found, "the thread died"
    assert outcome(world, found[0]) == expected_outcome(adapter)


def test_18_inside_a_running_event_loop(adapter: dspy.Adapter) -> None:
    """Item 18: compiles synchronously where an event loop runs, as in a notebook."""
    world = World()

    async def cell() -> dspy.Module:
        with dspy.context(lm=world.task):
            return world.compile(Mixed(), task_lm=None, num_threads=1)

    assert outcome(world, asyncio.run(cell())) == expected_outcome(adapter)


def test_18_asyncify(adapter: dspy.Adapter) -> None:
    """Item 18: `dspy.asyncify(optimizer.compile)` works too."""
    world = World()

    async def cell() -> dspy.Module:
        compile_ = dspy.asyncify(world.optimizer(task_lm=None).compile)
        with dspy.context(lm=world.task):
            return await compile_(Mixed(), trainset=examples(4))

    assert outcome(world, asyncio.run(cell())) == expected_outcome(adapter)


@pytest.mark.parametrize("num_threads", [1, 4])
def test_19_usage_is_tracked(num_threads: int, adapter: dspy.Adapter) -> None:
    """Item 19: `track_usage` sees every token that we report, in our threads too."""
    world = World()
    dspy.configure(track_usage=True)
    with dspy.track_usage() as tracker:
        program = world.compile(Mixed(), num_threads=num_threads)
    tracked = {model: usage["total_tokens"] for model, usage in tracker.get_total_tokens().items()}
    assert tracked == {f"world/{role}": tokens for role, tokens in program.drpo_result["tokens"].items()}


def test_19_usage_setting_alone() -> None:
    """Item 19: nor does the setting disturb without a tracker, and predictions carry their usage afterwards."""
    world = World()
    dspy.configure(track_usage=True, lm=world.task)
    program = world.compile(Mixed(), task_lm=None)
    assert program(question="One?").get_lm_usage()["world/task"]["total_tokens"] > 0


# --- 20: BetterTogether ---------------------------------------------------------------------------


def test_20_better_together(adapter: dspy.Adapter) -> None:
    """Item 20: no error flag; the candidates are the original and ours."""
    world = World()
    student = Mixed()
    student.set_lm(world.task)
    optimizer = BetterTogether(metric=DynamicReward(world.judge), p=world.optimizer(task_lm=None))
    program = optimizer.compile(student, trainset=examples(6), valset=examples(8)[6:], strategy="p")
    assert program.flag_compilation_error_occurred is False
    assert sorted(entry["strategy"] for entry in program.candidate_programs) == ["", "p"]
    assert all(isinstance(entry["score"], float) for entry in program.candidate_programs)


def test_20_better_together_with_teacher_and_arguments() -> None:
    """Item 20: a teacher (passed on as a list), compile arguments of our own and a second step are taken."""
    world = World()
    student, teacher = Mixed(), Mixed()
    student.set_lm(world.task)
    teacher.set_lm(world.task)
    optimizer = BetterTogether(metric=DynamicReward(world.judge), p=world.optimizer(task_lm=None))
    program = optimizer.compile(
        student, trainset=examples(6), valset=examples(8)[6:], teacher=teacher, strategy="p -> p",
        optimizer_compile_args={"p": {"seed": 3}},
    )  # fmt: skip
    assert program.flag_compilation_error_occurred is False
    assert sorted(entry["strategy"] for entry in program.candidate_programs) == ["", "p", "p -> p"]


def _name(adapter: dspy.Adapter) -> str:
    return next(name for name, kind in ADAPTERS.items() if type(adapter) is kind)
