"""One flat pool of threads: every LM call of a run is made by its tasks, and nothing nests."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from types import TracebackType
from typing import TypeVar

from ..errors import BudgetExceededError
from ..serving.calls import call_scope
from ..serving.roles import Meter

T = TypeVar("T")
R = TypeVar("R")


class TaskPool:
    """Run tasks in threads, each in a copy of the caller's DSPy context, and give their results in the order asked.

    Args:
        num_threads: How many tasks run at once, at least 1. With 1 they run in the calling thread.
        meter: The run's counter; once it has refused a call, every task that is not finished ends so.
    """

    def __init__(self, num_threads: int, *, meter: Meter) -> None:
        self._meter = meter
        self._executor = ThreadPoolExecutor(num_threads, thread_name_prefix="drpo") if num_threads > 1 else None

    def __enter__(self) -> TaskPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)

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
        if self._executor is None or len(tasks) < 2:
            return [self._run(f"{label}/{index}", function, item) for index, item in tasks]
        futures: list[Future[R]] = [
            self._executor.submit(copy_context().run, self._run, f"{label}/{index}", function, item)
            for index, item in tasks
        ]
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
        return [future.result() for future in futures]

    def _run(self, label: str, function: Callable[[T], R], item: T) -> R:
        with call_scope(label):
            # DSPy wraps what an engine raises, and a program may hide it: the meter knows for certain.
            try:
                result = function(item)
            except Exception as error:
                if self._meter.stopped is not None and not isinstance(error, BudgetExceededError):
                    raise BudgetExceededError(self._meter.stopped) from error
                raise
            if self._meter.stopped is not None:
                raise BudgetExceededError(self._meter.stopped)
            return result
