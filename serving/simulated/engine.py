"""The simulated models as a DSPy engine: the same call path as any other model, without a network."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import dspy
from dspy.lm15 import Message, Request, Response, TextPart, Usage, response_to_events

from ...errors import ConfigError
from .. import calls
from ..prices import Prices
from ..scripted import read_prompt
from .drawing import digest
from .models import SimulatedModels, SimulatedRequest
from .pace import seconds_of
from .world import World

ROLES = {"task": "base", "base": "base", "judge": "judge", "criteria": "criteria", "prompt": "prompt"}
"""Role or model name to the model that plays it."""


class SimulatedEngine:
    """Answer requests by simulated models, in this process.

    Equal requests at a temperature above 0 are told apart by the call of the run that asks (`calls.current_call`), and
    outside of a run by the sample asked for (`calls.sample`) and by how often it was asked before.

    Args:
        models: The models.
        keep_requests: Whether `requests` keeps what was asked.
        prices: What a reply is said to cost. None: its price is unknown.
    """

    supports_function_calling = False
    supports_reasoning = False
    supports_response_schema = True
    supported_params = frozenset({"response_format", "temperature", "max_tokens", "stop", "seed"})

    def __init__(self, models: SimulatedModels, *, keep_requests: bool = False, prices: Prices | None = None) -> None:
        self.models, self._prices = models, prices
        self.requests: list[SimulatedRequest] = []
        """What was asked, oldest first, if it is kept."""
        self._keep = keep_requests
        self._asked: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __deepcopy__(self, memo: dict[int, Any]) -> SimulatedEngine:
        return self  # copies of an LM (another temperature, another rollout) must not repeat each other's samples

    def complete(self, request: Request) -> Response:
        """Return the reply to one request.

        Raises:
            ConfigError: If there is no model of that name.
        """
        simulated = self._simulated(request)
        if self._keep:
            self.requests.append(simulated)
        reply = self.models.reply(simulated)
        return Response(
            id=None,
            model=request.model,
            message=Message.assistant([TextPart(reply.text)]),
            finish_reason="length" if reply.finish_reason == "length" else "stop",
            usage=Usage(
                input_tokens=reply.prompt_tokens,
                output_tokens=reply.completion_tokens,
                total_tokens=reply.prompt_tokens + reply.completion_tokens,
            ),
        )

    def stream(self, request: Request) -> Iterator[Any]:
        """Yield the reply as one stream."""
        yield from response_to_events(self.complete(request))

    def price(self, response: Response) -> float | None:
        """Return what a reply is said to cost, None if nothing is."""
        return None if self._prices is None else self._prices.of(response.usage, calls.current_call())

    def seconds(self, response: Response) -> float:
        """Return how long a reply would have taken."""
        return seconds_of(response)

    def close(self) -> None:
        """Do nothing: there is no connection."""

    def _simulated(self, request: Request) -> SimulatedRequest:
        prompt = read_prompt(request)
        config = request.config
        return SimulatedRequest(
            model=request.model,
            system=prompt.system,
            turns=prompt.turns,
            temperature=config.temperature,
            seed=getattr(config, "seed", None),
            sample=self._sample(prompt.text, config.temperature),
            schema=_schema(config.response_format),
            max_tokens=config.max_tokens,
            stop=tuple(config.stop or ()),
        )

    def _sample(self, text: str, temperature: float | None) -> int:
        if temperature == 0:
            return 0
        call = f"{calls.current_call()}|{calls.current_sample()}"
        if not calls.current_call():  # asked outside of a run: by another optimizer, or by hand
            asked = f"{call}|{temperature}|{digest(text)}"
            with self._lock:
                self._asked[asked] += 1
                call += f"|{self._asked[asked]}"
        return int(digest(call), 16)


def simulated_lm(role: str, world: World, **options: Any) -> dspy.LM:
    """Return a simulated LM of one role.

    Args:
        role: `task` (or `base`), `judge`, `criteria` or `prompt`.
        world: The world it lives in.
        options: Further arguments of `dspy.LM`, temperature for example; caching and retries are off unless asked for.

    Raises:
        ConfigError: If there is no such role.

    Example:
        >>> simulated_lm("judge", World()).model
        'sim/judge'
    """
    if role not in ROLES:
        raise ConfigError(f"role={role!r}: choose one of {', '.join(ROLES)}")
    settings: dict[str, Any] = {"cache": False, "num_retries": 0, "temperature": 0.0, **options}
    return dspy.LM(f"sim/{ROLES[role]}", engine=SimulatedEngine(SimulatedModels(world)), **settings)


def _schema(response_format: Any) -> dict[str, Any] | None:
    """Return the JSON schema in a response format, however it is wrapped."""
    if not isinstance(response_format, dict):
        return None
    inner = response_format.get("json_schema", response_format)
    schema = inner.get("schema", inner) if isinstance(inner, dict) else None
    return schema if isinstance(schema, dict) and "properties" in schema else None
