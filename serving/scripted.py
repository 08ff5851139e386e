"""A scripted LM: a plain function stands in for a model, for tests of programs that are compiled here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import dspy
from dspy.lm15 import Message, Request, Response, TextPart, Usage, response_to_events


@dataclass(frozen=True)
class Prompt:
    """What a scripted model is asked."""

    system: str
    """The system message; empty if there is none."""
    turns: tuple[tuple[str, str], ...]
    """(role, text) of each further message, in order."""
    temperature: float | None
    """The sampling temperature of the request."""

    @property
    def text(self) -> str:
        """All messages joined by blank lines."""
        return "\n\n".join([self.system, *(text for _, text in self.turns)])

    @property
    def last(self) -> str:
        """The last message."""
        return self.turns[-1][1]


class ScriptedEngine:
    """Answer each request by a function of its text; usage is counted in words."""

    supports_function_calling = False
    supports_reasoning = False

    def __init__(self, reply: Callable[[Prompt], str], *, structured_output: bool = True) -> None:
        self._reply = reply
        self.supports_response_schema = structured_output
        self.supported_params = frozenset({"response_format"} if structured_output else ())
        self.prompts: list[Prompt] = []

    def complete(self, request: Request) -> Response:
        """Return the function's reply; what it raises is what the model's server would have raised."""
        prompt = read_prompt(request)
        self.prompts.append(prompt)
        text = self._reply(prompt)
        used, written = len(prompt.text.split()), len(text.split())
        return Response(
            id=None,
            model=request.model,
            message=Message.assistant([TextPart(text)]),
            finish_reason="stop",
            usage=Usage(input_tokens=used, output_tokens=written, total_tokens=used + written),
        )

    def stream(self, request: Request) -> Iterator[Any]:
        """Yield the reply as one stream."""
        yield from response_to_events(self.complete(request))

    def seconds(self, response: Response) -> float:
        """Return 0: a script takes no time, so that figures are alike in every run."""
        return 0.0

    def close(self) -> None:
        """Do nothing: there is no connection."""


def scripted_lm(reply: Callable[[Prompt], str], *, name: str = "scripted", **options: Any) -> dspy.LM:
    """Return an LM that answers by a function, through DSPy's ordinary call path.

    Args:
        reply: From the prompt to the reply's text. May raise a `dspy.lm15` error to play a failing server.
        name: The model string it goes by.
        options: Further arguments of `dspy.LM`; caching and retries are off unless asked for.

    Example:
        >>> lm = scripted_lm(lambda prompt: f"You said: {prompt.last}")
        >>> lm("hello")
        ['You said: hello']
    """
    structured = bool(options.pop("structured_output", True))
    settings: Mapping[str, Any] = {"cache": False, "num_retries": 0, "temperature": 0.0, **options}
    return dspy.LM(name, engine=ScriptedEngine(reply, structured_output=structured), **settings)


def read_prompt(request: Request) -> Prompt:
    """Return the plain texts of a request."""
    system = request.system
    if system is None:
        system = ""
    elif not isinstance(system, str):
        system = "".join(part.text for part in system if isinstance(part, TextPart))
    turns = tuple((message.role, message.text or "") for message in request.messages)
    return Prompt(system=system, turns=turns, temperature=request.config.temperature)
