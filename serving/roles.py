"""The four roles of a run, and the one door through which all their calls go.

Each role's LM is wrapped once (`metered`): its engine then asks the budget, answers from the record of an earlier,
interrupted run if it can, counts the call, and writes it down before the reply is used. A call that failed is written
down too, and asked again by a resumed run. DSPy's cache stands before this door: a cached reply costs nothing and is
not counted. With a record it is off (see `metered`).
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol

import dspy
from dspy._vendor.lm15.serde import request_to_dict
from dspy.clients.backend_selection import CLIENT_KEYS
from dspy.clients.errors import wrap_error
from dspy.lm15 import Request, Response, response_to_events
from dspy.utils.exceptions import LMTimeoutError

from ..errors import BudgetExceededError, ConfigError, RunDirectoryError
from .calls import asking, under_way
from .engine import InThread, LiteLLMEngine, build_lm
from .patience import CallAbandoned, CallTimeout, within
from .secrets import without_secrets
from .settings import LMSettings


class Role(StrEnum):
    """What an LM is used for."""

    TASK = "task"
    """Answers the queries."""
    JUDGE = "judge"
    """Scores the answers."""
    CRITERIA = "criteria"
    """Picks the criteria of a query."""
    PROMPT = "prompt"
    """Rewrites instructions."""


@dataclass(frozen=True)
class Usage:
    """What one role has used."""

    calls: int = 0
    """Requests sent, failed ones included."""
    errors: int = 0
    """Requests that failed."""
    replayed: int = 0
    """Replies taken from the record of an earlier run instead of sending the request."""
    truncated: int = 0
    """Replies that ended at the token limit."""
    prompt_tokens: int = 0
    """Tokens read, as the server counts them."""
    completion_tokens: int = 0
    """Tokens written, as the server counts them."""
    seconds: float = 0.0
    """Sum of the calls' durations; calls overlap, so it exceeds the run's."""
    cost: float | None = 0.0
    """Price in dollars; None once a call's price is unknown."""

    @property
    def tokens(self) -> int:
        """Tokens read and written."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True)
class RecordedCall:
    """One finished call as the record keeps it."""

    response: Response
    """The reply."""
    seconds: float
    """How long it took."""
    cost: float | None
    """Its price in dollars; None if unknown."""


@dataclass(frozen=True)
class FailedCall:
    """One try of a call that came back with an error."""

    kind: str
    """The class of the error."""
    message: str
    """What it said, without secrets."""
    seconds: float
    """How long it took."""


class CallRecord(Protocol):
    """Where calls are kept, or a `RunDirectoryError` is raised; `teleprompters.record` has the durable one."""

    def find(self, key: str) -> RecordedCall | None:
        """Return the call of this key, or None if it was never answered."""

    def failures(self, key: str) -> list[FailedCall]:
        """Return the tries of this key that failed in earlier runs; once, so that they are counted once."""

    def add(self, key: str, *, role: Role, request: dict[str, Any], call: RecordedCall | FailedCall) -> None:
        """Keep a call; returns only when it is safe."""


@dataclass
class Meter:
    """Counts calls, tokens, seconds and money by role, and holds the caps over all roles together.

    Args:
        max_lm_calls: Most requests that may be sent. None: no cap.
        max_tokens: No request is sent once so many tokens are used. None: no cap.
        max_cost: No request is sent once so many dollars are spent. None: no cap.
    """

    max_lm_calls: int | None = None
    max_tokens: int | None = None
    max_cost: float | None = None
    usage: dict[Role, Usage] = field(default_factory=lambda: {role: Usage() for role in Role})
    stopped: str | None = None
    """Why no further call is allowed; None while calls are allowed."""
    failures: dict[Role, Exception] = field(default_factory=dict)
    """The last error of each role that had one."""
    kinds: dict[Role, Counter[str]] = field(default_factory=lambda: {role: Counter() for role in Role})
    """How often each kind of error occurred, by role."""
    halted: BaseException | None = None
    """Why the run ends at once, with nothing more sent: it was interrupted, or its record cannot be written."""
    abandoned: Future[None] = field(default_factory=Future, repr=False)
    """Done once not even the calls under way are waited for."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def admit(self, role: Role) -> None:
        """Count a call that is about to be sent, or refuse it.

        Raises:
            BudgetExceededError: If a cap is reached; nothing is counted then.
            KeyboardInterrupt, RunDirectoryError: If the run is halted.
        """
        self.go_on()
        with self._lock:
            self.stopped = self.stopped or self._reached()
            if self.stopped:
                raise BudgetExceededError(self.stopped)
            self._change(role, calls=1)

    def go_on(self) -> None:
        """Raise if the run is halted.

        Raises:
            KeyboardInterrupt, RunDirectoryError: Why it is.
        """
        if self.halted is not None:
            raise type(self.halted)(*self.halted.args)

    def fail(self, role: Role, failed: FailedCall, error: BaseException) -> None:
        """Count a call that came back with an error."""
        with self._lock:
            self._change(role, errors=1, seconds=failed.seconds)
            if isinstance(error, Exception):
                self.kinds[role][failed.kind] += 1
                self.failures[role] = error

    def recall(self, role: Role, failed: FailedCall) -> None:
        """Count a try that failed in an earlier run."""
        with self._lock:
            self._change(role, calls=1, errors=1, seconds=failed.seconds)
            self.kinds[role][failed.kind] += 1

    def check(self) -> None:
        """Raise if every request of a role failed: a program or a metric may have hidden that from its caller.

        Raises:
            LMError: The role's last failure.
        """
        for role, error in self.failures.items():
            if self.usage[role].errors == self.usage[role].calls:
                raise wrap_error(error, model=role.value) from error

    def finish(self, role: Role, call: RecordedCall, *, replayed: bool = False) -> None:
        """Count a call's tokens, seconds and price; a replayed one also counts as the call that it once was."""
        used = call.response.usage
        with self._lock:
            self._change(
                role,
                calls=int(replayed),
                replayed=int(replayed),
                truncated=int(call.response.finish_reason == "length"),
                prompt_tokens=used.input_tokens or 0,
                completion_tokens=used.output_tokens or 0,
                seconds=call.seconds,
            )
            was = self.usage[role].cost
            now = None if was is None or call.cost is None else was + call.cost
            self.usage[role] = replace(self.usage[role], cost=now)

    def totals(self, name: str) -> int:
        """Return the sum over the roles of one count, `calls` or `tokens` for example."""
        return sum(getattr(usage, name) for usage in self.usage.values())

    def _change(self, role: Role, **amounts: float) -> None:
        was = self.usage[role]
        self.usage[role] = replace(was, **{name: getattr(was, name) + amount for name, amount in amounts.items()})

    def _reached(self) -> str | None:
        costs = [usage.cost for usage in self.usage.values()]
        spent = sum(cost for cost in costs if cost is not None)
        if self.max_lm_calls is not None and self.totals("calls") >= self.max_lm_calls:
            return f"max_lm_calls={self.max_lm_calls} is reached"
        if self.max_tokens is not None and self.totals("tokens") >= self.max_tokens:
            return f"max_tokens={self.max_tokens} is reached"
        if self.max_cost is not None:
            if None in costs:
                return f"max_cost={self.max_cost}: a call has no known price; cap the run by max_lm_calls or max_tokens"
            if spent >= self.max_cost:
                return f"max_cost={self.max_cost} dollars is reached"
        return None


_LONGEST_MESSAGE = 500  # characters of an error that the record keeps


class MeteredEngine:
    """The door: budget, record, count, and then the real engine."""

    def __init__(
        self, inner: Any, *, role: Role, meter: Meter, record: CallRecord | None, timeout: float | None = None
    ) -> None:
        self._inner, self._role, self._meter, self._record = inner, role, meter, record
        self._timeout = timeout

    def __getattr__(self, name: str) -> Any:
        # What the endpoint can do (`supports_response_schema`, ...) is the real engine's to say.
        # `complete_legacy` is a second door beside this one.
        if name.startswith("_") or name == "complete_legacy":
            raise AttributeError(name)
        return getattr(self._inner, name)

    def __deepcopy__(self, memo: dict[int, Any]) -> MeteredEngine:
        return self

    def complete(self, request: Request) -> Response:
        """Return the recorded reply of this request, or send it, count it and record it."""
        data = request_to_dict(request)
        with asking(self._role, data) as key:
            known = self._recorded(key)
            if known is not None:
                return known.response
            with under_way(key):
                return self._send(key, request, data).response

    def stream(self, request: Request) -> Iterator[Any]:
        """Yield the reply as one stream."""
        yield from response_to_events(self.complete(request))

    def _recorded(self, key: str) -> RecordedCall | None:
        if self._record is None:
            return None
        for failed in self._record.failures(key):
            self._meter.recall(self._role, failed)
        known = self._record.find(key)
        if known is not None:
            self._meter.finish(self._role, known, replayed=True)
        return known

    def _send(self, key: str, request: Request, data: dict[str, Any]) -> RecordedCall:
        self._meter.admit(self._role)
        begin = time.perf_counter()
        try:
            response = self._reply(request)
        except BaseException as error:
            failed = self._failed(error, time.perf_counter() - begin)
            self._meter.fail(self._role, failed, error)
            if isinstance(error, Exception):  # else the run ends, and nobody knows what became of the call
                self._keep(key, data, failed)
            raise
        call = RecordedCall(response=response, seconds=time.perf_counter() - begin, cost=self._price(response))
        self._meter.finish(self._role, call)
        self._keep(key, data, call)
        return call

    def _keep(self, key: str, data: dict[str, Any], call: RecordedCall | FailedCall) -> None:
        if self._record is None:
            return
        try:
            self._record.add(key, role=self._role, request=data, call=call)
        except RunDirectoryError as error:
            # A program or DSPy would make something else of it; what is paid for and not kept must end the run.
            self._meter.halted = self._meter.halted or error
            raise

    def _failed(self, error: BaseException, seconds: float) -> FailedCall:
        secrets = getattr(self._inner, "secrets", ())
        return FailedCall(type(error).__name__, without_secrets(str(error), secrets)[:_LONGEST_MESSAGE], seconds)

    def _reply(self, request: Request) -> Response:
        if self._timeout is None:
            response: Response = self._inner.complete(request)
            return response
        try:
            return within(self._timeout, self._inner.complete, request, unless=self._meter.abandoned)
        except CallAbandoned:
            raise KeyboardInterrupt from None
        except CallTimeout:
            # `programs/outages.py` tells it by its code from a time-out that the endpoint reports.
            raise LMTimeoutError(
                f"the {self._role.value} LM gave no reply within {self._timeout:g} s; "
                "raise the timeout per call, or look at the endpoint",
                code="call_timeout",
                model=request.model,
            ) from None

    def _price(self, response: Response) -> float | None:
        price = getattr(self._inner, "price", None)
        return price(response) if callable(price) else None


class _ThroughLM:
    """An engine over an LM that has none of its own to lend: DSPy's native client, or a class of the user's."""

    def __init__(self, lm: dspy.BaseLM) -> None:
        self._lm = lm
        self.secrets = tuple(str(value) for name, value in lm.kwargs.items() if name.startswith(("api_key", "aws_")))
        for name in ("supports_function_calling", "supports_reasoning", "supports_response_schema", "supported_params"):
            setattr(self, name, getattr(lm, name))

    def complete(self, request: Request) -> Response:
        # The wrapping LM has the callbacks, the history and the usage of this call already.
        with dspy.context(disable_history=True, usage_tracker=None, callbacks=[]):
            response: Response = self._lm(request)
        return response


def as_lm(value: dspy.BaseLM | str | None, *, name: str) -> dspy.BaseLM | None:
    """Return the LM that a user gave as an object or as a LiteLLM model string.

    Args:
        value: An LM, a model string, or None.
        name: The argument's name, for the error.

    Raises:
        ConfigError: If the value is neither.
    """
    if value is None or isinstance(value, dspy.BaseLM):
        return value
    if isinstance(value, str) and value.strip():
        return build_lm(LMSettings(model=value))
    raise ConfigError(f"{name}={value!r}: give a dspy.LM or a LiteLLM model string such as 'openai/gpt-4o-mini'")


def metered(
    lm: dspy.BaseLM, *, role: Role, meter: Meter, record: CallRecord | None = None, timeout: float | None = None
) -> dspy.LM:
    """Return a copy of an LM whose every request is counted and recorded under a role; the LM itself is untouched.

    With a record DSPy's cache is off: what it remembers of an interrupted run would not be counted in the resumed one,
    and whether the second of two equal requests finds it filled would depend on the threads.

    Args:
        lm: The LM.
        role: What it is used for.
        meter: Counts its calls.
        record: Where they are kept. None: nowhere.
        timeout: Seconds that a reply is waited for, above 0, whatever the engine does; after that the request has
            failed with an `LMTimeoutError`, which the LM's `num_retries` hold for. None: as long as the engine waits.
    """
    if record is not None and isinstance(lm, dspy.LM):
        lm = lm.copy(cache=False)

    def through(inner: Any) -> dict[str, Any]:
        engine = MeteredEngine(inner, role=role, meter=meter, record=record, timeout=timeout)
        return {"engine": engine, "async_engine": InThread(engine)}

    if not isinstance(lm, dspy.LM) or type(lm).forward is not dspy.LM.forward:  # a class of the user's, which we ask
        sampling = {key: value for key, value in lm.kwargs.items() if key not in CLIENT_KEYS}
        options = {"cache": False, "num_retries": 0, "callbacks": lm.callbacks, **sampling}
        return dspy.LM(lm.model, **through(_ThroughLM(lm)), **options)
    if not isinstance(lm.engine, str):
        return lm.copy(**through(lm.engine))
    if lm.engine == "lm15" or lm.model_type == "responses" or lm._providers:
        # Declared providers and the Responses API are routes that only DSPy's own client knows.
        inner = lm.copy(cache=False, num_retries=0, callbacks=[])
        return _without(lm, CLIENT_KEYS).copy(**through(_ThroughLM(inner)))
    options = {key: value for key, value in lm.kwargs.items() if key not in _SAMPLING_KEYS and value is not None}
    base = options.pop("api_base", None) or options.pop("base_url", None)
    settings = LMSettings(model=lm.model, model_type=lm.model_type, api_base=base)
    return _without(lm, options.keys() | CLIENT_KEYS).copy(**through(LiteLLMEngine(settings, options=options)))


# The arguments that a canonical request carries; every other one belongs to the connection or to one provider.
_SAMPLING_KEYS = frozenset(
    {"temperature", "max_tokens", "max_completion_tokens", "top_p", "stop", "seed", "frequency_penalty",
     "presence_penalty", "logprobs", "top_logprobs", "n", "rollout_id", "prompt_cache"}
)  # fmt: skip


def _without(lm: dspy.LM, keys: Any) -> dspy.LM:
    copied = lm.copy()
    copied.kwargs = {key: value for key, value in copied.kwargs.items() if key not in keys}
    return copied
