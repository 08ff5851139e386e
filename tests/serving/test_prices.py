"""Prices: by tokens, from the config or LiteLLM's list; by the hour, as shares of a server's busy time.

Invariants: the shares of all calls add up to the length of the union of their intervals, whatever roles make them and
whatever fails; what is not known is None, never 0; 0 is free.
"""

from __future__ import annotations

import gc
import itertools
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from dspy.lm15 import Usage
from endpoint import Fault, endpoint
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from drpo.configs.settings import load_settings
from drpo.errors import ConfigError
from drpo.serving import engine
from drpo.serving.door import metered
from drpo.serving.engine import build_lm
from drpo.serving.meter import Meter
from drpo.serving.prices import Prices, ServerClock, server_of
from drpo.serving.roles import Role
from drpo.serving.settings import LMSettings

LOCAL = "hosted_vllm/llama"


class Time:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def played(clock: ServerClock, time: Time, calls: list[tuple[float, float]], failing: set[int]) -> None:
    """Let calls begin and end at their times; those that fail end by an error."""
    open_calls: dict[int, ExitStack] = {}
    moments = [(begin, 1, n) for n, (begin, _) in enumerate(calls)] + [(end, 0, n) for n, (_, end) in enumerate(calls)]
    for moment, begins, number in sorted(moments, key=lambda one: (one[0], -one[1], one[2])):
        time.now = 100.0 + moment
        if begins:
            open_calls[number] = ExitStack()
            open_calls[number].enter_context(clock.call(f"call {number}"))
        elif number in failing:
            with suppress(ZeroDivisionError), open_calls.pop(number):
                raise ZeroDivisionError
        else:
            open_calls.pop(number).close()


def union(calls: list[tuple[float, float]]) -> float:
    """Return the time in which at least one call is under way."""
    total, until = 0.0, float("-inf")
    for begin, end in sorted(calls):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total


INTERVALS = st.lists(
    st.tuples(st.floats(0, 1000), st.floats(0, 100)).map(lambda pair: (pair[0], pair[0] + pair[1])), max_size=30
)


@given(INTERVALS)
def test_the_shares_are_the_busy_time(calls: list[tuple[float, float]]) -> None:
    """The sum of the shares is the length of the union; no share is negative or longer than its call."""
    time = Time()
    clock = ServerClock(time)
    played(clock, time, calls, set())
    shares = [clock.claim(f"call {number}") for number in range(len(calls))]
    assert sum(shares) == pytest.approx(union(calls), abs=1e-6)
    assert all(-1e-9 <= share <= end - begin + 1e-6 for share, (begin, end) in zip(shares, calls, strict=True))
    assert clock.claim("call 0") == 0.0


@given(INTERVALS, st.sets(st.integers(0, 29)))
def test_calls_that_failed_are_paid_by_the_next(calls: list[tuple[float, float]], failing: set[int]) -> None:
    """A server also works for calls that come to nothing: the next call that is answered pays for them."""
    time = Time()
    clock = ServerClock(time)
    played(clock, time, calls, failing)
    assert sum(clock.claim(f"call {number}") for number in (*range(len(calls)), "next")) == pytest.approx(
        union(calls), abs=1e-6
    )


def test_equal_calls_pay_equally() -> None:
    """Two calls side by side pay half each, a call alone pays its whole time."""
    time = Time()
    clock = ServerClock(time)
    played(clock, time, [(0, 10), (0, 10), (20, 25)], set())
    assert [clock.claim(f"call {number}") for number in range(3)] == [pytest.approx(one) for one in (5, 5, 5)]


def test_what_is_never_claimed_is_paid_by_others() -> None:
    """A reply that nobody waited for costs as well, and takes no memory for ever."""
    time = Time()
    clock = ServerClock(time)
    played(clock, time, [(number, number + 1) for number in range(3000)], set())
    assert len(clock._answered) <= 1024
    assert sum(clock.claim(f"call {number}") for number in range(3000)) == pytest.approx(3000)


def test_one_clock_per_server() -> None:
    """LMs of one address share a clock, in whatever order and style the addresses stand; others have their own."""
    one = Prices(LMSettings(model=LOCAL, api_base="http://a/v1", hourly_price=2.0))
    two = Prices(LMSettings(model="hosted_vllm/other", api_base="http://a/v1/", hourly_price=2.0))
    three = Prices(LMSettings(model=LOCAL, api_base="http://b/v1", hourly_price=2.0))
    assert one._clock is two._clock is not three._clock
    assert server_of(LMSettings(model=LOCAL, api_base=["http://b", "http://a/"])) == ("http://a", "http://b")
    assert server_of(LMSettings(model="openai/gpt-4o")) == ("openai",)
    del one, two
    gc.collect()
    assert Prices(LMSettings(model=LOCAL, api_base="http://a/v1", hourly_price=2.0))._clock.claim("nothing") == 0.0


def test_prices_by_tokens() -> None:
    """The config's price comes before LiteLLM's list, each of the two for itself; 0 is free, and None is unknown."""
    used = Usage(input_tokens=1_000_000, output_tokens=500_000)
    known, unknown = "openai/gpt-4o-mini", LOCAL
    listed = Prices(LMSettings(model=known)).of(used, "")
    assert listed == pytest.approx(0.15 + 0.30)
    assert Prices(LMSettings(model=unknown)).of(used, "") is None
    assert Prices(LMSettings(model=unknown, input_price=0, output_price=0)).of(used, "") == 0.0
    assert Prices(LMSettings(model=unknown, input_price=3, output_price=4)).of(used, "") == pytest.approx(5.0)
    assert Prices(LMSettings(model=known, output_price=4)).of(used, "") == pytest.approx(2.15)
    assert Prices(LMSettings(model=unknown, input_price=3)).of(used, "") is None
    assert Prices(LMSettings(model=unknown, hourly_price=3)).tokens(10, 10) is None


def test_tokens_from_the_providers_cache_are_cheaper_where_the_list_says_so() -> None:
    """A provider that takes less for what it has read before is believed."""
    prices = Prices(LMSettings(model="openai/gpt-4o-mini"))
    plain = prices.of(Usage(input_tokens=1000, output_tokens=0), "")
    cached = prices.of(Usage(input_tokens=1000, output_tokens=0, cache_read_tokens=1000), "")
    assert 0 < cached < plain


def test_a_server_by_the_hour_is_shared_by_roles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over HTTP: the roles' costs add up to the busy time, failed requests included, and free is not unknown."""
    replies = iter([Fault(status=500), *["Hello!"] * 20])
    with endpoint(lambda sent: next(replies)) as server:
        settings = LMSettings(model=LOCAL, api_base=server.api_base, hourly_price=3600.0, num_retries=1)
        meter, ticks = Meter(), itertools.count(100.0)
        lms = {}
        for role in (Role.TASK, Role.JUDGE):
            lm = build_lm(settings)
            lms[role] = metered(lm, role=role, meter=meter, timeout=30.0)
            clock = lm.engine._prices._clock
        monkeypatch.setattr(clock, "_now", lambda: next(ticks))
        for role, lm in lms.items():
            lm(f"Say hello, {role}.")
    # Each request begins and ends once, a second apart: one that failed, and two that were answered.
    assert [meter.usage[role].cost for role in lms] == [pytest.approx(2.0), pytest.approx(1.0)]
    assert meter.usage[Role.CRITERIA].cost == 0.0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"input_price": -1.0}, "at least 0"),
        ({"input_price": float("inf")}, "finite number"),
        ({"output_price": True}, "must be a number"),
        ({"output_price": "much"}, "must be a number"),
        ({"hourly_price": 1.0, "input_price": 0.0}, "must be null beside"),
    ],
)
def test_wrong_prices(given: dict[str, object], said: str, tmp_path: Path) -> None:
    """A price that is none is refused where an LM is described, and by a config with its key."""
    with pytest.raises(ValidationError):
        LMSettings(model=LOCAL, **given)
    overrides = [f"lms.task.{key}={value}" for key, value in given.items()]
    with pytest.raises(ConfigError) as caught:
        load_settings("openai", overrides)
    assert (f"lms.task.{next(iter(given))}" in str(caught.value)) or "--set" in str(caught.value)
    assert said in str(caught.value)


def test_roles_of_one_server_have_one_price() -> None:
    """An hourly price that a role of the same server does not have would leave hours unpaid: it is refused."""
    servers = ["lms={task: {server: a}, judge: {server: a}}", "serve={a: {model: m, port: 8123}}"]
    with pytest.raises(ConfigError, match=r"lms.judge.hourly_price: None is not allowed; lms.task has the same server"):
        load_settings("vllm", [*servers, "lms.task.hourly_price=2"])
    both = ["lms.task.hourly_price=2", "lms.judge.hourly_price=2"]
    assert load_settings("vllm", [*servers, *both]).lms.judge.hourly_price == 2.0
    by_address = "lms.judge={model: hosted_vllm/m, api_base: 'http://127.0.0.1:8123/v1', hourly_price: 3}"
    with pytest.raises(ConfigError, match="give both the same price"):
        load_settings("vllm", [*servers, by_address, "lms.task.hourly_price=2"])
    some = "lms.judge={model: hosted_vllm/m, api_base: ['http://127.0.0.1:8123/v1', 'http://b/v1'], hourly_price: 2}"
    with pytest.raises(ConfigError, match="must name all servers of"):
        load_settings("vllm", [*servers, some, "lms.task.hourly_price=2"])
    with pytest.raises(ConfigError, match="not allowed with a simulated model"):
        load_settings("default", ["lms.task.hourly_price=2"])


def test_a_saved_program_is_not_told_apart_by_prices() -> None:
    """An LM's state with prices is loaded again."""
    engine = build_lm(LMSettings(model=LOCAL, input_price=1.0, output_price=2.0)).engine
    again = type(engine).load_state(engine.dump_state())
    assert again._prices.tokens(1_000_000, 1_000_000) == 3.0


@pytest.mark.parametrize("doors", [1, 2])
def test_an_import_is_not_the_endpoints_time(monkeypatch: pytest.MonkeyPatch, doors: int) -> None:
    """LiteLLM is imported at the first call, which takes seconds; neither the clock nor the price counts them.

    So it is where one door stands behind another.
    """
    waits = iter([0.3])
    litellm = engine._litellm

    def imported() -> Any:
        time.sleep(next(waits, 0.0))
        return litellm()

    with endpoint(lambda sent: "Well.") as server:
        settings = LMSettings(model=LOCAL, api_base=server.api_base, hourly_price=3600.0)
        build_lm(settings)("Are you there?")  # the first call of a process takes LiteLLM longer, import or not
        monkeypatch.setattr(engine, "_litellm", imported)
        lm = build_lm(settings)
        for _ in range(doors):
            meter = Meter()
            lm = metered(lm, role=Role.TASK, meter=meter, timeout=30.0)
        lm("Hello?")
    used = meter.usage[Role.TASK]
    assert next(waits, None) is None
    assert used.seconds < 0.3
    assert used.cost is not None
    assert used.cost < 0.3
