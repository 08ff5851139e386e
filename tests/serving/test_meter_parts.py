"""A meter that is a part of another: counted apart, capped together, halted together."""

from __future__ import annotations

import pytest
from dspy.lm15 import Message, Response, TextPart, Usage

from drpo.errors import BudgetExceededError
from drpo.serving.caps import caps_of
from drpo.serving.meter import FailedCall, Meter, RecordedCall
from drpo.serving.roles import Role


def call() -> RecordedCall:
    usage = Usage(input_tokens=3, output_tokens=2, total_tokens=5)
    return RecordedCall(Response(None, "m", Message.assistant([TextPart("x")]), "stop", usage), 1.0, 0.5)


def test_parts_are_counted_apart_and_together() -> None:
    """What each part used adds up to what the whole did."""
    whole = Meter()
    parts = [Meter(whole=whole), Meter(whole=whole)]
    for count, part in enumerate(parts, start=1):
        for _ in range(count):
            part.admit(Role.TASK)
            part.finish(Role.TASK, call())
        part.admit(Role.JUDGE)
        part.fail(Role.JUDGE, FailedCall("LMServerError", "x", 0.1), RuntimeError("x"))
    assert [part.usage[Role.TASK].calls for part in parts] == [1, 2]
    assert (whole.usage[Role.TASK].calls, whole.usage[Role.JUDGE].errors) == (3, 2)
    assert whole.usage[Role.TASK].cost == 1.5
    again = Meter()
    for part in parts:
        for role in Role:
            again.add(role, part.usage[role])
    assert again.usage == whole.usage


def test_a_cap_of_the_whole_halts_every_part() -> None:
    """The first call beyond it ends all, also where its maker hides the error; a part's own cap ends only itself."""
    whole = Meter(caps_of({"max_lm_calls": 3}))
    first, second = Meter(caps_of({"max_lm_calls": 2}), whole=whole), Meter(whole=whole)
    for _ in range(2):
        first.admit(Role.TASK)
        first.finish(Role.TASK, call())
    with pytest.raises(BudgetExceededError, match="max_lm_calls=2"):
        first.admit(Role.TASK)
    second.admit(Role.TASK)
    second.finish(Role.TASK, call())
    assert (first.halted, second.halted) == (None, None)
    with pytest.raises(BudgetExceededError, match="max_lm_calls=3"):
        second.admit(Role.TASK)
    for meter in (whole, first, second):
        with pytest.raises(BudgetExceededError, match="max_lm_calls=3"):
            meter.go_on()


def test_interrupts_reach_all() -> None:
    whole = Meter()
    part = Meter(whole=whole)
    part.halted = KeyboardInterrupt()
    assert isinstance(whole.halted, KeyboardInterrupt)
    assert part.abandoned is whole.abandoned
    assert part.services is whole.services


def test_failed_tries_count_unless_told_otherwise() -> None:
    """A budget in answered calls ends at the same call, whatever fails on the way."""
    for luck, admitted in ((True, False), (False, True)):
        meter = Meter(caps_of({"max_lm_calls": 1}), luck=luck)
        meter.admit(Role.TASK)
        meter.fail(Role.TASK, FailedCall("LMServerError", "x", 0.1), RuntimeError("x"))
        if admitted:
            meter.admit(Role.TASK)
        else:
            with pytest.raises(BudgetExceededError):
                meter.admit(Role.TASK)
