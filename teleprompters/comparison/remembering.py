"""The LMs of one entrant: its calls have names of their own, and no certain reply is paid for twice.

DSPy's optimizers are written for a cache: they ask for the same evaluation again and again. DSPy's own belongs to the
process, so that one entrant would live on what another has paid for; it is off here, and each entrant gets a memory.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from dspy._vendor.lm15.serde import request_to_dict
from dspy.lm15 import Request, Response, response_to_events

from ...errors import BudgetExceededError
from ...serving.calls import shared_scope
from ...serving.engine import InThread
from ..roles import RunLMs


class CallsRanOutError(BaseException):
    """The calls of an optimizer ran out. No `Exception`: DSPy would make a score of it, and go on."""


def remembering(lms: RunLMs, label: str, *, memory: bool = True, cut_off: bool = False) -> RunLMs:
    """Return metered LMs whose calls are named after one entrant.

    Args:
        lms: Metered LMs.
        label: Names the entrant's work in the record of calls.
        memory: Whether answers and judgements at temperature 0 are given from memory if they are asked for again.
        cut_off: Whether a call that a cap refuses ends the entrant's work by a `CallsRanOutError`.
    """
    scope = shared_scope(label)

    def through(lm: Any, *, remembers: bool) -> Any:
        if lm is None:
            return None
        engine = RememberingEngine(lm.engine, scope=scope, remembers=remembers, cut_off=cut_off)
        return lm.copy(engine=engine, async_engine=InThread(engine))

    task, judge = through(lms.task, remembers=memory), through(lms.judge, remembers=memory)
    criteria, prompt = through(lms.criteria, remembers=False), through(lms.prompt, remembers=False)
    reward = lms.reward
    metric = lms.metric if reward is None else reward.bound(judge_lm=judge, criteria_lm=criteria)
    return replace(lms, task=task, judge=judge, criteria=criteria, prompt=prompt, metric=metric)


class RememberingEngine:
    """An engine that names its calls, and sends equal requests at temperature 0 once.

    Args:
        inner: The metered engine.
        scope: Names the calls.
        remembers: Whether replies are remembered.
        cut_off: Whether a call that is refused ends everything.
    """

    def __init__(
        self, inner: Any, *, scope: Callable[[], AbstractContextManager[None]], remembers: bool, cut_off: bool
    ) -> None:
        self._inner, self._scope, self._remembers, self._cut_off = inner, scope, remembers, cut_off
        self._replies: dict[str, Response] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in ("complete_legacy", "once"):
            raise AttributeError(name)
        return getattr(self._inner, name)

    def __deepcopy__(self, memo: dict[int, Any]) -> RememberingEngine:
        return self

    def complete(self, request: Request) -> Response:
        """Return the reply to a request, from memory if it is there."""
        if not self._remembers or request.config.temperature != 0:
            return self._ask(request)
        body = json.dumps(request_to_dict(request), sort_keys=True)
        key = hashlib.sha256(body.encode("utf-8", "surrogatepass")).hexdigest()
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:  # the second of two equal requests waits for the first, whatever thread makes it
            if key not in self._replies:
                self._replies[key] = self._ask(request)
        return self._replies[key]

    def stream(self, request: Request) -> Iterator[Any]:
        """Yield the reply as one stream."""
        yield from response_to_events(self.complete(request))

    def _ask(self, request: Request) -> Response:
        with self._scope():
            try:
                reply: Response = self._inner.complete(request)
            except BudgetExceededError as error:
                if self._cut_off:
                    raise CallsRanOutError(str(error)) from error
                raise
            return reply
