"""Faults on demand: the shares asked for, decided by seed and request alone, and felt alike in this process."""

from __future__ import annotations

import math
import random
import statistics
import threading
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from dspy.utils.exceptions import (
    LMError,
    LMProviderError,
    LMRateLimitError,
    LMServerError,
    LMTimeoutError,
    LMTransportError,
)

from drpo.errors import ConfigError
from drpo.serving.scripted import scripted_lm
from drpo.serving.simulated.faults import Fate, FaultKind, FaultPlan, Faults, describe, suffer

ALL = Faults(
    rate_limited=0.1, server_error=0.1, timed_out=0.05, dropped=0.05, malformed=0.1, refused=0.1, latency=0.2,
    latency_sigma=0.7, seed=5,
)  # fmt: skip


def fates(faults: Faults, requests: list[str]) -> list[tuple[str, Fate]]:
    """Each request with its fate, in an order that does not depend on when it was asked."""
    plan = FaultPlan(faults)
    return sorted(((request, plan.next(request)) for request in requests), key=str)


def test_a_fate_depends_on_the_request_alone() -> None:
    """In whatever order requests come, each (request, try) meets the same fate."""
    requests = [f"request {number % 50}" for number in range(400)]
    shuffled = random.Random(1).sample(requests, len(requests))
    assert fates(ALL, requests) == fates(ALL, shuffled)


def test_another_seed_is_another_plan() -> None:
    """The seed decides who is struck; without it the plan would be the world's only one."""
    requests = [f"request {number}" for number in range(100)]
    other = Faults(**{**{name: getattr(ALL, name) for name in ALL.__dataclass_fields__}, "seed": 6})
    assert fates(ALL, requests) == fates(ALL, requests)
    assert fates(ALL, requests) != fates(other, requests)


def test_shares_come_out_as_stated() -> None:
    """Each kind strikes its share of the requests, within four standard deviations, and is counted."""
    plan, number = FaultPlan(ALL), 4000
    seen = Counter(plan.next(f"request {index}").fault for index in range(number))
    for kind, share in ALL.shares.items():
        assert abs(seen[kind] - number * share) < 4 * math.sqrt(number * share * (1 - share)), kind
    assert plan.counts == {kind: seen[kind] for kind in FaultKind}


def test_a_repeated_request_is_a_new_try() -> None:
    """A retry of a struck request is not struck for ever: its tries are independent."""
    plan = FaultPlan(Faults(server_error=0.5))
    struck = [plan.next("the same").fault is not None for _ in range(400)]
    assert 150 < sum(struck) < 250
    assert any(before != after for before, after in pairwise(struck))


@pytest.mark.parametrize("kind", FaultKind)
def test_a_share_of_one_strikes_always(kind: FaultKind) -> None:
    """1.0 means every request."""
    plan = FaultPlan(Faults(**{kind.value: 1.0}))
    assert {plan.next(f"request {number}").fault for number in range(300)} == {kind}


def test_server_errors_come_in_three_kinds() -> None:
    """The statuses that clients must treat alike all occur, and only they."""
    plan = FaultPlan(Faults(server_error=1.0))
    assert {plan.next(f"request {number}").status for number in range(100)} == {500, 502, 503}


def test_latency_is_log_normal_and_bounded() -> None:
    """The median and the spread of the logarithm are the ones asked for, and nothing is longer than `longest`."""
    plan = FaultPlan(Faults(latency=0.2, latency_sigma=0.7))
    drawn = [plan.next(f"request {number}").latency for number in range(4000)]
    assert statistics.median(drawn) == pytest.approx(0.2, rel=0.05)
    assert statistics.stdev(map(math.log, drawn)) == pytest.approx(0.7, rel=0.05)
    capped = FaultPlan(Faults(latency=0.2, latency_sigma=0.7, longest=0.3))
    assert max(capped.next(f"request {number}").latency for number in range(300)) == 0.3
    steady = FaultPlan(Faults(latency=0.2))
    assert {steady.next(f"request {number}").latency for number in range(10)} == {0.2}


def test_without_faults_nothing_happens() -> None:
    """The default is a perfect line."""
    plan = FaultPlan()
    assert plan.next("a request") == Fate(latency=0.0, fault=None)
    assert describe(plan.next("a request")) == "none"
    assert not any(plan.counts.values())


def test_threads_may_share_a_plan() -> None:
    """Eight threads together meet what one would, and no count is lost."""
    requests = [f"request {number % 40}" for number in range(200)]
    shared, alone = FaultPlan(ALL), FaultPlan(ALL)
    threads = [threading.Thread(target=lambda: [shared.next(request) for request in requests]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for request in requests * 8:
        alone.next(request)
    assert shared.counts == alone.counts


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"rate_limited": -0.1}, "rate_limited=-0.1"),
        ({"dropped": 1.5}, "dropped=1.5"),
        ({"refused": math.nan}, "refused=nan"),
        ({"refused": "often"}, "refused='often'"),
        ({"refused": True}, "refused=True"),
        ({"refused": 0.6, "malformed": 0.5}, "add up to 1.1"),
        ({"retry_after": -1}, "retry_after=-1"),
        ({"latency": math.inf}, "latency=inf"),
        ({"latency_sigma": 11}, "latency_sigma=11"),
        ({"longest": 0}, "longest=0"),
        ({"seed": 1.5}, "seed=1.5"),
    ],
)
def test_wrong_faults_are_refused(fields: dict[str, Any], name: str) -> None:
    """The message names the argument and its value."""
    with pytest.raises(ConfigError) as caught:
        Faults(**fields)
    assert name in str(caught.value)


def test_shares_may_add_up_to_one() -> None:
    """Ten times a tenth is one, whatever floating point says."""
    Faults(rate_limited=0.1, server_error=0.2, timed_out=0.3, dropped=0.1, malformed=0.2, refused=0.1)


IN_PROCESS = {
    FaultKind.RATE_LIMITED: LMRateLimitError,
    FaultKind.SERVER_ERROR: LMServerError,
    FaultKind.TIMED_OUT: LMTimeoutError,
    FaultKind.DROPPED: LMTransportError,
    FaultKind.MALFORMED: LMProviderError,
}


@pytest.mark.parametrize("kind", IN_PROCESS)
def test_an_lm_of_this_process_suffers_as_over_http(kind: FaultKind) -> None:
    """What `suffer` raises becomes DSPy's error of that fault, with its status and waiting time."""
    plan = FaultPlan(Faults(**{kind.value: 1.0}, retry_after=0.25))
    lm = scripted_lm(lambda prompt: str(suffer(plan.next(prompt.text), model="sim/base")))
    with pytest.raises(LMError) as caught:
        lm("hello")
    assert type(caught.value) is IN_PROCESS[kind]
    assert caught.value.retry_after == (0.25 if kind is FaultKind.RATE_LIMITED else None)
    assert "simulated fault" in str(caught.value)


def test_a_content_filter_takes_the_reply_only() -> None:
    """A refusal is no error: the caller is told to leave the reply empty. Latency is waited out first."""
    waited: list[float] = []
    plan = FaultPlan(Faults(refused=1.0, latency=0.3))
    assert suffer(plan.next("a request"), model="sim/base", sleep=waited.append) is True
    assert waited == [0.3]
    assert suffer(Fate(latency=0.0, fault=None), model="sim/base", sleep=waited.append) is False
    assert waited == [0.3]
