"""The one pool of a run: results in the order asked, failures that say the most, nothing begun after the end."""

from __future__ import annotations

import threading
import time
from contextvars import ContextVar

import pytest
from dspy.lm15 import Message, Response, TextPart, Usage

from drpo.errors import BudgetExceededError
from drpo.serving.calls import asking
from drpo.serving.caps import caps_of
from drpo.serving.meter import Meter, RecordedCall
from drpo.serving.roles import Role
from drpo.teleprompters.pool import TaskPool

THREADS = pytest.mark.parametrize("num_threads", [1, 8])
CALL = RecordedCall(Response(None, "m", Message.assistant([TextPart("x")]), "stop", Usage()), 0.0, None)


@THREADS
def test_results_come_in_the_order_asked(num_threads: int) -> None:
    """Invariant: `map`, `gather` and each `result` give the values by place, whatever ends first."""
    late = threading.Event()

    def work(number: int) -> int:
        if num_threads > 1 and number == 0:
            assert late.wait(5)  # the first to begin is the last to end
        if number == 7:
            late.set()
        return number * number

    squares = [number * number for number in range(8)]
    with TaskPool(num_threads, meter=Meter()) as pool:
        assert pool.map("square", work, range(8)) == squares
        late.clear()
        tasks = [pool.start(f"square/{number}", work, number) for number in range(8)]
        assert pool.gather(tasks) == squares
        assert [task.result() for task in tasks] == squares


@THREADS
def test_what_follows_a_result_starts_before_its_siblings_end(num_threads: int) -> None:
    """A task started after the first result runs while the others of the first kind still do."""
    followed = threading.Event()

    def rewrite(number: int) -> str:
        if num_threads > 1 and number == 1:
            assert followed.wait(5), "the first rewriting's judgement waited for the second rewriting"
        return f"instruction {number}"

    def judge(text: str) -> str:
        followed.set()
        return f"{text} judged"

    with TaskPool(num_threads, meter=Meter()) as pool:
        rewrites = [pool.start(f"rewrite/{number}", rewrite, number) for number in range(2)]
        judged = [pool.start(f"judge/{number}", judge, task.result()) for number, task in enumerate(rewrites)]
        assert pool.gather(judged) == ["instruction 0 judged", "instruction 1 judged"]


@THREADS
def test_a_failure_says_more_than_the_budgets(num_threads: int) -> None:
    """Invariant: of several failures the first that is not the budget's is raised, and `result` gives each its own."""

    both = threading.Barrier(min(num_threads, 2), timeout=5)

    def work(number: int) -> int:
        both.wait()  # the second has begun when the first fails
        raise BudgetExceededError("max_lm_calls=1 is reached") if number == 0 else KeyError("a bug")

    with TaskPool(num_threads, meter=Meter()) as pool:
        tasks = [pool.start(f"work/{number}", work, number) for number in range(2)]
        with pytest.raises(KeyError, match="a bug"):
            pool.gather(tasks)
        with pytest.raises(BudgetExceededError):
            tasks[0].result()


@pytest.mark.parametrize("by", ["map", "start"])
@THREADS
def test_nothing_begins_after_a_failure(num_threads: int, by: str) -> None:
    """What has not begun when a task fails never does; `map` and `start` with `gather` alike."""
    begun, failing = [], threading.Event()

    def work(number: int) -> int:
        begun.append(number)
        if number == 0:
            failing.set()
            raise ValueError("first")
        failing.wait(5)
        if num_threads > 1:
            threading.Event().wait(0.05)
        return number

    def run(pool: TaskPool) -> list[int]:
        if by == "map":
            return pool.map("work", work, range(100))
        return pool.gather([pool.start(f"work/{number}", work, number) for number in range(100)])

    with TaskPool(num_threads, meter=Meter()) as pool, pytest.raises(ValueError, match="first"):
        run(pool)
    assert len(begun) == 1 if num_threads == 1 else len(begun) < 100


@THREADS
def test_a_stopped_meter_ends_every_unfinished_task(num_threads: int) -> None:
    """Once a call is refused, tasks that hide the refusal, fail by it or have not begun end as the budget's."""
    meter = Meter(caps_of({"max_lm_calls": 3}))

    def work(number: int) -> int:
        try:
            meter.admit(Role.TASK)
        except BudgetExceededError:
            if number % 2:
                raise LookupError("what a program makes of it") from None
            return -1
        return number

    with TaskPool(num_threads, meter=meter) as pool:
        tasks = [pool.start(f"work/{number}", work, number) for number in range(20)]
        with pytest.raises(BudgetExceededError, match="max_lm_calls=3"):
            pool.gather(tasks)
        refused = 0
        for task in tasks:
            try:
                assert task.result() >= 0
            except BudgetExceededError:
                refused += 1
    assert refused >= 17


_COLOUR: ContextVar[str] = ContextVar("colour", default="none")


@THREADS
def test_a_task_sees_the_context_it_was_started_in(num_threads: int) -> None:
    """Context variables are those of the start, and what a task sets stays with it."""

    def work(colour: str) -> str:
        seen = _COLOUR.get()
        token = _COLOUR.set(colour)
        if num_threads == 1:
            _COLOUR.reset(token)
        return seen

    with TaskPool(num_threads, meter=Meter()) as pool:
        token = _COLOUR.set("red")
        first = pool.start("first", work, "blue")
        _COLOUR.reset(token)
        assert [first.result(), pool.start("second", work, "green").result()] == ["red", "none"]
    assert _COLOUR.get() == "none"


@THREADS
def test_calls_are_named_by_the_label_alone(num_threads: int) -> None:
    """`map` adds the item's place, `start` takes the label whole; names are equal for every number of threads."""

    def named(_: object) -> str:
        with asking("prompt", {"text": "x"}) as name:
            return name

    with TaskPool(num_threads, meter=Meter()) as pool:
        mapped = pool.map("level 2 rewrite", named, range(4))
        started = [pool.start(f"level 2 rewrite/{number}", named, None) for number in range(4)]
        assert mapped == pool.gather(started)
    assert len(set(mapped)) == 4


def test_with_one_thread_tasks_run_in_the_calling_thread_at_once() -> None:
    """Nothing waits to be asked for, and nothing leaves the thread."""
    ran: list[int] = []
    with TaskPool(1, meter=Meter()) as pool:
        pool.start("work", lambda _: ran.append(threading.get_ident()), None)
        assert ran == [threading.get_ident()]


def test_an_empty_gathering_is_empty() -> None:
    """No tasks, no results, no waiting."""
    with TaskPool(4, meter=Meter()) as pool:
        assert pool.gather([]) == []


@THREADS
def test_the_first_tasks_get_the_last_calls(num_threads: int) -> None:
    """Near a cap on calls it is the first tasks that are done, whatever thread is quick: what is paid for is the same."""
    meter, done = Meter(caps_of({"max_lm_calls": 5})), []

    def work(number: int) -> None:
        time.sleep(0.002 * (8 - number))
        meter.admit(Role.TASK)
        meter.finish(Role.TASK, CALL)
        done.append(number)

    with TaskPool(num_threads, meter=meter) as pool, pytest.raises(BudgetExceededError):
        pool.map("level", work, range(8))
    assert done == [0, 1, 2, 3, 4]
