"""The door when calls fail: every try is counted and on record, and what a call comes to is alike in a resumed run."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy import lm15
from dspy.utils.exceptions import LMAuthError, LMError, LMServerError, LMTimeoutError
from variants import slow

from drpo.errors import BudgetExceededError
from drpo.programs.outages import is_given_up, outage_in
from drpo.serving.calls import call_scope, current_call
from drpo.serving.caps import caps_of
from drpo.serving.door import metered
from drpo.serving.meter import Meter
from drpo.serving.retrying import GIVEN_UP, LATE
from drpo.serving.roles import Role
from drpo.serving.scripted import Prompt, scripted_lm
from drpo.teleprompters.record import CallLog

HICCUP: Callable[[], Exception] = lambda: lm15.ServerError("down", status=500)  # noqa: E731


class Flaky:
    """Answers, but for the prompts that it is told to fail on."""

    def __init__(self) -> None:
        self.lm = scripted_lm(self, name="world/judge")
        self.names: list[tuple[str, str]] = []
        self.error: dict[str, Callable[[], Exception]] = {}
        self.times: dict[str, int] = {}
        self._lock = threading.Lock()

    def fail(self, text: str, error: Callable[[], Exception], times: int = 10**9) -> Flaky:
        """Fail on prompts that end so, a number of times."""
        self.error[text], self.times[text] = error, times
        return self

    def asked(self, text: str) -> int:
        """How often a prompt was asked."""
        return sum(asked == text for asked, _ in self.names)

    def __call__(self, prompt: Prompt) -> str:
        text = prompt.last
        with self._lock:
            self.names.append((text, current_call()))
            fails = self.times.get(text, 0) > 0
            if fails:
                self.times[text] -= 1
        if fails:
            raise self.error[text]()
        return f"heard {text}"


def lm_of(flaky: Flaky, meter: Meter, *, role: Role = Role.JUDGE, retries: int = 3, **options: Any) -> dspy.LM:
    return metered(flaky.lm.copy(num_retries=retries), role=role, meter=meter, **options)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Callable[[], CallLog]]:
    """Open the record of one run directory; the one before is closed."""
    opened: list[CallLog] = []

    def reopen() -> CallLog:
        if opened:
            opened.pop().close()
        opened.append(CallLog(tmp_path / "calls.jsonl"))
        return opened[-1]

    yield reopen
    for one in opened:
        one.close()


def side_by_side(calls: list[Callable[[], Any]]) -> list[Any]:
    """Make calls at once; each gives its value or its error."""

    def made(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return [one.result(20) for one in [pool.submit(copy_context().run, made, call) for call in calls]]


def test_all_tries_of_a_call_have_one_name_and_count() -> None:
    """Invariant: requests sent = calls answered + tries that failed; DSPy adds none of its own."""
    meter, flaky = Meter(), Flaky().fail("a", HICCUP, 2)
    lm = lm_of(flaky, meter)
    assert lm("a") == ["heard a"]
    assert lm.num_retries == 0
    assert len({name for _, name in flaky.names}) == 1
    usage = meter.usage[Role.JUDGE]
    assert (usage.requests, usage.calls, usage.errors) == (len(flaky.names), 1, 2) == (3, 1, 2)
    assert meter.kinds[Role.JUDGE] == {"ServerError": 2}
    assert meter.waited[Role.JUDGE] > 0
    assert meter.given_up[Role.JUDGE] == 0


def busy(flaky: Flaky, meter: Meter, **options: Any) -> Callable[[], Any]:
    """Return a call that is answered again and again until another one ends."""
    lm, ended = lm_of(flaky, meter, **options), threading.Event()

    def call() -> None:
        number = 0
        while not ended.wait(0.0005):
            number += 1
            with call_scope(f"other {number}"):
                lm("fine")

    call.ended = ended  # type: ignore[attr-defined]
    return call


def given_up_beside_others(log: CallLog | None, flaky: Flaky, meter: Meter, **options: Any) -> LMError:
    """Ask a call that is never answered while others are."""
    others = busy(flaky, meter, record=log, **options)

    def call() -> Any:
        try:
            with call_scope("task"):
                return lm_of(flaky, meter, record=log, **options)("bad")
        finally:
            others.ended.set()  # type: ignore[attr-defined]

    error, _ = side_by_side([call, others])
    assert isinstance(error, LMError)
    return error


def test_a_call_that_always_fails_is_given_up_and_stays_so(log: Callable[[], CallLog]) -> None:
    """Invariant: a resumed run gives it up in the same words and asks nobody, as often as it was given up."""
    first, flaky = Meter(), Flaky().fail("bad", HICCUP)
    error = given_up_beside_others(log(), flaky, first)
    assert is_given_up(error)
    assert outage_in(error) is None
    assert error.code == GIVEN_UP
    assert first.given_up[Role.JUDGE] == 1
    assert first.halted is None
    asked = flaky.asked("bad")
    assert asked >= 4

    again, unasked = Meter(), Flaky()
    lm = lm_of(unasked, again, record=log())
    with call_scope("task"):
        with pytest.raises(LMError) as caught:
            lm("bad")
        assert (type(caught.value), str(caught.value)) == (type(error), str(error))
        assert unasked.names == []
        assert (again.usage[Role.JUDGE].errors, again.given_up[Role.JUDGE]) == (asked, 1)
        assert lm("bad") == ["heard bad"], "it was given up once only"

    third = Meter()
    lm = lm_of(Flaky().fail("bad", HICCUP), third, record=log())
    with call_scope("task"):
        with pytest.raises(LMError, match="given up"):
            lm("bad")
        assert lm("bad") == ["heard bad"]
    assert third.given_up[Role.JUDGE] == 1
    assert (third.usage[Role.JUDGE].errors, third.usage[Role.JUDGE].calls) == (asked, 1)


def test_an_outage_ends_the_run_and_is_asked_again_by_a_resumed_one(log: Callable[[], CallLog]) -> None:
    meter, flaky = Meter(), Flaky().fail("b", lambda: lm15.ServerError("down", status=503))
    lm = lm_of(flaky, meter, record=log(), patience=0.3)
    with call_scope("one"):
        lm("a")
    begin = time.monotonic()
    with call_scope("two"), pytest.raises(LMServerError, match=r"has answered nobody for 0 s.* the judge LM is needed"):
        lm("b")
    assert 0.2 < time.monotonic() - begin < 1
    with call_scope("three"), pytest.raises(LMServerError):
        lm("c")
    assert flaky.asked("c") == 0, "nothing further is sent"

    resumed, up_again = Meter(), Flaky()
    lm = lm_of(up_again, resumed, record=log())
    for scope, text in (("one", "a"), ("two", "b"), ("three", "c")):
        with call_scope(scope):
            assert lm(text) == [f"heard {text}"]
    assert [text for text, _ in up_again.names] == ["b", "c"]
    assert resumed.usage[Role.JUDGE].errors == flaky.asked("b")


def test_a_wrong_key_ends_the_run_for_all_roles() -> None:
    """Invariant: one request is sent, and not one more by whichever LM."""
    meter, flaky, other = Meter(), Flaky().fail("a", lambda: lm15.AuthError("wrong key", status=401)), Flaky()
    with pytest.raises(LMAuthError, match="wrong key"):
        lm_of(flaky, meter)("a")
    with pytest.raises(LMAuthError, match="wrong key") as caught:
        lm_of(other, meter, role=Role.TASK)("b")
    assert (len(flaky.names), len(other.names)) == (1, 0)
    assert caught.value.status == 401


@pytest.mark.parametrize("error", [HICCUP, lambda: lm15.RateLimitError("busy"), lambda: lm15.TransportError("broken")])
def test_without_retries_nothing_is_asked_twice(error: Callable[[], Exception]) -> None:
    meter, flaky = Meter(), Flaky().fail("a", error)
    with pytest.raises(LMError):
        lm_of(flaky, meter, retries=0)("a")
    assert len(flaky.names) == 1
    assert meter.halted is None


def test_a_late_call_is_tried_once_more() -> None:
    released, meter = threading.Event(), Meter()
    asked: list[int] = []

    def reply(prompt: Prompt) -> str:
        asked.append(1)
        released.wait(10)
        return "late"

    lm = metered(scripted_lm(reply, num_retries=5), role=Role.TASK, meter=meter, timeout=0.05)
    with pytest.raises(LMTimeoutError, match=r"gave no reply within 0\.05 s") as caught:
        lm("hello")
    released.set()
    assert (len(asked), caught.value.code) == (2, LATE)
    assert meter.given_up[Role.TASK] == 1


@pytest.mark.parametrize("end", ["halt", "cap"])
def test_waits_end_when_the_run_does(end: str) -> None:
    """Invariant: a halt, and a cap that is reached, are seen at once by calls that wait for their next try."""
    meter = Meter(caps_of({"max_lm_calls": 2}))
    flaky = Flaky().fail("a", lambda: lm15.RateLimitError("busy", retry_after=60.0))
    lm = lm_of(flaky, meter)

    def other() -> None:
        while not meter.usage[Role.JUDGE].errors:
            time.sleep(0.001)
        if end == "halt":
            meter.halted = KeyboardInterrupt()
        else:
            lm("the last one")

    begin = time.monotonic()
    threading.Thread(target=other, daemon=True).start()
    with pytest.raises(KeyboardInterrupt if end == "halt" else LMError) as caught:
        lm("a")
    assert time.monotonic() - begin < 2
    if end == "cap":
        assert isinstance(caught.value.__cause__, BudgetExceededError)
        assert meter.stopped == "max_lm_calls=2 is reached"


def test_a_cap_on_seconds_ends_a_wait() -> None:
    meter = Meter(caps_of({"max_seconds": 0.3}))
    begin = time.monotonic()
    with pytest.raises(LMError):
        lm_of(Flaky().fail("a", lambda: lm15.RateLimitError("busy", retry_after=60.0)), meter)("a")
    assert time.monotonic() - begin < 2
    assert meter.stopped == "max_seconds=0.3 is reached"


@pytest.mark.parametrize("capacity", [3, *slow(1)])
def test_fewer_calls_at_once_where_an_endpoint_says_so(capacity: int) -> None:
    """Invariant: every call is answered, and the calls at once come down to about what the endpoint takes."""
    meter, lock = Meter(), threading.Lock()
    inside, refused, late = [0], [0], [0]

    def reply(prompt: Prompt) -> str:
        with lock:
            if inside[0] >= capacity:
                refused[0] += 1
                late[0] += prompt.last == "late"
                raise lm15.RateLimitError("too many", retry_after=0.002)
            inside[0] += 1
        time.sleep(0.003)
        with lock:
            inside[0] -= 1
        return "ok"

    lm = scripted_lm(reply, num_retries=2)
    lms = [metered(lm, role=role, meter=meter) for role in (Role.TASK, Role.JUDGE)]

    def call(number: int) -> list[str]:
        with call_scope(f"task {number}"):
            return list(lms[number % 2]("early" if number < 200 else "late"))

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(call, range(400), timeout=60)) == [["ok"]] * 400
    assert refused[0] == meter.totals("errors") > 0
    assert late[0] < 60, "about one in ten is what it takes to see whether there is room again"
    assert meter.totals("calls") == 400
