"""The body that an LM's endpoint would be sent: made by the engine that sends it, and kept back instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import dspy
from dspy.lm15 import Request

from .engine import LiteLLMEngine, lm_over
from .settings import LMSettings

LOCAL_ONLY: dict[str, Any] = {"api_base": None, "api_key_env": None, "server": None, "cache": False, "num_retries": 0}
"""Settings of no effect on the body: where it goes, and with which key."""


def request_body(settings: LMSettings, ask: Callable[[dspy.LM], object]) -> dict[str, Any]:
    """Return the body of the first request that asking an LM would send; nothing is sent, and no key is needed.

    Args:
        settings: The LM's model and sampling.
        ask: Called with the LM; asks it at least once.

    Returns:
        The OpenAI-compatible body: `messages` of a chat model, `prompt` of a base model, and the sampling. A provider
        with a format of its own gets the same texts in that format.

    Example:
        >>> request_body(LMSettings(model="openai/gpt-4o-mini", temperature=0.0), lambda lm: lm("Hello"))
        {'model': 'gpt-4o-mini', 'messages': [{'role': 'user', 'content': 'Hello'}], 'temperature': 0.0}
    """
    engine = _KeepingEngine(settings.model_copy(update=LOCAL_ONLY))
    try:
        ask(lm_over(engine, engine.settings))
    except _KeptBack as kept:
        return kept.body
    raise RuntimeError("the LM was not asked, so there is no request")


class _KeptBack(BaseException):  # no `Exception`: adapters and programs take those for failures, and ask again
    def __init__(self, body: dict[str, Any]) -> None:
        super().__init__()
        self.body = body


class _KeepingEngine(LiteLLMEngine):
    """Raises the body of a request instead of sending it."""

    def once(self, request: Request) -> NoReturn:
        arguments = self._arguments(request)
        messages = arguments.pop("messages")
        name = self.settings.model.partition("/")[2] or self.settings.model
        text = {"prompt": messages[0]["content"]} if self.settings.model_type == "text" else {"messages": messages}
        given = {key: value for key, value in arguments.items() if value is not None}
        raise _KeptBack({"model": name, **text, **given, **self.settings.extra_body})
