"""Patience per call: a reply that does not come in time fails its call and nothing else, whatever engine it is."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

import dspy
import pytest
from dspy import lm15
from dspy.utils.exceptions import LMError, LMServerError, LMTimeoutError
from variants import slow

from drpo.programs.outages import is_given_up, outage_in
from drpo.serving.calls import call_scope, current_call, current_sample, sample
from drpo.serving.door import metered
from drpo.serving.engine import build_lm
from drpo.serving.meter import FailedCall, Meter, RecordedCall
from drpo.serving.patience import CallTimeout, within
from drpo.serving.roles import Role
from drpo.serving.scripted import Prompt, scripted_lm
from drpo.serving.settings import LMSettings

PATIENCE = 0.25


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


class Straggler:
    """Answers at once, but for prompts with `slow` in them: those when the test says so."""

    def __init__(self) -> None:
        self.released, self.ended = threading.Event(), threading.Event()

    def __call__(self, prompt: Prompt) -> str:
        if "slow" in prompt.last:
            self.released.wait(10)
            self.ended.set()
        return f"heard {prompt.last}"

    def release(self) -> None:
        """Let the late reply come, and its thread end."""
        self.released.set()
        assert self.ended.wait(5)
        for thread in threading.enumerate():
            if thread.name == "drpo-call":
                thread.join(5)


@pytest.mark.parametrize("num_threads", [8, *slow(1)])
def test_a_late_reply_is_dropped_and_changes_nothing(num_threads: int) -> None:
    """Invariant: the call is an error of its role, the others are answered, and the late reply is nowhere."""
    meter, record, straggler = Meter(), Memory(), Straggler()
    lm = metered(scripted_lm(straggler), role=Role.JUDGE, meter=meter, record=record, timeout=PATIENCE)

    def ask(text: str) -> str:
        with call_scope(text):
            try:
                return str(lm(text)[0])
            except LMError as error:
                return str(error) if is_given_up(error) else "an outage"

    texts = ["one", "slow", *"abcdef"]
    begin = time.perf_counter()
    with ThreadPoolExecutor(num_threads) as pool:
        replies = list(pool.map(lambda text: copy_context().run(ask, text), texts))
    assert time.perf_counter() - begin < 5
    assert replies.pop(1).startswith(f"[scripted] the judge LM gave no reply within {PATIENCE:g} s; ")
    assert replies == [f"heard {text}" for text in texts if text != "slow"]
    before = meter.usage[Role.JUDGE]
    straggler.release()
    assert meter.usage[Role.JUDGE] == before
    assert (before.calls, before.errors, before.completion_tokens) == (7, 1, 14)
    assert len(record.calls) == 7
    assert not any("slow" in (call.response.message.text or "") for call in record.calls.values())


@pytest.mark.filterwarnings("ignore:Implementing custom LMs:DeprecationWarning")
def test_an_lm_of_the_users_class_is_not_waited_for_either() -> None:
    """A class that knows of no time-outs is given up on like any other."""
    released = threading.Event()

    class Sleeper(dspy.LM):
        def forward(self, *_: Any, **__: Any) -> Any:
            released.wait(10)
            raise RuntimeError("too late to matter")

    lm = metered(Sleeper("openai/mine"), role=Role.TASK, meter=Meter(), timeout=0.05)
    with pytest.raises(LMTimeoutError, match=r"the task LM gave no reply within 0\.05 s"):
        lm("hello")
    released.set()


@contextmanager
def trickle() -> Iterator[str]:
    """Serve an endpoint that sends a byte now and then, so that no read of its client is ever late."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n")
                while not ended.wait(0.02):
                    connection.sendall(b" ")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        ended.set()
        thread.join(5)


def test_an_endpoint_that_trickles_is_given_up() -> None:
    """The engine's own time-out, which holds for each read, would never end this call."""
    build_lm(LMSettings(model="hosted_vllm/small")).engine.supported_params  # noqa: B018  # imports LiteLLM beforehand
    with trickle() as api_base:
        lm = build_lm(LMSettings(model="hosted_vllm/small", api_base=api_base, num_retries=0))
        with pytest.raises(LMTimeoutError, match=r"the criteria LM gave no reply within 0\.25 s"):
            metered(lm, role=Role.CRITERIA, meter=Meter(), timeout=PATIENCE)("hello")


def test_the_engine_sees_the_callers_context() -> None:
    """A simulated model draws its luck from the call's name and the sample: both are the same with and without."""
    seen: list[tuple[str, int]] = []

    def look(_: Prompt) -> str:
        seen.append((current_call(), current_sample()))
        return "ok"

    for timeout in (None, 5.0):
        lm = metered(scripted_lm(look), role=Role.TASK, meter=Meter(), timeout=timeout)
        with call_scope("task"), sample(3):
            lm("equal")
    assert seen[0] == seen[1]
    assert seen[0][0]
    assert seen[0][1] == 3


def test_without_a_timeout_there_is_no_thread() -> None:
    """What is not asked for costs nothing."""
    ran: list[int] = []
    reply: Callable[[Prompt], str] = lambda _: ran.append(threading.get_ident()) or "ok"  # noqa: E731
    metered(scripted_lm(reply), role=Role.TASK, meter=Meter())("hello")
    assert ran == [threading.get_ident()]


def test_an_lms_retries_hold_for_a_late_reply() -> None:
    """Each attempt is waited for as long, and counted; `num_retries=0` asks once."""
    meter, straggler = Meter(), Straggler()
    slow_once = iter([True])

    def reply(prompt: Prompt) -> str:
        return straggler(prompt) if next(slow_once, False) else "in time"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dspy.clients.execution._delay", lambda error, attempt: 0.0)
        lm = metered(scripted_lm(reply, num_retries=1), role=Role.TASK, meter=meter, timeout=PATIENCE)
        assert lm("slow") == ["in time"]
    assert (meter.usage[Role.TASK].calls, meter.usage[Role.TASK].errors) == (1, 1)
    straggler.release()


@pytest.mark.parametrize("error", [lm15.TimeoutError("the endpoint's own"), TimeoutError("a socket's")])
def test_time_outs_that_the_engine_reports_are_outages(error: Exception) -> None:
    """An endpoint that says so itself has failed after all its retries: that is no single late reply."""

    def fail(_: Prompt) -> str:
        raise error

    with pytest.raises(LMError) as caught:
        metered(scripted_lm(fail), role=Role.TASK, meter=Meter(), timeout=5.0)("hello")
    assert not is_given_up(caught.value)
    assert outage_in(caught.value) is caught.value


def test_a_timeout_is_found_below_an_error_of_the_programs() -> None:
    """However a program dresses it up, it is late and no outage; an outage above it counts as one."""

    def dressed(reason: Exception) -> Exception:
        try:
            try:
                raise reason
            except LMError as error:
                raise RuntimeError("the tool failed") from error
        except RuntimeError as error:
            return error

    late = LMTimeoutError("late", code="call_timeout")
    assert is_given_up(dressed(late))
    assert outage_in(dressed(late)) is None
    assert not is_given_up(dressed(LMServerError("down")))
    down = LMServerError("down")
    down.__cause__ = late
    assert not is_given_up(down)
    assert outage_in(down) is down
    assert not is_given_up(ValueError("a bug"))


def test_within_gives_what_the_function_gives_or_raises() -> None:
    """In time, nothing tells it from a plain call; `TimeoutError`s of the function's own stay what they are."""
    assert within(5.0, len, "four") == 4
    with pytest.raises(TimeoutError, match="own"):
        within(5.0, _raise, TimeoutError("own"))
    with pytest.raises(KeyboardInterrupt):
        within(5.0, _raise, KeyboardInterrupt())
    with pytest.raises(CallTimeout):
        within(0.01, time.sleep, 0.1)


def _raise(error: BaseException) -> None:
    raise error
