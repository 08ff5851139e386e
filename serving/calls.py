"""Names of calls: what tells the calls of a run apart, alike in every run of one configuration.

A record of calls finds a call again by its name, whatever order threads finish in; a simulated model draws its luck
from it. It is made of the task that asks (`call_scope`), the request itself, and how often the task was answered it
before: a call that failed keeps its name for the next try, so what is on record does not depend on when a server fails.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")

CALL_HEADER = "X-DRPO-Call"
"""What tells a simulated model behind an endpoint which call of a run it answers; no other one is sent it."""


class _Scope:
    """One task, and the requests that it has made: how many of each, and the numbers of those that failed."""

    def __init__(self, label: str, task: str = "") -> None:
        self.label = label
        self.task = task
        self.asked: Counter[str] = Counter()
        self.free: dict[str, list[int]] = {}
        self.lock = threading.Lock()


_OUTSIDE = _Scope("outside")
_SCOPE: ContextVar[_Scope] = ContextVar("drpo_call_scope", default=_OUTSIDE)
_SAMPLE: ContextVar[int] = ContextVar("drpo_sample", default=0)
_CALL: ContextVar[str] = ContextVar("drpo_call", default="")


def call_scope(label: str) -> AbstractContextManager[None]:
    """Name the task whose LM calls follow; equal names must mean the same task in every run of one configuration."""
    return _held(_SCOPE, _Scope(label, current_task() or label))


def shared_scope(label: str) -> Callable[[], AbstractContextManager[None]]:
    """Name a task that several threads work on; what it returns is entered by each of them.

    Equal requests of the task are numbered in the order in which they are made, whatever thread makes them. Within the
    call of another LM (one that is metered by a run of its own) the task is that call.
    """
    shared = _Scope(label, label)

    def enter() -> AbstractContextManager[None]:
        call = current_call()
        return call_scope(f"{label}: {call}") if call else _held(_SCOPE, shared)

    return enter


def sample(number: int) -> AbstractContextManager[None]:
    """Number the samples that one prompt is asked for; `current_sample` tells a scripted model which one it writes."""
    return _held(_SAMPLE, number)


def under_way(key: str) -> AbstractContextManager[None]:
    """Say which call is being made, to whatever answers it."""
    return _held(_CALL, key)


@contextmanager
def _held(variable: ContextVar[T], value: T) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


@contextmanager
def asking(role: str, request: dict[str, Any]) -> Iterator[str]:
    """Give the name of the call that is about to be made; each asking counts, unless it fails.

    Args:
        role: The role that asks.
        request: The request as plain data.
    """
    scope = _SCOPE.get()
    body = json.dumps([scope.label, role, request], sort_keys=True, ensure_ascii=False)
    digest = hashlib.sha256(body.encode("utf-8", "surrogatepass")).hexdigest()
    with scope.lock:
        if free := scope.free.get(digest):
            number = heapq.heappop(free)
        else:
            scope.asked[digest] += 1
            number = scope.asked[digest]
    try:
        yield f"{digest}-{number}"
    except BaseException:
        with scope.lock:
            heapq.heappush(scope.free.setdefault(digest, []), number)
        raise


def current_task() -> str:
    """Return the name of the outermost task under way, whatever is named within it; empty outside of all."""
    return _SCOPE.get().task


def current_sample() -> int:
    """Return the number of the sample that is being asked for, 0 outside of `sample`."""
    return _SAMPLE.get()


def current_call() -> str:
    """Return the name of the call under way; empty outside of a metered LM."""
    return _CALL.get()
