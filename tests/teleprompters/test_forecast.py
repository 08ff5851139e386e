"""From a probe and rehearsals to figures with a range: the arithmetic, without a search.

Invariants: an estimate lies in its own range; more calls never make a range end lower; one call says less than many;
the clock is never below what the calls add up to on all threads, nor above that and the longest chain together.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drpo.serving.caps import Cap, CapKind
from drpo.serving.roles import Role
from drpo.serving.settings import LMSettings
from drpo.teleprompters.forecast import MARGIN, clock_seconds, forecast
from drpo.teleprompters.lengths import PRIOR_READ, PRIOR_WRITTEN, lengths
from drpo.teleprompters.probe import ProbedCall
from drpo.teleprompters.rehearsal import Rehearsal, RehearsedCall

LOCAL = LMSettings(model="hosted_vllm/m", api_base="http://a/v1")
MODELS = dict.fromkeys(Role, LOCAL)
TASK, JUDGE, PROMPT, CRITERIA = Role.TASK, Role.JUDGE, Role.PROMPT, Role.CRITERIA


def call(role: Role = TASK, task: str = "level 0 judge/0", **figures: float) -> RehearsedCall:
    return RehearsedCall(role, task, **{"read": 100, "written": 50, "seconds": 1.0, "cost": 0.01, **figures})


def rehearsed(*calls: RehearsedCall) -> Rehearsal:
    return Rehearsal(tuple(calls), None)


def probed(role: Role, written: float, read: float = 100.0) -> ProbedCall:
    return ProbedCall(role, round(read), round(written), seconds=2.0, cost=None)


class TestLengths:
    worlds = tuple([probed(TASK, 100 * factor)] * 2 for factor in (0.5, 0.8, 1.0, 1.25, 2.0))

    def test_without_a_probe_only_what_is_likely_of_any_model_is_known(self) -> None:
        found = lengths(None, self.worlds)[TASK]
        assert (found.written.log, found.written.spread) == (0.0, PRIOR_WRITTEN)
        assert (found.read.log, found.read.spread) == (0.0, PRIOR_READ)
        assert found.pace is None
        assert found.at(0.0).written == 1.0
        assert found.at(-1.0).written < 1.0 < found.at(1.0).written

    def test_a_role_that_was_not_asked_is_like_one_without_a_probe(self) -> None:
        found = lengths([probed(TASK, 100)], self.worlds)
        assert found[JUDGE] == lengths(None, self.worlds)[JUDGE]
        assert found[TASK] != found[JUDGE]

    @given(st.floats(0.1, 10.0))
    def test_a_probe_moves_the_ratio_its_way_but_not_beyond(self, factor: float) -> None:
        """Between what was held likely before and what the probe says; one far away is believed."""
        found = lengths([probed(TASK, 100 * factor, read=100)], self.worlds)[TASK]
        low, high = sorted([1.0, round(100 * factor) / 100])
        assert low * 0.999 <= found.at(0.0).written <= high * 1.001
        assert found.written.spread < max(PRIOR_WRITTEN, abs(math.log(round(100 * factor) / 100)))
        if not 0.25 < factor < 4:
            assert abs(found.written.log) > 0.8 * abs(math.log(factor))
        assert found.pace == pytest.approx(2.0 / round(100 * factor))

    def test_two_calls_say_more_than_one(self) -> None:
        one = lengths([probed(TASK, 400)], self.worlds)[TASK]
        two = lengths([probed(TASK, 400)] * 2, self.worlds)[TASK]
        assert two.written.spread < one.written.spread
        assert one.at(0.0).written < two.at(0.0).written < 4.0

    def test_a_runaway_reply_counts_by_its_logarithm(self) -> None:
        """One of two replies that never ends makes no mean of both."""
        found = lengths([probed(TASK, 100), probed(TASK, 3000)], self.worlds)[TASK]
        assert found.at(0.0).written < 6.0


class TestClock:
    def test_phases_follow_each_other_and_tasks_overlap(self) -> None:
        calls = [
            call(CRITERIA, "criteria 7", seconds=2.0),
            *(call(TASK, f"level 0 judge 0/{number}", seconds=3.0) for number in range(4)),
            *(call(JUDGE, f"level 0 judge 0/{number}", seconds=1.0) for number in range(4)),
            call(PROMPT, "level 1 node 0 rewrite respond/0", seconds=10.0),
            call(TASK, "level 1 judge 1/0", seconds=3.0),
        ]
        path = 4.0 + 10.0 + 3.0
        assert clock_seconds(calls, num_threads=100) == (path, pytest.approx(path + 0.31))
        assert clock_seconds(calls, num_threads=1) == (31.0, 31.0 + path)

    def test_a_race_is_run_in_three_steps(self) -> None:
        calls = [call(TASK, f"level 1 judge {member}/0", seconds=2.0) for member in range(4)]
        assert clock_seconds(calls, num_threads=100)[0] == 6.0
        rewrites = [call(PROMPT, f"level 1 node {node} rewrite respond/0", seconds=2.0) for node in range(4)]
        assert clock_seconds(rewrites, num_threads=100)[0] == 2.0

    @given(
        st.lists(st.tuples(st.sampled_from(list(Role)), st.integers(0, 3), st.integers(0, 9), st.floats(0, 9))),
        st.integers(1, 64),
    )
    def test_the_bounds(self, drawn: list[tuple[Role, int, int, float]], threads: int) -> None:
        calls = [call(role, f"level {level} judge/{number}", seconds=seconds) for role, level, number, seconds in drawn]
        least, most = clock_seconds(calls, num_threads=threads)
        work = sum(one.seconds or 0.0 for one in calls)
        assert work / threads <= least <= most <= 2 * least + 1e-9
        more = clock_seconds(calls, num_threads=threads + 1)
        assert more[0] <= least + 1e-9
        assert more[1] <= most + 1e-9


class TestForecast:
    def test_the_range_holds_every_rehearsal_and_goes_beyond(self) -> None:
        rehearsals = [rehearsed(*[call()] * number) for number in (10, 12, 17)]
        bill = forecast(rehearsals, models=MODELS, num_threads=1)[None]
        assert (bill.calls.expected, bill.calls.low, bill.calls.high) == (13, 10 / MARGIN, 17 * MARGIN)
        assert bill.tokens.expected == 13 * 150
        assert bill.cost is not None
        assert bill.cost.low < 0.10 < 0.17 < bill.cost.high

    def test_what_is_not_known_is_unknown_and_what_is_not_used_is_nothing(self) -> None:
        bills = forecast([rehearsed(call(cost=None, seconds=None))], models=MODELS, num_threads=1)
        assert bills[TASK].cost is bills[None].cost is bills[TASK].seconds is bills[None].seconds is None
        assert bills[JUDGE].cost is not None
        assert bills[JUDGE].calls.high == bills[JUDGE].tokens.high == bills[JUDGE].cost.high == 0.0

    @pytest.mark.parametrize(
        ("cap", "figure", "most"),
        [
            (Cap(CapKind.LM_CALLS, 9), "calls", 9),
            (Cap(CapKind.TOKENS, 900), "tokens", 900 + 4 * 150),
            (Cap(CapKind.COST, 0.05), "cost", 0.05 + 4 * 0.01),
            (Cap(CapKind.SECONDS, 2.0), "seconds", 2.0 + 1.0),
        ],
    )
    def test_a_cap_ends_the_range(self, cap: Cap, figure: str, most: float) -> None:
        """A cap is exceeded by no more than the calls under way; one of a role bounds that role alone."""
        rehearsals = [rehearsed(*[call()] * 10)]
        for role in (None, TASK):
            scoped = replace(cap, role=role)
            bills = forecast(rehearsals, models=MODELS, num_threads=4, caps=[scoped])
            beyond = 3.0 if figure == "seconds" and role is TASK else 0.0  # of a role: the sum of the calls under way
            amount = getattr(bills[role], figure)
            assert amount.high == pytest.approx(most + beyond)
            assert amount.low <= amount.expected <= amount.high
        other = forecast(rehearsals, models=MODELS, num_threads=4, caps=[replace(cap, role=JUDGE)])
        assert other[None] == forecast(rehearsals, models=MODELS, num_threads=4)[None]

    def test_hours_of_one_server_are_the_time_on_the_clock(self) -> None:
        """Whatever roles it has, and shared by the length of their calls."""
        models = dict.fromkeys(Role, LOCAL.model_copy(update={"hourly_price": 3600.0}))
        calls = [call(role, f"level 0 judge/{number}", cost=None) for number in range(6) for role in (TASK, JUDGE)]
        calls = [one if one.role is TASK else replace(one, seconds=3.0) for one in calls]
        bills = forecast([rehearsed(*calls)], models=models, num_threads=4)
        total = bills[None]
        assert total.cost is not None
        assert total.seconds is not None
        assert total.cost.expected == pytest.approx(total.seconds.expected)
        assert bills[JUDGE].cost.expected == pytest.approx(3 * bills[TASK].cost.expected)

    def test_a_server_that_is_seldom_asked_costs_less(self) -> None:
        """Of two servers each is busy for at least its calls' share, at most all of the time, and longer with more."""
        models = {**MODELS, TASK: LOCAL.model_copy(update={"api_base": "http://b", "hourly_price": 3600.0})}
        costs = []
        for seconds in (0.1, 1.0, 10.0):
            calls = [call(TASK, f"level 0 judge/{n}", seconds=seconds, cost=None) for n in range(8)]
            calls += [call(JUDGE, f"level 0 judge/{n}", seconds=1.0) for n in range(8)]
            bills = forecast([rehearsed(*calls)], models=models, num_threads=4)
            assert 8 * seconds / 4 <= bills[TASK].cost.expected + 1e-9 <= bills[None].seconds.expected + 1e-9
            costs.append(bills[TASK].cost.expected / bills[None].seconds.expected)
        assert costs == sorted(costs)
