"""The optimizer contract, items 21 to 24: unlabelled data, any metric, failing programs, failing services."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
import pytest
from contract_programs import Mixed, Nested, Swallowing, examples, examples_for
from contract_world import World
from dspy import lm15
from dspy.teleprompt.gepa.gepa_utils import ScoreWithFeedback
from dspy.utils.exceptions import AdapterParseError, LMAuthError, LMError
from variants import slow

from drpo.errors import ConfigError, JudgeError, ProgramFailureError
from drpo.serving.scripted import Prompt

Before = Callable[[str, Prompt], None]


# --- 21: data -------------------------------------------------------------------------------------


def test_21_unlabelled(adapter: dspy.Adapter) -> None:
    """Item 21: examples of inputs alone are enough, for the search and for the comparison."""
    world = World()
    program = world.optimizer().compile(Mixed(), trainset=examples(4), valset=examples(6)[4:])
    assert program.drpo_result["decision"] in ("improved", "no_gain")
    assert world.calls["judge"] > 0


def test_21_labels_are_never_shown(adapter: dspy.Adapter) -> None:
    """Item 21: where labels stand, no LM of ours sees them: the reward is made without gold answers."""
    labelled = [dspy.Example(question=f"What is {index}?", answer="GOLD").with_inputs("question") for index in range(4)]
    world = World()
    world.optimizer().compile(Mixed(), trainset=labelled, valset=labelled)
    assert all("GOLD" not in prompt.text for prompts in world.asked.values() for prompt in prompts)


def test_21_a_tuple_of_examples_will_do() -> None:
    """Item 21: any sequence is a trainset."""
    program = World().optimizer().compile(Mixed(), trainset=tuple(examples(3)))
    assert program.drpo_result["num_train"] == 3


# --- 22: metrics ----------------------------------------------------------------------------------


def gepa_style(gold: Any, pred: Any, trace: Any = None, pred_name: Any = None, pred_trace: Any = None) -> Any:
    return ScoreWithFeedback(score=0.25, feedback="Say why.")


class CallableMetric:
    def __call__(self, example: dspy.Example, prediction: dspy.Prediction, trace: object = None) -> float:
        return 0.25


METRICS: dict[str, tuple[Any, float, str]] = {
    "float": (lambda example, prediction, trace=None: 0.25, 0.25, "0.25"),
    "int": (lambda example, prediction, trace=None: 0, 0.0, "0 of 1"),
    "true": (lambda example, prediction, trace=None: True, 1.0, ""),
    "false": (lambda example, prediction, trace=None: False, 0.0, "0 of 1"),
    "two_arguments": (lambda example, prediction: 0.25, 0.25, "0.25"),
    "prediction": (lambda *_: dspy.Prediction(score=0.25, feedback="Say why."), 0.25, "Say why."),
    "prediction_of_bool": (lambda *_: dspy.Prediction(score=False, feedback="Say why."), 0.0, "Say why."),
    "without_feedback": (lambda *_: dspy.Prediction(score=0.25), 0.25, "0.25"),
    "gepa_style": (gepa_style, 0.25, "Say why."),
    "callable_object": (CallableMetric(), 0.25, "0.25"),
}


@pytest.mark.parametrize("name", METRICS)
def test_22_kinds_of_metrics(name: str, tmp_path: Path) -> None:
    """Item 22: a number, a bool or `Prediction(score, feedback)`, of two to five arguments; the feedback is read."""
    metric, score, said = METRICS[name]
    world = World()
    program = world.compile(Mixed(), metric=metric, log_dir=tmp_path / "run")
    trace = json.loads((tmp_path / "run" / "trace.json").read_text())
    assert {node["reward"] for node in trace["nodes"]} == {1 + 4 * score}
    assert (world.calls["judge"], world.calls["criteria"]) == (0, 0)
    assert program.drpo_result["search_value"] == pytest.approx(score)
    assert all(said in prompt.text for prompt in world.asked["prompt"])
    assert len(world.asked["prompt"]) == (0 if score == 1.0 else 2)


def test_22_a_metric_is_called_as_dspy_calls_it() -> None:
    """Item 22: with the example and the prediction, without a trace, under the judge as `dspy.settings.lm`."""
    world, student = World(), Mixed()
    trainset = examples_for(student)
    seen: list[Any] = []

    def metric(*arguments: Any, **named: Any) -> float:
        seen.append((arguments, named, dspy.settings.lm.model))
        return 0.5

    world.optimizer(metric).compile(student, trainset=trainset)
    assert all(example in trainset and "answer" in prediction for (example, prediction), _, _ in seen)
    assert {len(arguments) for arguments, _, _ in seen} == {2}
    assert all(not named and model == "world/judge" for _, named, model in seen)
    assert len(inspect.signature(world.optimizer(metric).metric).parameters) == 2


@pytest.mark.parametrize("value", [None, 7, -0.1, float("nan"), "good", dspy.Prediction(feedback="no score")])
def test_22_a_value_that_is_no_score_is_said(value: object) -> None:
    """Item 22: what is no score in [0, 1] ends the run with the value and the remedy, and is never clipped."""
    with pytest.raises(ConfigError, match=r"metric returned .*\[0, 1\]"):
        World().compile(Mixed(), metric=lambda *_: value)


# --- 23: failing programs -------------------------------------------------------------------------


class Moody(dspy.Module):
    """Fails on some questions, with the error that a function returns (copies of the program share functions)."""

    def __init__(self, error: Callable[[], Exception], *, on: str) -> None:
        super().__init__()
        self.answer = dspy.Predict("question -> answer")
        self.error, self.on = error, on

    def forward(self, question: str) -> dspy.Prediction:
        if self.on in question:
            raise self.error()
        return self.answer(question=question)


def test_23_some_failures_do_not_end_the_run(adapter: dspy.Adapter) -> None:
    """Item 23: a program that fails on one query is counted, scored lowest there, and improved all the same."""
    world = World()
    program = world.compile(Moody(lambda: KeyError("boom"), on="1"))
    assert program.drpo_result["program_errors"] > 0
    assert program.drpo_result["missing_judgements"] == 0
    assert program.answer.signature.instructions != Mixed().answer.signature.instructions


def test_23_a_failing_metric_is_counted_too() -> None:
    """Item 23: so is a metric that fails on some; that is no score, so nothing is made of it."""

    def metric(example: dspy.Example, prediction: dspy.Prediction, trace: object = None) -> float:
        return 1 / 0 if "1" in example.question else 0.5

    program = World().compile(Mixed(), metric=metric)
    assert program.drpo_result["program_errors"] > 0
    assert program.drpo_result["missing_judgements"] == program.drpo_result["program_errors"]


def test_23_replies_that_do_not_parse(adapter: dspy.Adapter) -> None:
    """Item 23: a reply of the task LM that its adapter cannot read is a program error too."""
    world = World()
    answer = world._answer
    world._answer = lambda prompt: "" if "What is 1?" in prompt.last else answer(prompt)
    program = world.compile(dspy.Predict("question -> answer"))
    assert program.drpo_result["program_errors"] > 0


def test_23_max_errors_1_raises_the_original_error(adapter: dspy.Adapter) -> None:
    """Item 23: with `max_errors=1` the program's own error reaches the caller, the same object."""
    for num_threads in (1, 4):
        error = KeyError("boom")
        with pytest.raises(KeyError) as caught:
            World().compile(Moody(lambda: error, on="1"), max_errors=1, num_threads=num_threads)  # noqa: B023
        assert caught.value is error


def test_23_max_errors_1_of_the_settings() -> None:
    """Item 23: `max_errors=None` is DSPy's setting."""
    error = KeyError("boom")
    with dspy.context(max_errors=1), pytest.raises(KeyError) as caught:
        World().compile(Moody(lambda: error, on="1"))
    assert caught.value is error


def test_23_a_parse_error_is_the_original_one_too(adapter: dspy.Adapter) -> None:
    """Item 23: `max_errors=1` also raises the adapter's own error."""
    world = World()
    world._answer = lambda prompt: ""
    with pytest.raises(AdapterParseError):
        world.compile(dspy.Predict("question -> answer"), max_errors=1)


def test_23_max_errors_ends_the_run() -> None:
    """Item 23: as many failures as allowed end the run; the last one is the cause."""
    with pytest.raises(ProgramFailureError, match="max_errors=2") as caught:
        World().compile(Moody(lambda: KeyError("boom"), on="What"), max_errors=2)
    assert isinstance(caught.value.__cause__, KeyError)


def test_23_a_program_that_never_answers_is_not_compiled() -> None:
    """Item 23: fewer failures than allowed, but nothing else: there is no best program to return."""
    with pytest.raises(ProgramFailureError, match="boom") as caught:
        World().compile(Moody(lambda: KeyError("boom"), on="What"), max_errors=100)
    assert isinstance(caught.value.__cause__, KeyError)


# --- 24: outages ----------------------------------------------------------------------------------


def broken(role: str, error: Exception, *, after: int = 0) -> Before:
    """Return a service that fails for one role, from some call on."""
    left = [after]

    def before(asked: str, prompt: Prompt) -> None:
        if asked == role:
            left[0] -= 1
            if left[0] < 0:
                raise error

    return before


OUTAGES: dict[str, Callable[[], Exception]] = {
    "401": lambda: lm15.AuthError("wrong key", status=401),
    "402": lambda: lm15.BillingError("no money", status=402),
    "404": lambda: lm15.UnsupportedModelError("no such model", status=404),
    "429": lambda: lm15.RateLimitError("slow down", status=429),
    "500": lambda: lm15.ServerError("down", status=500),
    "timeout": lambda: lm15.TimeoutError("no reply"),
    "connection": lambda: lm15.TransportError("refused"),
    "bug_in_the_engine": lambda: RuntimeError("a bug"),
}


@pytest.mark.parametrize("role", ["task", "judge", "criteria", "prompt"])
def test_24_an_outage_raises(role: str, adapter: dspy.Adapter) -> None:
    """Item 24: 401 on every call of any role raises; it never yields a program."""
    with pytest.raises(LMAuthError, match="wrong key"):
        World(before=broken(role, OUTAGES["401"]())).compile(Mixed())


@pytest.mark.parametrize("role", ["judge", *slow("task", "criteria", "prompt")])
@pytest.mark.parametrize("outage", OUTAGES)
def test_24_every_kind_of_outage(outage: str, role: str) -> None:
    """Item 24: whatever the reason, and without waiting for `max_errors`."""
    world = World(before=broken(role, OUTAGES[outage]()))
    with pytest.raises(LMError):
        world.compile(Mixed(), num_threads=1)
    assert world.calls[role] == 1


@pytest.mark.parametrize("role", ["task", "judge", "prompt"])
def test_24_an_outage_in_the_middle(role: str) -> None:
    """Item 24: also when the service fails only after a while."""
    with pytest.raises(LMAuthError):
        World(before=broken(role, OUTAGES["401"](), after=3)).compile(Mixed(), depth=3)


def test_24_an_outage_of_one_predictor() -> None:
    """Item 24: also when only one predictor's own LM fails."""
    student = Nested()
    student.polish.lm = World(before=broken("task", OUTAGES["401"]())).task
    with pytest.raises(LMAuthError):
        World().compile(student)


def test_24_an_outage_under_a_metric_of_the_users() -> None:
    """Item 24: also when it is the metric that asks an LM which fails."""
    judge = World(before=broken("judge", OUTAGES["401"]())).judge

    def metric(example: dspy.Example, prediction: dspy.Prediction, trace: object = None) -> float:
        judge("Is it good?")
        return 1.0

    with pytest.raises(LMAuthError):
        World().compile(Mixed(), metric=metric)


class Wrapping(dspy.Module):
    """Turns what fails below into an error of its own, as agents and tools do."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = dspy.Predict("question -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        try:
            return self.answer(question=question)
        except Exception as error:
            raise RuntimeError("the tool failed") from error


def test_24_an_outage_that_the_program_wraps() -> None:
    """Item 24: also when the program dresses the outage up as another error; the LM's own error is found below it."""
    world = World(before=broken("task", OUTAGES["401"]()))
    with pytest.raises(LMAuthError, match="wrong key"):
        world.compile(Wrapping())


def test_24_an_outage_that_the_program_swallows() -> None:
    """Item 24: also when the program answers with an apology instead: no request of it ever succeeded."""
    world = World(before=broken("task", OUTAGES["401"]()))
    with pytest.raises(LMAuthError, match="wrong key"):
        world.compile(Swallowing())
    once: list[Prompt] = []

    def before(role: str, prompt: Prompt) -> None:
        if role == "task" and not once:
            once.append(prompt)
            raise OUTAGES["500"]()

    assert World(before=before).compile(Swallowing())._compiled


@pytest.mark.parametrize(
    ("role", "expected"),
    [("task", ProgramFailureError), ("judge", JudgeError), ("criteria", JudgeError), ("prompt", LMError)],
)
def test_24_every_request_is_refused(role: str, expected: type[Exception]) -> None:
    """Item 24: one refused request (400) is that request's affair; if every one is, the run raises what was said."""
    world = World(before=broken(role, lm15.InvalidRequestError("unknown parameter 'top_q'", status=400)))
    with pytest.raises(expected, match="top_q"):
        world.compile(Mixed(), max_errors=100)


@pytest.mark.parametrize("role", ["task", "judge", "criteria", "prompt"])
def test_24_one_request_is_refused(role: str) -> None:
    """Item 24: a single refused or too long prompt does not end the run."""
    failed = []

    def before(asked: str, prompt: Prompt) -> None:
        if asked == role and "What is 1?" in prompt.text and not failed:
            failed.append(prompt)
            raise lm15.ContextLengthError("too long", status=400)

    program = World(before=before).compile(Mixed(), depth=3)
    assert failed
    assert program._compiled
