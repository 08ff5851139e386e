"""One flat pool of threads: every LM call of a run is made by its tasks, and nothing nests."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, CancelledError, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from types import TracebackType
from typing import Any, Generic, TypeVar

from ..errors import BudgetExceededError
from ..serving.calls import call_scope
from ..serving.caps import CapKind
from ..serving.meter import Meter

CALLS = 4
"""How many calls a task makes at most, as a rule."""

T = TypeVar("T")
R = TypeVar("R")


class Task(Generic[R]):
    """One task that was started; `TaskPool.start` makes it."""

    def __init__(self, future: Future[R], *, meter: Meter) -> None:
        self._future, self._meter = future, meter

    def result(self) -> R:
        """Wait until the task has ended, and return its value.

        Raises:
            BudgetExceededError: If a cap was reached before it ended.
            Exception: What it failed with.
        """
        try:
            return self._future.result()
        except CancelledError:  # by a failure of a task that it was gathered with
            self._meter.go_on()
            if self._meter.stopped is not None:
                raise BudgetExceededError(self._meter.stopped) from None
            raise


class TaskPool:
    """Run tasks in threads, each in a copy of the caller's DSPy context, and give their results in the order asked.

    Args:
        num_threads: How many tasks run at once, at least 1. With 1 they run in the calling thread.
        meter: The run's counter; once it has refused a call, every task that is not finished ends so, and once the run
            is halted, every task.
    """

    def __init__(self, num_threads: int, *, meter: Meter) -> None:
        self._meter = meter
        self._executor = ThreadPoolExecutor(num_threads, thread_name_prefix="drpo") if num_threads > 1 else None
        # With one thread: what a task failed with. The run is over then, so later ones do not begin.
        self._failure: Exception | None = None
        self._open: set[Future[Any]] = set()

    def __enter__(self) -> TaskPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and not isinstance(error, Exception):  # calls under way may end, no further one begins
            self._meter.halted = self._meter.halted or KeyboardInterrupt()
        if self._executor is not None:
            self._executor.shutdown(wait=not self._meter.abandoned.done(), cancel_futures=True)

    def start(self, label: str, function: Callable[[T], R], item: T) -> Task[R]:
        """Begin `function(item)` as soon as a thread is free; with one thread, now.

        A task must not wait for another one: all threads could be waiting then.

        Args:
            label: Names the task in the record of calls: the same label must mean the same work in every run.
            function: What is done.
            item: What it is done with.

        Returns:
            The task. Ask for the result of each one that is started, or whether it ran would depend on the threads.

        Example:
            >>> with TaskPool(2, meter=Meter()) as pool:
            ...     pool.start("level 1 rewrite/0", str.upper, "be brief").result()
            'BE BRIEF'
        """
        if self._executor is not None:
            run = copy_context().run
            submitted = self._executor.submit(run, self._run, label, function, item)
            self._open.add(submitted)
            submitted.add_done_callback(self._open.discard)
            return Task(submitted, meter=self._meter)
        future: Future[R] = Future()
        try:
            if self._failure is not None:
                raise self._failure
            future.set_result(self._run(label, function, item))
        except Exception as error:
            future.set_exception(error)
            if not isinstance(error, BudgetExceededError):
                self._failure = error
        return Task(future, meter=self._meter)

    def settle(self) -> None:
        """Wait until nothing is under way, whatever becomes of it; then calls are allowed again, as far as caps let."""
        wait(list(self._open))
        self._meter.allow()

    def gather(self, tasks: Iterable[Task[R]]) -> list[R]:
        """Return the results of tasks, in their order.

        Raises:
            BudgetExceededError: If a cap was reached; of these tasks those not begun are dropped.
            Exception: The first failure of a task, once those that run have ended.
        """
        futures = [task._future for task in tasks]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            for future in futures:
                future.cancel()
        wait(futures)
        # A failure that is not the budget's says more than the refusals that follow it.
        failures = [error for future in futures if not future.cancelled() and (error := future.exception())]
        if failures:
            raise next((error for error in failures if not isinstance(error, BudgetExceededError)), failures[0])
        return [Task(future, meter=self._meter).result() for future in futures]

    def map(self, label: str, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Return `function(item)` of each item, in their order.

        Args:
            label: Names these tasks in the record of calls: the same label must mean the same work in every run.
            function: What is done; called at the same time for several items.
            items: What it is done with.

        Raises:
            BudgetExceededError: If a cap was reached; tasks not begun are dropped.
            Exception: The first failure of a task, once those that run have ended.
        """
        tasks = list(enumerate(items))
        if self._executor is None or len(tasks) < 2 or self._may_run_out(len(tasks)):
            return [self._run(f"{label}/{index}", function, item) for index, item in tasks]
        return self.gather([self.start(f"{label}/{index}", function, item) for index, item in tasks])

    def _may_run_out(self, count: int) -> bool:
        """Tell whether a cap may be reached by so many tasks: which of them come first must not depend on threads."""
        caps = [cap for cap in self._meter.caps if cap.kind is CapKind.LM_CALLS]
        if not any(cap.limit - (self._meter.used(cap) or 0) < CALLS * count for cap in caps):
            return False
        wait(list(self._open))
        return True

    def _run(self, label: str, function: Callable[[T], R], item: T) -> R:
        with call_scope(label):
            # DSPy wraps what an engine raises, and a program may hide it: the meter knows for certain.
            try:
                result = function(item)
            except Exception as error:
                self._meter.go_on()
                if self._meter.refusing is not None and not isinstance(error, BudgetExceededError):
                    raise BudgetExceededError(self._meter.refusing) from error
                raise
            self._meter.go_on()
            if self._meter.refusing is not None:
                raise BudgetExceededError(self._meter.refusing)
            return result
