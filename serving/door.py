"""The one door through which all calls of a run go.

Each role's LM is wrapped once (`metered`): its engine then asks the budget, answers from the record of an earlier,
interrupted run if it can, counts the call, and writes it down before the reply is used. A try that failed is written
down too; whether the call is tried again is decided here and nowhere else (`retrying.py`), so that each request that a
server sees is counted. DSPy's cache stands before this door: a cached reply costs nothing and is not counted. With a
record it is off (see `metered`).
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterator
from functools import partial
from typing import Any, Protocol

import dspy
from dspy._vendor.lm15.serde import request_to_dict
from dspy.clients.backend_selection import CLIENT_KEYS
from dspy.clients.errors import wrap_error
from dspy.lm15 import Request, Response, response_to_events

from ..errors import BudgetExceededError, RunDirectoryError
from .calls import asking, under_way
from .engine import InThread, LiteLLMEngine
from .meter import FailedCall, Meter, RecordedCall
from .patience import CallAbandoned, CallTimeout, within
from .retrying import LATE, PATIENCE, Next, Tries, given_up
from .roles import Role
from .secrets import scrub, without_secrets


class CallRecord(Protocol):
    """Where calls are kept, or a `RunDirectoryError` is raised; `teleprompters.record` has the durable one."""

    def find(self, key: str) -> RecordedCall | None:
        """Return the call of this key, or None if it was never answered."""

    def failures(self, key: str) -> list[FailedCall]:
        """Return the tries of this key that failed in earlier runs; once, so that they are counted once.

        Where a call was given up for good the list ends; the tries of the next call of this key come the next time.
        """

    def add(self, key: str, *, role: Role, request: dict[str, Any], call: RecordedCall | FailedCall) -> None:
        """Keep a call; returns only when it is safe."""


_LONGEST_MESSAGE = 500  # characters of an error that the record keeps


class MeteredEngine:
    """The door: budget, record, count, and then the real engine, as often as it takes.

    Args:
        inner: The real engine.
        role: What it is used for.
        meter: Counts the calls.
        record: Where they are kept. None: nowhere.
        retries: How often a call is tried again, at least 0.
        timeout: Seconds that a try is waited for. None: as long as the engine waits.
        patience: Seconds that an outage is waited for.
    """

    def __init__(
        self,
        inner: Any,
        *,
        role: Role,
        meter: Meter,
        record: CallRecord | None = None,
        retries: int = 0,
        timeout: float | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self._inner, self._role, self._meter, self._record = inner, role, meter, record
        self._timeout = timeout
        # Where there are several endpoints, each request to one of them is to be counted.
        self._ask = getattr(inner, "once", inner.complete)
        bases, model = getattr(inner, "bases", ()), getattr(inner, "model", "")
        itself: Hashable = inner if isinstance(inner, Hashable) else id(inner)
        name = without_secrets(" and ".join(bases)) or model or f"the service of the {role.value} LM"
        self._service = meter.services.of(tuple(sorted(bases)) or model or itself, name)
        self._tries = partial(
            Tries, self._service, who=f"the {role.value} LM", retries=retries,
            endpoints=max(1, len(bases)), patience=patience,
        )  # fmt: skip

    def __getattr__(self, name: str) -> Any:
        # What the endpoint can do (`supports_response_schema`, ...) is the real engine's to say.
        # `complete_legacy` and `once` are second doors beside this one.
        if name.startswith("_") or name in ("complete_legacy", "once"):
            raise AttributeError(name)
        return getattr(self._inner, name)

    def __deepcopy__(self, memo: dict[int, Any]) -> MeteredEngine:
        return self

    def complete(self, request: Request) -> Response:
        """Return the recorded reply of this request, or send it, count it and record it."""
        data = request_to_dict(request)
        with asking(self._role, data) as key:
            known = self._recorded(key, request.model)
            if known is not None:
                return known.response
            self._of_engine("warm_up")
            with under_way(key):
                return self._send(key, request, data).response

    def stream(self, request: Request) -> Iterator[Any]:
        """Yield the reply as one stream."""
        yield from response_to_events(self.complete(request))

    def _recorded(self, key: str, model: str) -> RecordedCall | None:
        if self._record is None:
            return None
        failed = None
        for failed in self._record.failures(key):
            self._meter.fail(self._role, failed)
        if failed is not None and failed.given_up:
            self._meter.lose(self._role)
            raise given_up(failed.given_up, failed.message, model=model)
        known = self._record.find(key)
        if known is not None:
            self._meter.finish(self._role, known, replayed=True)
        return known

    def _send(self, key: str, request: Request, data: dict[str, Any]) -> RecordedCall:
        tries = self._tries()
        while True:
            reply, follows, seconds = self._try(request, tries)
            if follows is None:
                return self._answered(key, data, reply, seconds)
            self._failed(key, data, reply, follows, seconds)
            self._meter.wait(self._role, follows.wait)

    def _try(self, request: Request, tries: Tries) -> tuple[Any, Next | None, float]:
        """Send a request once; return the reply, or the error and what follows it, and how long it took."""
        begin = time.perf_counter()
        with self._service.places.one(partial(self._meter.still, self._role)) as place:
            self._meter.add_wait(self._role, time.perf_counter() - begin)
            self._meter.admit(self._role)
            begin = time.perf_counter()
            try:
                response = self._reply(request, tries.longest)
            except BudgetExceededError as error:  # of a door behind this one: nothing was sent
                self._meter.drop(self._role)
                self._meter.refuse(str(error))
                raise
            except Exception as error:
                follows = tries.failed(error)
                if follows.too_many:
                    place.refused()
                return error, follows, time.perf_counter() - begin
            except BaseException:  # the run ends, and nobody knows what became of the request
                self._meter.drop(self._role)
                raise
            self._service.answered()
            place.answered()
            return response, None, time.perf_counter() - begin

    def _answered(self, key: str, data: dict[str, Any], response: Response, seconds: float) -> RecordedCall:
        simulated = self._of_engine("seconds", response)
        price = self._of_engine("price", response)
        call = RecordedCall(response=response, seconds=seconds if simulated is None else simulated, cost=price)
        try:
            self._keep(key, data, call)
        finally:  # it is under way until it is kept: who waits for the last call closes the record then
            self._meter.finish(self._role, call)
        return call

    def _failed(self, key: str, data: dict[str, Any], error: Exception, follows: Next, seconds: float) -> None:
        """Count and keep a try that failed.

        Raises:
            Exception: What it comes to, unless there is a next try.
        """
        raised, model = follows.error, str(data["model"])
        said = str(error)
        if follows.given_up:
            code, said = str(getattr(raised, "code", LATE)), str(getattr(raised, "message", raised))
        said = without_secrets(said, getattr(self._inner, "secrets", ()))[:_LONGEST_MESSAGE]
        failed = FailedCall(type(error).__name__, said, seconds, code if follows.for_good else None)
        try:
            self._keep(key, data, failed)
        finally:
            self._meter.fail(self._role, failed, error)
        if raised is None:
            return
        if follows.given_up:
            self._meter.lose(self._role)
            raise given_up(code, said, model=model) from error  # in the words that a resumed run will find
        if follows.ends_run:
            scrub(raised)  # it stands on the screen and in the log then
            self._meter.halted = self._meter.halted or wrap_error(raised, model=model)
        raise raised

    def _keep(self, key: str, data: dict[str, Any], call: RecordedCall | FailedCall) -> None:
        if self._record is None:
            return
        try:
            self._record.add(key, role=self._role, request=data, call=call)
        except RunDirectoryError as error:
            # A program or DSPy would make something else of it; what is paid for and not kept must end the run.
            self._meter.halted = self._meter.halted or error
            raise

    def _reply(self, request: Request, longest: float | None) -> Response:
        limits = [limit for limit in (self._timeout, longest) if limit is not None]
        if not limits:
            response: Response = self._ask(request)
            return response
        try:
            return within(min(limits), self._ask, request, unless=self._meter.abandoned)
        except CallAbandoned:
            raise KeyboardInterrupt from None
        except CallTimeout:
            raise given_up(
                LATE,
                f"the {self._role.value} LM gave no reply within {min(limits):g} s; "
                "raise the timeout per call, or look at the endpoint",
                model=request.model,
            ) from None

    def _of_engine(self, name: str, *given: Response) -> float | None:
        """Return what a method says that an engine need not have: `price` of a reply, or a simulated model's `seconds`.

        `warm_up` says nothing: it does what the first call is not to be timed with. Doors behind this one pass it on.
        """
        method = getattr(self._inner, name, None)
        return method(*given) if callable(method) else None


class _ThroughLM:
    """An engine over an LM that has none of its own to lend: DSPy's native client, or a class of the user's."""

    def __init__(self, lm: dspy.BaseLM) -> None:
        self._lm = lm
        self.bases = tuple(str(lm.kwargs[name]) for name in ("api_base", "base_url") if lm.kwargs.get(name))
        self.model = lm.model
        self.secrets = tuple(str(value) for name, value in lm.kwargs.items() if name.startswith(("api_key", "aws_")))
        for name in ("supports_function_calling", "supports_reasoning", "supports_response_schema", "supported_params"):
            setattr(self, name, getattr(lm, name))

    def complete(self, request: Request) -> Response:
        # The wrapping LM has the callbacks, the history and the usage of this call already.
        with dspy.context(disable_history=True, usage_tracker=None, callbacks=[]):
            response: Response = self._lm(request)
        return response


def metered(
    lm: dspy.BaseLM,
    *,
    role: Role,
    meter: Meter,
    record: CallRecord | None = None,
    timeout: float | None = None,
    patience: float = PATIENCE,
) -> dspy.LM:
    """Return a copy of an LM whose every request is counted and recorded under a role; the LM itself is untouched.

    With a record DSPy's cache is off: what it remembers of an interrupted run would not be counted in the resumed one,
    and whether the second of two equal requests finds it filled would depend on the threads.

    Args:
        lm: The LM.
        role: What it is used for.
        meter: Counts its calls.
        record: Where they are kept. None: nowhere.
        timeout: Seconds that a reply is waited for, above 0, whatever the engine does; after that the try has failed
            with an `LMTimeoutError`. None: as long as the engine waits.
        patience: Seconds that an outage is waited for, at least 0, from the first failure after the last answer. Of no
            effect on an LM with `num_retries=0`, which is asked once.
    """
    if record is not None and isinstance(lm, dspy.LM):
        lm = lm.copy(cache=False)

    def through(inner: Any) -> dict[str, Any]:
        engine = MeteredEngine(
            inner, role=role, meter=meter, record=record, retries=getattr(lm, "num_retries", None) or 0,
            timeout=timeout, patience=patience,
        )  # fmt: skip
        return {"engine": engine, "async_engine": InThread(engine), "num_retries": 0}

    if not isinstance(lm, dspy.LM) or type(lm).forward is not dspy.LM.forward:  # a class of the user's, which we ask
        sampling = {key: value for key, value in lm.kwargs.items() if key not in CLIENT_KEYS}
        options = {"cache": False, "callbacks": lm.callbacks, **sampling}
        return dspy.LM(lm.model, **through(_ThroughLM(lm)), **options)
    if not isinstance(lm.engine, str):
        return lm.copy(**through(lm.engine))
    if lm.engine == "lm15" or lm.model_type == "responses" or lm._providers:
        # Declared providers and the Responses API are routes that only DSPy's own client knows.
        inner = lm.copy(cache=False, num_retries=0, callbacks=[])
        return _without(lm, CLIENT_KEYS).copy(**through(_ThroughLM(inner)))
    options = {key: value for key, value in lm.kwargs.items() if key not in _SAMPLING_KEYS and value is not None}
    base = options.pop("api_base", None) or options.pop("base_url", None)
    from .settings import LMSettings  # slow to import

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
