"""A call that runs out of patience makes its evaluation missing: neither an outage nor a bad answer, nor a hung run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import dspy
import pytest
from contract_world import World
from variants import slow

from drpo import DynamicReward, Responder
from drpo.errors import JudgeError
from drpo.serving.door import metered
from drpo.serving.meter import Meter
from drpo.serving.roles import Role
from drpo.serving.scripted import Prompt
from drpo.teleprompters.evaluation import Evaluator, Judged
from drpo.teleprompters.pool import TaskPool

THREADS = pytest.mark.parametrize("num_threads", [8, *slow(1)])
PATIENCE = 0.25


class Late:
    """Service of a world in which calls of one role that name a query are not answered before the test's end."""

    def __init__(self, role: str, slow: str) -> None:
        self.released = threading.Event()
        self._role, self._slow = role, slow

    def __call__(self, role: str, prompt: Prompt) -> None:
        if role == self._role and self._slow in prompt.text:
            self.released.wait(10)


@pytest.fixture
def late() -> Iterator[Callable[[str, str], Late]]:
    """Make late services, whose calls are let go at the end."""
    made: list[Late] = []

    def make(role: str, slow: str) -> Late:
        made.append(Late(role, slow))
        return made[-1]

    yield make
    for one in made:
        one.released.set()


def evaluate(world: World, num_threads: int, *, max_errors: int = 5, count: int = 6) -> tuple[list[Judged], Evaluator]:
    """Judge the student on queries `number 0`, `number 1`, ... with patience for each call."""
    meter = Meter()
    lms: dict[str, Any] = {
        role: metered(getattr(world, role), role=Role(role), meter=meter, timeout=PATIENCE)
        for role in ("task", "judge", "criteria")
    }
    evaluator = Evaluator(DynamicReward(lms["judge"], lms["criteria"]), max_errors=max_errors)
    examples = [dspy.Example(query=f"Question number {number}?").with_inputs("query") for number in range(count)]
    with dspy.context(lm=lms["task"]), TaskPool(num_threads, meter=meter) as pool:
        judged = pool.map("judge", lambda example: evaluator(Responder(adapter="chat"), example), examples)
    return judged, evaluator


@THREADS
@pytest.mark.parametrize("role", ["judge", *slow("task", "criteria")])
def test_a_straggler_makes_its_evaluation_missing(
    role: str, num_threads: int, late: Callable[[str, str], Late]
) -> None:
    """Invariant: its query has no reward and says why, the others are as they would be, and nothing else is counted."""
    plain, _ = evaluate(World(), num_threads)
    judged, evaluator = evaluate(World(before=late(role, "number 3?")), num_threads)
    missing = judged[3]
    assert missing.reward is None
    assert missing.feedback is None
    assert f"the {role} LM gave no reply within 0.25 s" in missing.error
    assert bool(missing.answer) == (role != "task")
    assert [one.reward for one in judged[:3] + judged[4:]] == [one.reward for one in plain[:3] + plain[4:]]
    assert (evaluator.judgements, evaluator.missing_judgements, evaluator.program_errors) == (6, 1, 0)
    evaluator.check()


@THREADS
def test_mostly_late_replies_end_the_run(num_threads: int, late: Callable[[str, str], Late]) -> None:
    """A judge that never answers in time is no search: it ends as when its replies cannot be read."""
    with pytest.raises(JudgeError, match=r"the last because of: LMTimeoutError: .*the judge LM gave no reply"):
        evaluate(World(before=late("judge", "number")), num_threads, max_errors=2, count=2)


def test_a_program_that_never_answers_in_time_is_noticed(late: Callable[[str, str], Late]) -> None:
    """However few the evaluations were, nothing judged is no result."""
    _, evaluator = evaluate(World(before=late("task", "number")), 8, count=2)
    with pytest.raises(JudgeError, match="the task LM gave no reply"):
        evaluator.check()
