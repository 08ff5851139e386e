"""The door that every call of a run goes through: counted once, capped exactly, replayed for nothing."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import dspy
import pytest
from dspy.clients.engines.legacy_engine import LegacyEngine
from dspy.lm15 import ServerError
from dspy.utils.dummies import DummyLM
from dspy.utils.exceptions import LMError
from endpoint import endpoint

from drpo import Responder
from drpo.errors import BudgetExceededError, ConfigError
from drpo.programs.prose import ProseAdapter
from drpo.serving.calls import call_scope, current_call
from drpo.serving.caps import caps_of
from drpo.serving.door import metered
from drpo.serving.engine import build_lm
from drpo.serving.meter import FailedCall, Meter, RecordedCall
from drpo.serving.roles import Role, as_lm
from drpo.serving.scripted import Prompt, scripted_lm
from drpo.serving.settings import LMSettings


class Memory:
    """A record that forgets with the test."""

    def __init__(self) -> None:
        self.calls: dict[str, RecordedCall] = {}

    def find(self, key: str) -> RecordedCall | None:
        return self.calls.get(key)

    def failures(self, key: str) -> list[FailedCall]:
        return []

    def add(self, key: str, *, role: Role, request: dict[str, Any], call: RecordedCall | FailedCall) -> None:
        if isinstance(call, RecordedCall):
            self.calls[key] = call


def echo(prompt: Prompt) -> str:
    return f"heard {prompt.last}"


def test_calls_and_tokens_are_counted_under_their_role() -> None:
    """Two roles that share one model are counted apart, and the LM that was given is untouched."""
    meter, lm = Meter(), scripted_lm(echo)
    task, judge = (metered(lm, role=role, meter=meter) for role in (Role.TASK, Role.JUDGE))
    assert task("one two") == ["heard one two"]
    judge("three")
    assert meter.usage[Role.TASK].calls == meter.usage[Role.JUDGE].calls == 1
    assert (meter.usage[Role.TASK].prompt_tokens, meter.usage[Role.TASK].completion_tokens) == (2, 3)
    assert meter.totals("tokens") == 2 + 3 + 1 + 2
    assert meter.usage[Role.TASK].cost is None  # nobody knows what a script costs
    assert lm.history == []


@pytest.mark.parametrize("cap", [1, 7, 40])
def test_a_cap_on_calls_is_exact_under_threads(cap: int) -> None:
    """However many threads ask, no request beyond the cap reaches the engine, and every refusal says why."""
    reached, causes = [], []
    meter = Meter(caps_of({"max_lm_calls": cap}))
    lm = metered(scripted_lm(lambda prompt: reached.append(prompt) or "ok"), role=Role.TASK, meter=meter)

    def ask(number: int) -> bool:
        try:
            lm(f"question {number}")
        except LMError as error:
            causes.append(error.__cause__)
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        answered = sum(pool.map(lambda number: copy_context().run(ask, number), range(60)))
    assert answered == len(reached) == meter.totals("calls") == cap
    assert meter.stopped == f"max_lm_calls={cap} is reached"
    assert len(causes) == 60 - cap
    assert all(isinstance(cause, BudgetExceededError) for cause in causes)


class Slow(Meter):
    """Counts so slowly that every other thread looks at the cap meanwhile."""

    def _reached(self, role: Role) -> str | None:
        reached = super()._reached(role)
        time.sleep(0.001)
        return reached


def test_a_call_is_admitted_and_counted_in_one_step() -> None:
    """Invariant: between the look at the cap and the count no other thread gets in."""
    meter = Slow(caps_of({"max_lm_calls": 40}))

    def admitted(_: int) -> bool:
        try:
            meter.admit(Role.TASK)
        except BudgetExceededError:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(admitted, range(100))) == 40


def test_a_cap_on_tokens_stops_the_next_call() -> None:
    """The call that reaches the cap is finished; the one after it is refused."""
    meter = Meter(caps_of({"max_tokens": 5}))
    lm = metered(scripted_lm(echo), role=Role.TASK, meter=meter)
    lm("a b c")
    with pytest.raises(LMError):
        lm("again")
    assert meter.totals("calls") == 1


def test_a_cap_on_cost_without_a_price_is_refused_in_words() -> None:
    """Money that cannot be counted cannot be capped: the run stops and says which cap would work."""
    lm = metered(scripted_lm(echo), role=Role.TASK, meter=(meter := Meter(caps_of({"max_cost": 1.0}))))
    lm("a")
    with pytest.raises(LMError):
        lm("b")
    assert "max_lm_calls" in str(meter.stopped)


def test_cached_replies_cost_nothing() -> None:
    """DSPy's cache stands before the door: a reply from it is no call."""
    meter = Meter()
    lm = metered(scripted_lm(echo, cache=True, name="cached-once"), role=Role.TASK, meter=meter)
    assert lm("the same") == lm("the same")
    assert meter.totals("calls") == 1


def test_failed_calls_are_counted_and_retries_too() -> None:
    """Each try that failed is an error; the one that was answered is the call."""
    attempts = iter([ServerError("down", status=500, retry_after=0.001), None])

    def flaky(prompt: Prompt) -> str:
        error = next(attempts)
        if error is not None:
            raise error
        return "up again"

    meter = Meter()
    assert metered(scripted_lm(flaky, num_retries=1), role=Role.JUDGE, meter=meter)("?") == ["up again"]
    assert (meter.usage[Role.JUDGE].calls, meter.usage[Role.JUDGE].errors) == (1, 1)


def test_a_record_answers_in_any_order() -> None:
    """A call is found again by its task and its words; equal calls of one task keep their order."""
    replies = iter("abcd")
    record, meter = Memory(), Meter()
    lm = metered(scripted_lm(lambda _: next(replies)), role=Role.TASK, meter=meter, record=record)

    def tasks(order: list[str]) -> dict[str, list[str]]:
        said = {}
        for name in order:
            with call_scope(name):
                said[name] = [lm("equal")[0], lm("equal")[0]]
        return said

    first = tasks(["one", "two"])
    assert first == {"one": ["a", "b"], "two": ["c", "d"]}
    assert tasks(["two", "one"]) == first
    assert meter.usage[Role.TASK].replayed == 4
    assert meter.usage[Role.TASK].calls == 8  # a replayed call counts as the call that it was


def test_current_call_names_a_call_alike_in_every_run() -> None:
    """What a simulated model draws its luck from is the same when the run is repeated, and differs between calls."""

    def run() -> list[str]:
        names: list[str] = []
        lm = metered(scripted_lm(lambda _: names.append(current_call()) or "ok"), role=Role.TASK, meter=Meter())
        with call_scope("task"):
            lm("equal"), lm("equal"), lm("other")
        return names

    assert run() == run()
    assert len(set(run())) == 3
    assert current_call() == ""


@pytest.mark.parametrize("engine", ["auto", "litellm"])
def test_an_lm_with_a_connection_of_its_own_goes_through_litellm(engine: str) -> None:
    """Address, key and further options of a `dspy.LM` reach the server, and the key is in nothing that is shown."""
    with endpoint() as server:
        lm = dspy.LM(
            "hosted_vllm/small", engine=engine, api_base=server.api_base, api_key="planted-key", cache=False,
            temperature=0.5, extra_body={"min_p": 0.1},
        )  # fmt: skip
        meter = Meter()
        assert metered(lm, role=Role.TASK, meter=meter)("hi") == ["Hello!"]
    [sent] = server.sent
    assert sent.headers["authorization"] == "Bearer planted-key"
    assert (sent.body["temperature"], sent.body["min_p"]) == (0.5, 0.1)
    assert (meter.usage[Role.TASK].prompt_tokens, meter.usage[Role.TASK].completion_tokens) == (11, 7)
    assert "planted-key" not in repr(meter)


def test_an_lm_of_another_class_is_counted_too() -> None:
    """DSPy's own test double, which has no engine to lend, is asked through the same door."""
    meter = Meter()
    lm = metered(DummyLM([{"answer": "red"}, {"answer": "blue"}]), role=Role.TASK, meter=meter)
    with dspy.context(lm=lm, adapter=dspy.ChatAdapter()):
        predict = dspy.Predict("question -> answer")
        assert [predict(question="?").answer, predict(question="?").answer] == ["red", "blue"]
    assert meter.usage[Role.TASK].calls == 2


def test_counts_are_exact_under_threads() -> None:
    """16 threads, two roles, tokens of every call: the sums are those of one thread."""
    meter = Meter()
    lms = [metered(scripted_lm(echo), role=role, meter=meter) for role in (Role.TASK, Role.JUDGE)]

    def ask(number: int) -> None:
        lms[number % 2](" ".join(["word"] * (number % 7 + 1)))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, range(400)))
    read = [sum(number % 7 + 1 for number in range(400) if number % 2 == role) for role in (0, 1)]
    for role, tokens in zip((Role.TASK, Role.JUDGE), read, strict=True):
        usage = meter.usage[role]
        assert (usage.calls, usage.errors, usage.prompt_tokens, usage.completion_tokens) == (
            200,
            0,
            tokens,
            tokens + 200,
        )


def _written(*_: Any, **__: Any) -> Any:
    from litellm import ModelResponse

    message = {"content": "written by hand", "role": "assistant"}
    return ModelResponse(
        choices=[{"message": message, "finish_reason": "stop"}],
        usage={"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    )


class OldLM(dspy.BaseLM):
    """An LM of the user's in DSPy's old form, with a key of its own."""

    forward = _written


class OwnForward(dspy.LM):
    """An LM of DSPy's whose request the user rewrote."""

    forward = _written


@pytest.mark.filterwarnings("ignore:Implementing custom LMs:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:LegacyEngine:DeprecationWarning")
@pytest.mark.parametrize(
    "make",
    [
        lambda: OldLM("mine", temperature=0.3, api_key="planted-key"),
        lambda: OwnForward("openai/mine", api_base="http://192.0.2.1/v1", api_key="planted-key"),
        lambda: dspy.LM("mine", engine=LegacyEngine(OldLM("mine")), cache=False),
    ],
)
def test_no_lm_of_the_users_has_a_second_door(make: Callable[[], dspy.BaseLM]) -> None:
    """A class that answers by itself is asked as it is, and every answer is counted."""
    meter = Meter()
    lm = metered(make(), role=Role.TASK, meter=meter)
    with dspy.context(lm=lm, adapter=ProseAdapter()):
        assert dspy.Predict("question -> answer")(question="?").answer == "written by hand"
    usage = meter.usage[Role.TASK]
    assert (usage.calls, usage.prompt_tokens, usage.completion_tokens) == (1, 3, 2)
    assert "planted-key" not in repr(lm.kwargs)


def test_a_base_model_keeps_its_layout_behind_the_door() -> None:
    meter = Meter()
    with endpoint(["Fine.\n<END>"]) as server:
        lm = dspy.LM("hosted_vllm/small", model_type="text", api_base=server.api_base, cache=False, engine="litellm")
        with dspy.context(lm=metered(lm, role=Role.TASK, meter=meter), adapter=ProseAdapter()):
            assert dspy.Predict("question -> answer")(question="?").answer == "Fine."
    assert server.sent[0].path == "/v1/completions"
    assert server.bodies[0]["prompt"].endswith("# Query\n?\n\n# Answer\n<START>\n")
    assert meter.usage[Role.TASK].calls == 1


def test_threads_of_one_task_share_its_scope() -> None:
    """A program that asks from threads of its own is told apart call by call within its task."""
    record = Memory()
    lm = metered(scripted_lm(echo), role=Role.TASK, meter=Meter(), record=record)
    with call_scope("task"):
        threads = [threading.Thread(target=copy_context().run, args=(lm, "equal")) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(record.calls) == 8


@pytest.mark.parametrize("value", ["", "  ", 5, object()])
def test_what_is_no_lm_is_refused(value: Any) -> None:
    """An LM is an object or a model string; anything else is named with its argument."""
    with pytest.raises(ConfigError, match="judge_lm="):
        as_lm(value, name="judge_lm")


def test_a_role_lm_answers_asynchronously_and_is_counted() -> None:
    """A program that is awaited asks through the same door, without holding up its event loop."""
    meter = Meter()
    with endpoint() as server:
        lm = metered(
            build_lm(LMSettings(model="hosted_vllm/small", api_base=server.api_base)), role=Role.TASK, meter=meter
        )

        async def both() -> list[dspy.Prediction]:
            responder = Responder()
            return await asyncio.gather(responder.acall(query="one"), responder.acall(query="two"))

        with dspy.context(lm=lm):
            answers = asyncio.run(both())
    assert [answer.response for answer in answers] == ["Hello!", "Hello!"]
    assert meter.usage[Role.TASK].calls == 2
