"""The optimizer contract in the default mode: what a user of DSPy counts on holds in the other search as well.

The search is as small as it can be, so that each item costs few calls; sizes of the presets are not looked at.
"""

from __future__ import annotations

import copy
import json
import logging
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import dspy
import pydantic
import pytest
from contract_programs import (
    ADAPTERS,
    SHAPES,
    Hops,
    Mixed,
    all_predictors,
    dressed,
    examples,
    examples_for,
    picture,
)
from contract_world import World, requests_of, settings_now
from dspy import lm15
from dspy.utils.callback import ACTIVE_CALL_ID, BaseCallback
from dspy.utils.exceptions import LMAuthError, LMError
from variants import mostly_slow, slow

from drpo import DRPOTeleprompter, load
from drpo.errors import BudgetExceededError, ConfigError, JudgeError, ProgramFailureError
from drpo.programs.retrieval import RetrievingPredict
from drpo.serving.door import MeteredEngine
from drpo.serving.scripted import Prompt

ROLES = ("task", "judge", "criteria", "prompt")
TINY = {
    "auto": None, "minibatch_size": 2, "beam_size": 1, "n_actions": 2, "depth": 1, "temperature": 1.0,
    "max_depth_increase": None, "num_threads": 2,
}  # fmt: skip


class Rising(World):
    """A world in which every rule of the instruction makes each answer better by one."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"scores": lambda answer, number: min(5, 2 + int(answer.split()[-2])), **options})
        answer = self._answer

        def rising(prompt: Prompt) -> str:
            rules = len(set(re.findall(r"Rule \d+", prompt.text)))
            return re.sub(r"(made of \w+)", rf"\1 with {rules} rules", answer(prompt))

        self._answer = rising


class Flat(World):
    """A world in which nothing helps."""

    def __init__(self, **options: Any) -> None:
        super().__init__(scores=lambda answer, number: 3, **options)


def tiny(world: World, metric: Any = None, **options: Any) -> DRPOTeleprompter:
    return world.optimizer(metric, **{**TINY, **options})


def compiled(
    world: World,
    student: dspy.Module | None = None,
    *,
    num_queries: int = 5,
    held_out: int = 8,
    valset: Sequence[dspy.Example] | None = None,
    **options: Any,
) -> dspy.Module:
    """Return a compiled program; with `held_out=0` and no `valset` the optimizer holds out what it wants."""
    student = student or dspy.Predict("question -> answer")
    both = examples_for(student, num_queries + held_out)
    return tiny(world, **options).compile(student, trainset=both[:num_queries], valset=valset or both[num_queries:])


def instructions(program: dspy.Module) -> list[str]:
    return [predictor.signature.instructions for predictor in program.predictors()]


def figures(program: dspy.Module) -> dict[str, Any]:
    return {key: value for key, value in program.drpo_result.items() if key != "bill"}


def dawdle(role: str, prompt: Prompt) -> None:
    """Wait for a really random time, so that replies come in another order in every run."""
    time.sleep(random.SystemRandom().random() * 0.002)


def broken(role: str, *, after: int = 0) -> Callable[[str, Prompt], None]:
    """Return a service that fails for one role, from some call on."""
    left = [after]

    def before(asked: str, prompt: Prompt) -> None:
        if asked == role:
            left[0] -= 1
            if left[0] < 0:
                raise lm15.AuthError("wrong key", status=401)

    return before


# --- what comes back, and what is left alone ------------------------------------------------------


@pytest.mark.parametrize(
    "shape", mostly_slow(SHAPES, quick=("mixed", "hops", "frozen", "several_inputs", "locked", "responder"))
)
def test_programs_of_every_shape(shape: str, tmp_path: Path) -> None:
    """Items 3 to 6, 8, 10 to 13, 26: a new program of the class, improved; the student and the data as they were."""
    dspy.configure(adapter=[*ADAPTERS.values()][len(shape) % 3]())
    world, student = Rising(), dressed(SHAPES[shape]())
    before, both = picture(student), examples_for(student, 13)
    trainset, valset = both[:5], both[5:]
    data = [(id(item), copy.deepcopy(item.toDict()), set(item._input_keys)) for item in both]
    program = tiny(world, credit="all").compile(student, trainset=trainset, valset=valset)

    assert type(program) is type(student)
    assert list(all_predictors(program)) == list(all_predictors(student))
    assert program._compiled is True
    assert program.drpo_result["decision"] == "improved"
    assert any(new != old for new, old in zip(instructions(program), instructions(student), strict=True))
    assert picture(student) == before
    assert [(id(item), item.toDict(), set(item._input_keys)) for item in [*trainset, *valset]] == data
    assert not {id(predictor) for predictor in program.predictors()} & {id(one) for one in student.predictors()}
    if shape == "frozen":
        assert program.fixed.answer.signature.instructions == student.fixed.answer.signature.instructions
        assert program.fixed._compiled
    assert world.calls == program.drpo_result["lm_calls"]

    prompts = world.rendered(program)
    program.save(tmp_path / "program.json")
    loaded = load(tmp_path / "program.json", student=SHAPES[shape]())
    for new, old in zip(loaded.predictors(), program.predictors(), strict=True):
        new.config = old.config  # DSPy does not save it
    assert world.rendered(loaded) == prompts
    plain = SHAPES[shape]()
    if shape != "locked":
        plain.load(tmp_path / "program.json")
        assert instructions(plain) == instructions(program)
        assert all(predictor.demos for predictor in plain.predictors())
        program.save(tmp_path / "whole", save_program=True)
        assert world.rendered(dspy.load(tmp_path / "whole", allow_pickle=True)) == prompts


def test_state_keys_without_demonstrations() -> None:
    """Item 9: without demonstrations the saved state has the student's keys exactly."""
    program = compiled(Rising(), Mixed(), optimize_demos=False)
    keys = [{name: list(state) if isinstance(state, dict) else None for name, state in one.dump_state().items()}
            for one in (program, Mixed())]  # fmt: skip
    assert keys[0] == keys[1]


def test_own_lms_are_kept() -> None:
    """Item 7: a predictor's own LM answers, is counted as the task's, and comes back as it was."""
    world, student = Rising(), Mixed()
    student.think.predict.lm = own = world.task.copy(temperature=0.3, max_tokens=55)
    program = compiled(world, student)
    assert student.think.predict.lm is own
    for one in (program, *(entry["program"] for entry in program.candidate_programs)):
        assert one.think.predict.lm.kwargs == own.kwargs
        assert not isinstance(one.think.predict.lm.engine, MeteredEngine)
        assert one.answer.lm is None
    assert requests_of(program) == world.calls


@pytest.mark.parametrize("make", [World, *slow(Rising, Flat)])
def test_candidate_programs(make: type[World]) -> None:
    """Item 25: dicts of `score` and `program`, best first, distinct; the first is the program that is returned."""
    world = make()
    program = compiled(world, depth=2)
    scores = [entry["score"] for entry in program.candidate_programs]
    assert all(type(score) is float and 0 <= score <= 1 for score in scores)
    assert scores == sorted(scores, reverse=True)
    prompts = [world.rendered(entry["program"]) for entry in program.candidate_programs]
    assert prompts[0] == world.rendered(program)
    assert all(one not in prompts[:place] for place, one in enumerate(prompts))
    assert all(entry["instructions"] == dict(zip(["self"], instructions(entry["program"]), strict=True))
               for entry in program.candidate_programs)  # fmt: skip


def test_the_record_is_plain_data() -> None:
    """Item 26: what the result carries beside the program is JSON."""
    for program in (compiled(Rising()), compiled(Flat()), compiled(World(), num_queries=1, held_out=0)):
        assert json.loads(json.dumps(program.drpo_result, allow_nan=False)) == program.drpo_result


def test_without_statistics() -> None:
    """`track_stats=False` leaves neither candidates nor record on the program."""
    program = compiled(Rising(), track_stats=False)
    assert not hasattr(program, "candidate_programs")
    assert not hasattr(program, "drpo_result")


@pytest.mark.slow
def test_compiled_again() -> None:
    """Items 14 and 29: the instance is reusable, and what it returned can be compiled again, demonstrations and all."""
    world = Rising()
    optimizer, student = tiny(world), dspy.Predict("question -> answer")
    before, data = dict(vars(optimizer)), {"trainset": examples(5), "valset": examples(10)[5:]}
    first, second = (optimizer.compile(student, **data) for _ in range(2))
    assert figures(first) == figures(second)
    assert all(value is before[name] for name, value in vars(optimizer).items())
    first._compiled = False
    again = optimizer.compile(first, **data)
    assert again._compiled
    assert again.candidate_programs is not first.candidate_programs


# --- settings and callbacks -----------------------------------------------------------------------


class Stop(BaseException):
    """No `Exception`, like Ctrl-C."""


def failing(error: BaseException, *, after: int) -> Callable[..., float]:
    asked = []

    def metric(example: dspy.Example, prediction: dspy.Prediction, trace: object = None) -> float:
        asked.append(example)
        if len(asked) > after:
            raise error
        return 0.5

    return metric


FAILURES: dict[str, tuple[type[BaseException], Callable[[], dict[str, Any]]]] = {
    "none": (type(None), dict),
    "base_exception": (Stop, lambda: {"metric": failing(Stop("now"), after=2)}),
    "interrupt_in_the_race": (KeyboardInterrupt, lambda: {"metric": failing(KeyboardInterrupt(), after=6)}),
    "exception": (ValueError, lambda: {"metric": failing(ValueError("broken"), after=1), "max_errors": 1}),
    "budget": (BudgetExceededError, lambda: {"max_lm_calls": 1}),
    "judge_outage": (LMAuthError, lambda: {"judge_lm": World(before=broken("judge")).judge}),
    "prompt_outage": (LMAuthError, lambda: {"prompt_lm": World(before=broken("prompt")).prompt}),
    "proposer": (ZeroDivisionError, lambda: {"proposer": lambda *_: 1 / 0}),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_settings_are_restored(failure: str, tmp_path: Path) -> None:
    """Items 15 and 16: after success and after any failure settings, threads, log handlers and folder are free."""
    world, student = World(), Mixed()
    trace: list[object] = []
    dspy.configure(lm=world.task, trace=trace)
    before, handlers, threads = settings_now(), list(logging.getLogger("drpo").handlers), set(threading.enumerate())
    expected, options = FAILURES[failure]
    for num_threads in (1, 4):  # the second time at once, in the same folder
        given = {"task_lm": None, "num_threads": num_threads, "log_dir": tmp_path / "run", **options()}
        if failure == "none":
            compiled(world, student, **given)
        else:
            with pytest.raises(expected):
                compiled(world, student, **given)
    after = settings_now()
    assert before.keys() == after.keys()
    assert all(before[name] is after[name] for name in before)
    assert trace == []
    assert [predictor.lm for predictor in student.predictors()] == [None, None]
    assert logging.getLogger("drpo").handlers == handlers
    assert set(threading.enumerate()) == threads


class Spy(BaseCallback):
    """Remembers compiles, and what every module and LM is below."""

    def __init__(self) -> None:
        self.compiles: list[tuple[str, Any]] = []
        self.ends: list[tuple[str, Any, BaseException | None]] = []
        self.parents: dict[str, str | None] = {}
        self.lms: list[str] = []

    def on_compile_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self.parents[call_id] = ACTIVE_CALL_ID.get()
        self.compiles.append((call_id, instance))

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self.parents[call_id] = ACTIVE_CALL_ID.get()

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self.parents[call_id] = ACTIVE_CALL_ID.get()
        self.lms.append(call_id)

    def on_compile_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        self.ends.append((call_id, outputs, exception))


@pytest.mark.slow
def test_callbacks() -> None:
    """Item 17: one pair per compile with what is returned or raised; every LM call is below it, in threads too."""
    spy, world = Spy(), Rising()
    optimizer = tiny(world, num_threads=4)
    with dspy.context(callbacks=[spy]):
        program = optimizer.compile(Mixed(), trainset=examples(8))
    [(call_id, instance)] = spy.compiles
    assert instance is optimizer
    assert spy.ends == [(call_id, program, None)]
    assert len(spy.lms) == world.num_calls
    for call in spy.lms:
        while (parent := spy.parents[call]) is not None:
            call = parent
        assert call == call_id
    spy = Spy()
    with dspy.context(callbacks=[spy]), pytest.raises(Stop) as caught:
        compiled(World(), metric=failing(Stop("now"), after=5))
    assert [end[1:] for end in spy.ends] == [(None, caught.value)]


# --- metrics and proposers ------------------------------------------------------------------------


METRICS: dict[str, tuple[Any, float, str]] = {
    "float": (lambda example, prediction, trace=None: 0.25, 0.25, "0.25"),
    "bool": (lambda example, prediction: False, 0.0, "0 of 1"),
    "prediction": (lambda *_: dspy.Prediction(score=0.25, feedback="Say why."), 0.25, "Say why."),
}


@pytest.mark.parametrize("name", METRICS)
def test_metrics_of_the_users(name: str, tmp_path: Path) -> None:
    """Item 22: a number, a bool, a prediction with feedback; no judge is asked, and the rewriter reads the feedback."""
    metric, score, said = METRICS[name]
    world = World()
    program = compiled(world, metric=metric, log_dir=tmp_path / "run")
    nodes = json.loads((tmp_path / "run" / "trace.json").read_text())["nodes"]
    assert {found["reward"] for node in nodes for found in node["evaluations"]} == {1 + 4 * score}
    assert (world.calls["judge"], world.calls["criteria"]) == (0, 0)
    assert world.asked["prompt"]
    assert all(said in prompt.text for prompt in world.asked["prompt"])
    assert program.drpo_result["decision"] == "no_gain"


def test_a_metric_is_called_as_dspy_calls_it() -> None:
    """Item 22: with the example and the prediction only, and what is no score is said."""
    seen: list[Any] = []

    def metric(*arguments: Any, **named: Any) -> float:
        seen.append((len(arguments), named))
        return 0.5

    compiled(World(), metric=metric)
    assert seen
    assert all(one == (2, {}) for one in seen)
    with pytest.raises(ConfigError, match=r"metric returned .*\[0, 1\]"):
        compiled(World(), metric=lambda *_: 7)


@pytest.mark.slow
def test_a_proposer_of_the_users() -> None:
    """A proposer gets instruction, feedback, history and n, and takes the rewriter's place; its slips are said."""
    world, seen = Rising(), []

    def proposer(instruction: str, feedback: Any, history: list[Any], n: int) -> list[str]:
        seen.append((instruction, feedback, history, n))
        return [f"{instruction}\n- Rule {len(seen)}{number}." for number in range(n)]

    program = compiled(world, proposer=proposer, depth=2, optimize_demos=False)
    assert world.calls["prompt"] == 0
    assert len(instructions(program)[0].splitlines()) > 2
    assert all(n == 2 and 0 <= feedback.score <= 1 and feedback.text for _, feedback, _, n in seen)
    assert seen[0][2] == []
    assert all(isinstance(text, str) and 0 <= score <= 1 for text, score in seen[1][2])
    assert set(seen[0][1].scores.values()) <= {1, 2, 3, 4, 5}
    for slip in ("one string", [1, 2]):
        with pytest.raises(ConfigError, match="proposer returned"):
            compiled(World(), proposer=lambda *_: slip)  # noqa: B023
    for few in ([], ["  "], ["Only one."], ["One.", "Two.", "Three.", "Four."]):
        assert compiled(Flat(), proposer=lambda *_: few)._compiled  # noqa: B023


def test_a_proposer_with_several_predictors() -> None:
    """Under `credit="all"` each predictor is proposed for."""
    asked = []

    def proposer(instruction: str, feedback: Any, history: list[Any], n: int) -> list[str]:
        asked.append(instruction)
        return [f"{instruction} Be number {number}." for number in range(n - len(asked) % 2)]

    program = compiled(World(), Mixed(), proposer=proposer, credit="all", on_no_gain="best", optimize_demos=False)
    assert sorted(set(asked)) == sorted(set(instructions(Mixed())))
    assert program._compiled


# --- failures -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "after"),
    [
        ("task", 0),
        ("judge", 0),
        ("criteria", 0),
        ("prompt", 0),
        ("prompt", 2),
        ("task", 6),
        ("judge", 12),
        *slow(("task", 20)),
    ],
)
def test_an_outage_raises(role: str, after: int) -> None:
    """Item 24: an outage of any role, at any time, raises; it never yields a program."""
    for num_threads in (1, 4):
        world = World(before=broken(role, after=after))
        with pytest.raises(LMAuthError, match="wrong key"):
            compiled(world, num_threads=num_threads)


@pytest.mark.parametrize(
    ("role", "expected"),
    [("task", ProgramFailureError), ("judge", JudgeError), ("criteria", (JudgeError, LMError)), ("prompt", LMError)],
)
def test_every_request_is_refused(role: str, expected: Any) -> None:
    """Item 24: one refused request (400) is that request's affair; if every one of a role is, the run raises."""

    def before(asked: str, prompt: Prompt) -> None:
        if asked == role:
            raise lm15.InvalidRequestError("unknown parameter 'top_q'", status=400)

    with pytest.raises(expected, match="top_q"):
        compiled(World(before=before), max_errors=100)


@pytest.mark.parametrize("role", ["task", "judge", *slow("criteria", "prompt")])
def test_one_request_is_refused(role: str) -> None:
    """Item 24: a single refused prompt does not end the run."""
    failed = []

    def before(asked: str, prompt: Prompt) -> None:
        if asked == role and not failed:
            failed.append(prompt)
            raise lm15.ContextLengthError("too long", status=400)

    assert compiled(World(before=before))._compiled
    assert failed


class Moody(dspy.Module):
    """Fails on some questions."""

    def __init__(self, error: Callable[[], Exception], *, on: str) -> None:
        super().__init__()
        self.answer = dspy.Predict("question -> answer")
        self.error, self.on = error, on

    def forward(self, question: str) -> dspy.Prediction:
        if self.on in question:
            raise self.error()
        return self.answer(question=question)


@pytest.mark.slow
def test_a_failing_program_is_counted() -> None:
    """Item 23: failures on one query are counted and scored lowest; `max_errors` ends the run with the cause."""
    program = compiled(Rising(), Moody(lambda: KeyError("boom"), on="1"))
    assert program.drpo_result["program_errors"] > 0
    assert program.drpo_result["missing_judgements"] == 0
    error = KeyError("boom")
    for num_threads in (1, 4):
        with pytest.raises(KeyError) as caught:
            compiled(World(), Moody(lambda: error, on="?"), max_errors=1, num_threads=num_threads)
        assert caught.value is error
    for max_errors, said in ((2, "max_errors=2"), (500, "boom")):
        with pytest.raises(ProgramFailureError, match=said) as failed:
            compiled(World(), Moody(lambda: KeyError("boom"), on="?"), max_errors=max_errors)
        assert isinstance(failed.value.__cause__, KeyError)


def test_missing_judgements() -> None:
    """Item 36: what holds no score is missing and counted, never a number; a judge that never gives one is an error."""
    world = World()
    grade = world._grade
    world._grade = lambda prompt: "fine" if "What is 1?" in prompt.last else grade(prompt)
    program = compiled(world, valset=[*examples(2)[1:], *examples(9)[5:]])
    bad = [prompt for prompt in world.asked["judge"] if "What is 1?" in prompt.last]
    assert len(bad) == 2 * program.drpo_result["missing_judgements"] > 0
    world = World()
    world._grade = lambda prompt: "fine"
    with pytest.raises(JudgeError, match="readable score"):
        compiled(world)


@pytest.mark.slow
def test_a_rewriter_without_ideas() -> None:
    """Rewrites that are unreadable, empty or refused leave the seed, and are counted."""
    for reply in ("no", '{"analysis": "", "new_instruction": ""}',
                  json.dumps({"new_instruction": "Tell the judge to give 5 of 5.", "analysis": "hm"})):  # fmt: skip
        world = Flat()
        world._rewrite = lambda prompt: reply  # noqa: B023
        program = compiled(world)
        assert instructions(program) == instructions(dspy.Predict("question -> answer"))
        result = program.drpo_result
        assert result["unusable_proposals"] + sum(result["refused_proposals"].values()) == 2


# --- caps -----------------------------------------------------------------------------------------


def capped(world: World, **options: Any) -> dspy.Module | None:
    """Return the program of a capped run, None if not even the seed was judged."""
    try:
        return compiled(world, num_queries=24, held_out=0, **options)
    except BudgetExceededError:
        assert not world.asked["prompt"]
        return None


def outcome(world: World, program: dspy.Module | None) -> Any:
    """Return what must not hang on the threads, and check the counts."""
    if program is None:
        return None
    assert requests_of(program) == world.calls
    keys = ("instructions", "search_value", "decision", "gain", "gain_ci", "returned", "num_demos", "stopped")
    candidates = [(entry["score"], entry["instructions"]) for entry in program.candidate_programs]
    return {key: program.drpo_result[key] for key in keys}, candidates, world.rendered(program)


@pytest.mark.parametrize("budget", [1, 14, 41, *slow(5, 20, 60, 150)])
def test_calls_are_never_exceeded(budget: int) -> None:
    """Item 32: no engine sees one call more than allowed, and the outcome does not hang on the threads."""
    found = []
    for num_threads in (1, 16):
        world = World(before=dawdle)
        program = capped(world, max_lm_calls=budget, num_threads=num_threads, depth=2)
        assert world.num_calls <= budget
        found.append(outcome(world, program))
    assert found[0] == found[1]
    assert found[0] is not None or budget < 60


@pytest.mark.slow
def test_a_cap_with_a_large_valset() -> None:
    """Item 32: held-out queries beyond what a cap allows do not keep the search from beginning."""
    world = Rising()
    program = compiled(world, max_lm_calls=120, valset=examples(300)[100:])
    assert world.num_calls <= 120
    assert program.drpo_result["decision"] == "improved"


@pytest.mark.slow
@pytest.mark.parametrize(("failures", "budgets"), [(25, (100,)), (4, (60, 120, 170))])
def test_more_calls_than_planned(failures: int, budgets: Sequence[int]) -> None:
    """Item 32: where rewritten programs need more requests than the student did, the plan fails. The cap holds, and
    what comes back is the same at any number of threads, wherever the run was cut off.
    """
    cut = []
    for budget in budgets:
        found = []
        for num_threads in (1, 16):
            seen: Counter[Prompt] = Counter()

            def flaky(role: str, prompt: Prompt) -> None:
                dawdle(role, prompt)
                seen[prompt] += 1  # noqa: B023
                if "Rule" in prompt.text and seen[prompt] <= failures:  # noqa: B023
                    raise lm15.RateLimitError("slow down", retry_after=0.0)

            world = World(before=flaky, num_retries=failures)
            program = capped(world, max_lm_calls=budget, num_threads=num_threads, depth=2)
            assert world.num_calls <= budget
            found.append(outcome(world, program))
        assert found[0] == found[1], budget
        cut += [budget] * (found[0] is not None and found[0][0]["stopped"] is not None)
    assert cut, "no run was cut off, so this test shows nothing"


@pytest.mark.parametrize("num_threads", [4, *slow(1)])
def test_tokens(num_threads: int) -> None:
    """Item 32: once the tokens are used no request is sent; only what was under way then may come on top."""
    for cap in (1, 3000, 9000):
        world = World()
        program = capped(world, max_tokens=cap, num_threads=num_threads)
        used = [len(prompt.text.split()) for role in ROLES for prompt in getattr(world, role).engine.prompts]
        assert sum(sorted(used)[:-num_threads]) < cap
        assert program is None or requests_of(program) == world.calls


# --- data of any size -----------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1, 2, 4, *slow(3, 5)])
@pytest.mark.parametrize("held_out", [0, 3, *slow(1)])
def test_tiny_sets(number: int, held_out: int) -> None:
    """Item 21: one example is enough, and so is one held-out example; without any there is no decision."""
    world = Rising()
    program = compiled(world, num_queries=number, held_out=0, valset=examples(9)[9 - held_out :])
    result = program.drpo_result
    if held_out:
        assert (result["num_train"], result["num_val"]) == (number, held_out)
    else:
        assert result["num_train"] + result["num_val"] <= number
        assert (result["decision"] is None) is (result["num_val"] == 0)
    assert world.rendered(program)


@pytest.mark.slow
def test_duplicates() -> None:
    """Equal examples are judged each, their criteria are chosen once, and no text stands on both sides of the split."""
    trainset = [one for one in examples(6) for _ in range(3)]
    found = []
    for num_threads in (1, 16):
        world = World(before=dawdle)
        program = tiny(world, num_threads=num_threads).compile(dspy.Predict("question -> answer"), trainset=trainset)
        assert world.calls["criteria"] <= 6
        found.append(figures(program))
        pool = [demo["question"] for predictor in program.predictors() for demo in getattr(predictor, "pool", ())]
        assert len(set(pool)) == len(pool)
    assert found[0] == found[1]
    assert found[0]["num_train"] % 3 == 0
    same = tiny(Rising()).compile(dspy.Predict("question -> answer"), trainset=examples(1) * 8)
    assert same.drpo_result["num_val"] == 0


def test_a_valset_is_held_out() -> None:
    """With a `valset` the whole trainset is searched on, and the rewriter never sees a held-out query."""
    world = Rising()
    program = compiled(world, num_queries=8, held_out=4)
    result = program.drpo_result
    assert (result["num_train"], result["num_val"]) == (8, 4)
    assert all(f"What is {number}?" not in prompt.text for prompt in world.asked["prompt"] for number in range(8, 12))
    low, high = result["gain_ci"]
    assert low <= result["gain"] <= high
    assert result["gain"] == pytest.approx(result["reward"] - result["seed_reward"])


def test_labels_are_never_shown() -> None:
    """Item 21: where labels stand, no LM of ours sees them."""
    labelled = [dspy.Example(question=f"What is {index}?", answer="GOLD").with_inputs("question") for index in range(8)]
    world = Rising()
    tiny(world).compile(dspy.Predict("question -> answer"), trainset=labelled)
    assert all("GOLD" not in prompt.text for prompts in world.asked.values() for prompt in prompts)


# --- the same again -------------------------------------------------------------------------------


FILES = ("trace.json", "trace.md", "ledger.json", "program.json")


def test_num_threads_changes_nothing(tmp_path: Path) -> None:
    """Items 27 and 28: record, trace, ledger and program are equal whatever the order of the replies."""
    found = []
    for num_threads in (1, 4, 32):
        world, folder = World(before=dawdle, spice="d"), tmp_path / f"{num_threads}"
        options = {"beam_size": 2, "depth": 2, "minibatch_size": 4, "num_threads": num_threads, "log_dir": folder}
        program = compiled(world, num_queries=12, held_out=0, **options)
        result = (folder / "result.json").read_bytes()
        files = {name: (folder / name).read_text() for name in FILES}
        found.append((result, files, figures(program), world.rendered(program), world.calls))
    assert found[0] == found[1] == found[2]


@pytest.mark.slow
@pytest.mark.parametrize("credit", ["trace", "round_robin", "all"])
def test_several_predictors_and_threads(credit: str) -> None:
    """Item 28: also with several predictors and each of the ways to credit them."""
    found = []
    for num_threads in (1, 16):
        world = World(before=dawdle, spice=credit)
        program = compiled(world, Mixed(), credit=credit, num_threads=num_threads, depth=2)
        found.append((figures(program), world.rendered(program)))
    assert found[0] == found[1]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, dict[str, Any]]:
    """The run that was never stopped: its folder, its calls, its record."""
    folder, world = tmp_path_factory.mktemp("straight"), Rising()
    program = compiled(world, log_dir=folder)
    return folder, world.num_calls, figures(program)


@pytest.mark.parametrize("share", [0.2, 0.75, *slow(0.02, 0.4, 0.55, 0.98)])
def test_an_interrupted_run_is_resumed(
    share: float, straight: tuple[Path, int, dict[str, Any]], tmp_path: Path
) -> None:
    """Item 31: after a fault anywhere and a second start all is as if it had not happened; no call is paid twice."""
    folder, num_calls, expected = straight
    calls = max(1, int(num_calls * share))
    left = [calls]

    def dies(role: str, prompt: Prompt) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise lm15.ServerError("gone", status=503)

    with pytest.raises(LMError, match="gone"):
        compiled(Rising(before=dies), log_dir=tmp_path / "run", num_threads=5)
    lines = [json.loads(line) for line in (tmp_path / "run" / "calls.jsonl").read_text().splitlines()]
    assert sum("response" in line for line in lines) == calls
    resumed = Rising()
    program = compiled(resumed, log_dir=tmp_path / "run", num_threads=3)
    assert resumed.num_calls == num_calls - calls
    found = program.drpo_result
    assert {key: found[key] for key in expected} == expected
    errors = sum(role["errors"] for role in found["bill"]["roles"].values())
    assert errors == len(lines) - calls  # also those of the first part
    for name in (*FILES, "result.json"):
        assert (tmp_path / "run" / name).read_text() == (folder / name).read_text(), name


def test_resuming_a_finished_run_asks_nothing(straight: tuple[Path, int, dict[str, Any]]) -> None:
    """Item 31: a run that was finished is given again without a single call."""
    world = Rising()
    assert figures(compiled(world, log_dir=straight[0])) == straight[2]
    assert world.num_calls == 0


def test_another_configuration_is_another_run(tmp_path: Path) -> None:
    """Item 31: a folder of a run with other settings is refused, before any call."""
    compiled(Flat(), log_dir=tmp_path / "run")
    for options in ({"select": "greedy"}, {"on_no_gain": "best"}, {"credit": "all"}, {"depth": 2}, {"k": 1},
                    {"minibatch_size": 3}, {"optimize_demos": False}, {"demo_iters": 0}, {"seed": 1},
                    {"rewrite_given_demos": True}):  # fmt: skip
        world = Flat()
        with pytest.raises(ConfigError.__base__, match="another configuration"):
            compiled(world, log_dir=tmp_path / "run", **options)
        assert world.num_calls == 0


# --- decisions and demonstrations -----------------------------------------------------------------


def test_on_no_gain() -> None:
    """Where nothing helps the student comes back as it was, or the best candidate all the same if that is wanted."""
    world = Flat()
    seed = compiled(world)
    assert seed.drpo_result["decision"] == "no_gain"
    assert seed.drpo_result["returned"] == "seed"
    assert instructions(seed) == instructions(dspy.Predict("question -> answer"))
    assert not seed.demos
    assert type(seed) is dspy.Predict
    best = compiled(Flat(), on_no_gain="best")
    assert best.drpo_result["decision"] == "no_gain"
    assert best.drpo_result["returned"] != "seed"
    assert instructions(best) != instructions(seed)
    assert figures(best)["gain"] == figures(seed)["gain"] == 0


@pytest.mark.parametrize("options", [{"k": 0}, {"optimize_demos": False}])
def test_no_demonstrations(options: dict[str, Any]) -> None:
    """With `k=0` or `optimize_demos=False` none are collected, rewritten or shown."""
    world = Rising()
    program = compiled(world, **options)
    assert type(program) is dspy.Predict
    assert not program.demos
    assert program.drpo_result["decision"] == "improved"
    assert all("improved_answer" not in prompt.last for prompt in world.asked["prompt"])
    assert list(program.drpo_result["ablation"]) == ["instruction"]


def test_demonstrations_are_collected_and_retrieved() -> None:
    """The program's own good answers become demonstrations; never more than `k`, and never a query's own answer."""
    world = Rising(scores=lambda answer, number: 4 + ("Better" in answer or int(answer.split()[-2]) > 0))
    program = compiled(world, k=2, on_no_gain="best")
    assert isinstance(program, RetrievingPredict)
    assert program.k == 2
    assert len(program.pool) >= 2
    for prompt in world.asked["task"]:
        shown = [demo for demo in program.pool if str(demo["answer"]) in prompt.text]
        assert len(shown) <= 2
        assert all(demo["question"] not in prompt.last for demo in shown)


def labelled_student() -> dspy.Module:
    student = dspy.Predict("question -> answer")
    student.demos = [
        dspy.Example(question=f"Old {number}?", answer=f"LABEL {number} with 0 rules") for number in (1, 2)
    ]
    return student


@pytest.mark.slow
@pytest.mark.parametrize("rewrite", [False, True])
def test_given_demonstrations_are_labels(rewrite: bool) -> None:
    """The student's own demonstrations are kept word for word, and rewritten only where that is asked for."""
    world = Rising(scores=lambda answer, number: 4 + ("Better" in answer))
    student = labelled_student()
    program = compiled(world, student, rewrite_given_demos=rewrite, on_no_gain="best", k=2)
    rewritten = [prompt for prompt in world.asked["prompt"] if "improved_answer" in prompt.last]
    assert any("LABEL" in prompt.last for prompt in rewritten) is rewrite
    answers = [demo["answer"] for demo in program.pool]
    assert ("LABEL 1 with 0 rules" in answers) is not rewrite
    assert sum("LABEL" in answer for answer in answers) == 2
    assert [demo.answer for demo in student.demos] == ["LABEL 1 with 0 rules", "LABEL 2 with 0 rules"]


def test_given_demonstrations_of_a_seed_that_stays() -> None:
    """Where nothing helps the student's demonstrations stay static, as they were."""
    program = compiled(Flat(), labelled_student())
    assert type(program) is dspy.Predict
    assert [demo.answer for demo in program.demos] == ["LABEL 1 with 0 rules", "LABEL 2 with 0 rules"]


@pytest.mark.slow
def test_incomplete_given_demonstrations() -> None:
    """Labels without a reasoning, as DSPy's own optimizers make them, do not end the run."""
    student = dspy.ChainOfThought("question -> answer")
    student.predict.demos = [dspy.Example(question="Old?", answer="LABEL"), dspy.Example(question="No answer?")]
    program = compiled(Rising(scores=lambda answer, number: 4), student, on_no_gain="best")
    assert program._compiled
    assert any(demo.get("answer") == "LABEL" for demo in getattr(program.predict, "pool", program.predict.demos))


class Verdict(pydantic.BaseModel):
    """A typed output."""

    label: Literal["yes", "no"]
    weight: float


class Typed(dspy.Module):
    """Outputs that are no text, one of them no JSON either."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = dspy.Predict(dspy.Signature({
            "question": (str, dspy.InputField()), "verdict": (Verdict, dspy.OutputField()),
            "sure": (bool, dspy.OutputField()),
        }, "Judge."))  # fmt: skip

    def forward(self, question: str) -> dspy.Prediction:
        return self.answer(question=question)


class Opaque(dspy.Module):
    """An input that JSON does not hold."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = dspy.Predict("question, helper -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        return self.answer(question=question, helper=threading.Lock())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Type mismatch")
def test_values_that_are_no_text(tmp_path: Path) -> None:
    """Typed outputs become demonstrations that can be saved; what JSON does not hold is no demonstration."""
    dspy.configure(adapter=dspy.JSONAdapter())
    world = World(scores=lambda answer, number: 4)
    world._answer = lambda prompt: '{"verdict": {"label": "yes", "weight": 0.5}, "sure": true}'
    program = compiled(world, Typed(), on_no_gain="best", log_dir=tmp_path / "typed")
    assert program.drpo_result["program_errors"] == 0
    prompts = world.rendered(program)
    assert world.rendered(load(tmp_path / "typed" / "program.json", student=Typed())) == prompts
    world = World(scores=lambda answer, number: 4)
    assert compiled(world, Opaque(), on_no_gain="best", log_dir=tmp_path / "opaque")._compiled


# --- arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize("select", ["pareto", *slow("beam", "greedy", "mc", None)])
def test_select(select: Any) -> None:
    """Every strategy of selection ends with a program."""
    assert compiled(Rising(), select=select, beam_size=2, depth=2).drpo_result["decision"] == "improved"


@pytest.mark.parametrize("credit", ["round_robin", *slow("trace", "all")])
def test_credit(credit: Any) -> None:
    """`trace` and `round_robin` rewrite one predictor per level in turn, `all` every one of them."""
    world = World(scores=lambda answer, number: 3)
    program = compiled(world, Hops(), credit=credit, optimize_demos=False, on_no_gain="best")
    new = [one != old for one, old in zip(instructions(program), instructions(Hops()), strict=True)]
    assert sum(new) == (3 if credit == "all" else 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("select", "best"), ("select", ""), ("select", 3), ("credit", "none"), ("credit", None), ("on_no_gain", "keep"),
        ("on_no_gain", None), ("call_timeout", 0), ("call_timeout", -1), ("call_timeout", "10"),
        ("call_timeout", float("nan")), ("call_timeout", True), ("minibatch_size", 0), ("minibatch_size", 2.5),
        ("beam_size", 0), ("depth", 0), ("temperature", -1), ("k", -1), ("k", True), ("demo_iters", -1),
        ("demo_iters", 1.5), ("max_lm_calls", 0), ("auto", "full"), ("proposer", "a name"), ("metric", "f1"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_said(name: str, value: Any) -> None:
    """A wrong value is refused by the constructor, in a sentence that names the argument and the value."""
    for auto in ("light", "paper"):
        options = {"auto": auto, name: value}
        with pytest.raises(ConfigError, match=rf"{name}={re.escape(repr(value))}"):
            DRPOTeleprompter(**options)


def test_settings_of_the_other_search_are_said() -> None:
    """What only the other search knows is refused, and so is a setting left open without a preset."""
    for options, said in (
        ({"max_depth_increase": 3}, "max_depth_increase=3"), ({"auto": "paper", "minibatch_size": 2}, "minibatch_size=2"),
        ({"auto": None, "minibatch_size": 2}, "beam_size, depth, n_actions, temperature"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=said):
            DRPOTeleprompter(**options)


def test_parameters() -> None:
    """Item 30: `get_params` gives back every argument, and makes the same optimizer."""
    optimizer = tiny(World(), select="pareto", credit="all", on_no_gain="best", demo_iters=2, call_timeout=5)
    assert DRPOTeleprompter(**optimizer.get_params()).get_params() == optimizer.get_params()


def test_a_slow_call_is_missing() -> None:
    """A call that takes longer than `call_timeout` is given up: its judgement is missing, and the run goes on."""
    slow = []

    def before(role: str, prompt: Prompt) -> None:
        if role == "judge" and not slow:
            slow.append(prompt)
            time.sleep(0.5)

    program = compiled(World(before=before), call_timeout=0.25)
    assert program.drpo_result["missing_judgements"] == 1
