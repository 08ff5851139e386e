"""LiteLLM as a DSPy engine: chat and base models, one endpoint or several, JSON schemas where the server takes them.

DSPy 3.4 reaches many providers by a client of its own and tells an unknown model apart from one that takes JSON schemas
only by its catalogue. Both matter here: the LMs of a run are local as often as not. So a role's `dspy.LM` is given this
engine, which sends each request through LiteLLM and says what the endpoint can do.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import dspy
from dspy.clients._http import retry_after_seconds
from dspy.clients.engines.litellm_errors import litellm_errors
from dspy.clients.lm15_boundary import request_kwargs, response_value
from dspy.lm15 import LM15Error, Request, Response, response_to_events

from ..errors import ConfigError
from .calls import CALL_HEADER, current_call, current_sample
from .endpoints import Endpoints
from .prices import Prices
from .secrets import remember, scrub
from .simulated import SIMULATED
from .wire_errors import told_apart

if TYPE_CHECKING:
    from .settings import LMSettings
    from .simulated.world import World

# vLLM's own name in LiteLLM; LiteLLM knows no capabilities of what is served under it, but vLLM takes JSON schemas.
_LOCAL_PROVIDERS = ("hosted_vllm/",)


class LiteLLMEngine:
    """Send canonical requests through LiteLLM, each to one of the endpoints if there are several.

    Args:
        settings: The role's model, endpoints and timeouts. Sampling stands on the `dspy.LM`, not here.
        options: Further keyword arguments of `litellm.completion` (keys, headers), kept in memory only.
    """

    supports_function_calling = False
    supports_reasoning = False

    def __init__(self, settings: LMSettings, *, options: dict[str, Any] | None = None) -> None:
        self.settings = settings
        self._prices = Prices(settings)
        self._options = {"timeout": settings.timeout, "drop_params": True, **(options or {})}
        if settings.extra_body:
            self._options["extra_body"] = settings.extra_body
        if settings.api_key_env is not None:
            self._options["api_key"] = _environment_key(settings.api_key_env)
        remember({**self._options, "api_base": settings.api_base})
        self.endpoints = Endpoints(len(self.bases) or 1)
        """Which of them rest, and how busy each is."""

    def __deepcopy__(self, memo: dict[int, Any]) -> LiteLLMEngine:
        return self  # copies of an LM ask the same endpoints: what is known of them holds for all

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no text that is written down may hold: keys and headers."""
        headers = self._options.get("extra_headers") or self._options.get("headers") or {}
        keys = (value for name, value in self._options.items() if "key" in name or "token" in name or "secret" in name)
        return tuple(value for value in (*keys, *dict(headers).values()) if isinstance(value, str))

    @cached_property
    def supports_response_schema(self) -> bool:
        """Whether JSON schemas are sent with the requests."""
        if self.settings.structured_output is not None:
            return self.settings.structured_output
        if self.settings.model.startswith(_LOCAL_PROVIDERS):
            return True
        return bool(_litellm().supports_response_schema(model=self.settings.model))

    @cached_property
    def supported_params(self) -> frozenset[str]:
        """The request parameters that adapters may use."""
        known = frozenset(_litellm().get_supported_openai_params(model=self.settings.model) or ())
        return known | {"response_format"} if self.supports_response_schema else known - {"response_format"}

    @property
    def model(self) -> str:
        """The model string."""
        return self.settings.model

    @property
    def bases(self) -> tuple[str, ...]:
        """The endpoints' addresses; empty: the provider's own."""
        base = self.settings.api_base
        return (base,) if isinstance(base, str) else base or ()

    def complete(self, request: Request) -> Response:
        """Return the reply to a request; where one endpoint fails, the others are asked at once.

        Whether a request is tried again after that is DSPy's to say, and in a run `retrying.py`'s.
        """
        for _ in range(len(self.endpoints) - 1):
            try:
                return self.once(request)
            except LM15Error as error:
                if not getattr(error, "elsewhere", False):
                    raise
        return self.once(request)

    def warm_up(self) -> None:
        """Import LiteLLM, so that the first call is not timed with the seconds that this takes."""
        _litellm()

    def once(self, request: Request) -> Response:
        """Send one request to one endpoint and return its reply; LiteLLM's errors become DSPy's."""
        metered = self._prices.metered(current_call())
        with self.endpoints.one() as place, _errors(request.model), metered:
            raw = self._send[place](**self._arguments(request))
        return response_value(raw, "chat", request)

    def stream(self, request: Request) -> Iterator[Any]:
        """Yield the finished reply as one stream, for callers of `dspy.streamify`."""
        yield from response_to_events(self.complete(request))

    def price(self, response: Response) -> float | None:
        """Return the dollars that a reply to the call under way costs, None if its price is unknown."""
        return self._prices.of(response.usage, current_call())

    def seconds(self, response: Response) -> float | None:
        """Return how long a simulated model would have taken for a reply, None for any other: it is measured then."""
        if not self._is_simulated:
            return None
        from .simulated.pace import seconds_of

        return seconds_of(response)

    def close(self) -> None:
        """Do nothing: LiteLLM keeps its connections for the whole process."""

    def dump_state(self) -> dict[str, Any]:
        """Return the settings without endpoints, so that a saved program leads nowhere."""
        return {"settings": self.settings.model_dump(mode="json", exclude={"api_base", "server", "extra_body"})}

    @classmethod
    def load_state(cls, state: dict[str, Any]) -> LiteLLMEngine:
        """Build an engine from `dump_state`; its endpoint is the provider's own until another is given."""
        from .settings import LMSettings  # slow to import: pydantic reads its source

        return cls(LMSettings(**state["settings"]))

    def _arguments(self, request: Request) -> dict[str, Any]:
        arguments: dict[str, Any] = request_kwargs(request, "chat")
        if self._is_simulated and current_call():
            # Samples of one prompt are drawn by the call's name, as in this process, and not by which comes first.
            headers = self._options.get("extra_headers") or {}
            arguments["extra_headers"] = {**headers, CALL_HEADER: f"{current_call()}|{current_sample()}"}
        if self.settings.model_type == "text":
            # The prose adapter sends a base model one message that is the whole prompt; LiteLLM passes it on as it is.
            prompt = "\n\n".join(message["content"] for message in arguments["messages"])
            arguments["messages"] = [{"role": "user", "content": prompt}]
            arguments["max_tokens"] = arguments.pop("max_completion_tokens", None)
            arguments.pop("response_format", None)
        elif self.settings.string_limit is not None and "response_format" in arguments:
            arguments["response_format"] = _limited(arguments["response_format"], self.settings.string_limit)
        return arguments

    @property
    def _is_simulated(self) -> bool:
        return f"/{SIMULATED}" in self.settings.model

    @cached_property
    def _send(self) -> list[Any]:
        litellm, options, model = _litellm(), dict(self._options), self.settings.model
        if self.settings.model_type == "text":
            model = _text_model(model)
            if self.bases:
                options.setdefault("api_key", "none")  # the OpenAI client insists on one; a local server ignores it
        ask = partial(litellm.completion, **options, model=model, num_retries=0)
        return [partial(ask, api_base=base) for base in self.bases] or [ask]


class InThread:
    """The asynchronous side of an engine: a request waits in a thread, so that the event loop does not.

    Args:
        engine: The engine that answers.
    """

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    async def complete(self, request: Request) -> Response:
        """Return the engine's reply."""
        return await asyncio.to_thread(self._engine.complete, request)

    async def stream(self, request: Request) -> AsyncIterator[Any]:
        """Yield the finished reply as one stream."""
        for event in response_to_events(await self.complete(request)):
            yield event

    async def aclose(self) -> None:
        """Do nothing: the engine is somebody else's."""

    def dump_state(self) -> dict[str, Any]:
        """Return the engine's state."""
        state: dict[str, Any] = self._engine.dump_state()
        return state

    @classmethod
    def load_state(cls, state: dict[str, Any]) -> InThread:
        """Build the asynchronous side of the LiteLLM engine of a state."""
        return cls(LiteLLMEngine.load_state(state))


def build_lm(settings: LMSettings, *, world: World | None = None) -> dspy.LM:
    """Return the `dspy.LM` that a role's settings describe.

    Args:
        settings: Model string, endpoints, sampling.
        world: Where a simulated model (`sim/base`, ...) lives. None: the default world. Of no effect on real models.

    Raises:
        ConfigError: If the environment variable named by `api_key_env` is not set.

    Example:
        >>> from drpo.serving.settings import LMSettings
        >>> build_lm(LMSettings(model="hosted_vllm/smollm2", api_base="http://127.0.0.1:8000/v1")).model
        'hosted_vllm/smollm2'
    """
    return lm_over(_engine(settings, world), settings)


def lm_over(engine: Any, settings: LMSettings) -> dspy.LM:
    """Return a `dspy.LM` with a role's model string and sampling over an engine."""
    sampling = {"top_p": settings.top_p, "seed": settings.seed}
    return dspy.LM(
        settings.model,
        model_type=settings.model_type,
        temperature=settings.temperature,
        max_tokens=settings.max_tokens,
        cache=settings.cache,
        num_retries=settings.num_retries,
        engine=engine,
        async_engine=InThread(engine),
        **{name: value for name, value in sampling.items() if value is not None},
    )


def _engine(settings: LMSettings, world: World | None) -> Any:
    if not settings.model.startswith(SIMULATED):
        return LiteLLMEngine(settings)
    from .simulated.engine import SimulatedEngine
    from .simulated.models import SimulatedModels
    from .simulated.world import World

    prices = None if settings.input_price is None and settings.output_price is None else Prices(settings)
    return SimulatedEngine(SimulatedModels(world or World.preset("default")), prices=prices)


def _limited(schema: Any, limit: int) -> Any:
    """Return a copy of a JSON schema in which every free text has a longest length."""
    if isinstance(schema, list):
        return [_limited(item, limit) for item in schema]
    if not isinstance(schema, dict):
        return schema
    limited = {key: _limited(value, limit) for key, value in schema.items()}
    return {**limited, "maxLength": limit} if schema.get("type") == "string" and "enum" not in schema else limited


def _environment_key(name: str) -> str:
    key = os.environ.get(name)
    if not key:
        raise ConfigError(f"api_key_env={name!r}: this environment variable is not set; export it before the run")
    return key


def _text_model(model: str) -> str:
    provider, _, name = model.partition("/")
    # vLLM and other OpenAI-compatible servers take raw prompts at /v1/completions under this name only.
    return f"text-completion-openai/{name}" if provider in {"hosted_vllm", "openai"} else model


@contextmanager
def _errors(model: str) -> Iterator[None]:
    """Raise LiteLLM's errors as DSPy's, told apart by what broke, and without keys."""
    with _silent_about_keys(), told_apart(), litellm_errors(model=model), _waiting_as_told():
        yield


@contextmanager
def _silent_about_keys() -> Iterator[None]:
    """Hide the keys that an endpoint quotes in its refusals; an error goes to screens, files and prompts."""
    try:
        yield
    except Exception as error:
        scrub(error)
        raise


@contextmanager
def _waiting_as_told() -> Iterator[None]:
    """Give an error the seconds to wait where DSPy looks for them."""
    try:
        yield
    except Exception as error:
        headers = getattr(error, "litellm_response_headers", None) or {}
        told = retry_after_seconds(headers.get("retry-after"))
        error.retry_after = told  # type: ignore[attr-defined]
        raise


def _litellm() -> Any:
    # Imported at the first call: it takes seconds, and prices come from its own copy instead of the network.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm

    litellm.suppress_debug_info = True
    return litellm
