"""The simulated models themselves: a reply is a pure function of the world and the request.

Which job a request is (answer, judge, pick criteria, write prompts) is read from its text, not from the model's name:
any model can be asked to do any of them, as a user's only model often is. The name says which is at home where: a judge
that is not `sim/judge` is more lenient.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ...errors import ConfigError
from .base import answer, reply_with
from .criteria import choice_values
from .drawing import digest, draws
from .filling import render
from .impression import read_answer
from .judge import judge, judged_field
from .pairing import compare, compares
from .prompt import write, writes_prompts
from .reading import Asked, Style, opened, read_request
from .world import World

CHARACTERS_PER_TOKEN = 4
"""A token of these models is four characters, which is about the mean of English text in real ones."""


@dataclass(frozen=True)
class SimulatedRequest:
    """One request to a simulated model."""

    model: str
    """`sim/base`, `sim/judge`, `sim/criteria` or `sim/prompt`."""
    system: str
    """The system message; empty if there is none."""
    turns: tuple[tuple[str, str], ...]
    """(role, text) of each further message; a text completion is one user turn."""
    temperature: float | None = None
    """Sampling temperature; None counts as 0.7. At 0 the reply always is the same."""
    seed: int | None = None
    """Sampling seed; without effect at temperature 0."""
    sample: int = 0
    """Which of several equal requests this is; without effect at temperature 0."""
    schema: dict[str, Any] | None = None
    """JSON schema that the reply has to meet."""
    max_tokens: int | None = None
    """Where the reply is cut. None: nowhere."""
    stop: tuple[str, ...] = ()
    """Texts before which the reply ends."""
    logprobs: bool = False
    """Whether log probabilities are wanted."""


@dataclass(frozen=True)
class SimulatedReply:
    """One reply."""

    text: str
    """What is written."""
    finish_reason: str
    """`stop`, or `length` if it was cut at `max_tokens`."""
    prompt_tokens: int
    """Length of the request."""
    completion_tokens: int
    """Length of the reply."""
    logprobs: list[dict[str, Any]] | None = None
    """Per token: `token`, `logprob`, and `top_logprobs` (a list of the same two keys); None if not asked for."""


class SimulatedModels:
    """The four models of a world. Thread-safe: it keeps no state.

    Example:
        >>> request = SimulatedRequest("sim/base", "", (("user", "Why is the sky blue?"),), temperature=0.0)
        >>> SimulatedModels(World()).reply(request).finish_reason
        'stop'
    """

    names: tuple[str, ...] = ("sim/base", "sim/judge", "sim/criteria", "sim/prompt")

    def __init__(self, world: World) -> None:
        self.world = world

    def reply(self, request: SimulatedRequest) -> SimulatedReply:
        """Return the reply to a request.

        Raises:
            ConfigError: If there is no model of that name.
        """
        if request.model not in self.names:
            raise ConfigError(f"model={request.model!r}: the simulated models are {', '.join(self.names)}")
        warmth = 0.7 if request.temperature is None else request.temperature
        body = "\x1e".join([request.system, *(f"{role}\x1d{text}" for role, text in request.turns)])
        key = f"{digest(body)}|{request.model}"
        if warmth > 0:
            key += f"|{warmth}|{request.seed}|{request.sample}"
        text, reason = _cut(self._text(request, read_request(request), key, warmth), request)
        return SimulatedReply(
            text=text,
            finish_reason=reason,
            prompt_tokens=_tokens(body),
            completion_tokens=_tokens(text),
            logprobs=_logprobs(text, key) if request.logprobs else None,
        )

    def _text(self, request: SimulatedRequest, asked: Asked, key: str, warmth: float) -> str:
        if writes_prompts(asked):
            return write(self.world, asked, key, warmth)
        if asked.outputs and "library" in asked.inputs:
            query = opened(asked.inputs.get("query") or asked.query)
            style = asked.style if asked.style is not Style.PLAIN else Style.JSON
            return render(style, choice_values(self.world, asked, query, key))
        if compares(asked):
            return compare(self.world, asked, key)
        if judges(request.model, asked):
            lenient = 0.0 if request.model == "sim/judge" or self.world.noise_free else self.world.self_leniency
            return judge(self.world, asked, key, lenient=lenient)
        if request.model == "sim/base" or not asked.outputs:
            return answer(self.world, asked, f"{self.world.model}|{key}", warmth)
        seen = read_answer(asked.query)
        return reply_with(
            asked, answer(self.world, _plain(asked), key, warmth), good=(sum(seen.values()) / len(seen) - 1) / 4
        )


def judges(model: str, asked: Asked) -> bool:
    """Tell whether a request is one for a judge: an answer goes in, and verdicts come out."""
    if judged_field(asked) is None:
        return False
    names = " ".join(field.name for field in asked.outputs).casefold()
    verdict = any(
        word in names for word in ("judg", "score", "grade", "rating", "verdict", "assess", "evaluat", "correct")
    )
    return verdict or (model == "sim/judge" and bool(asked.outputs))


def _plain(asked: Asked) -> Asked:
    return Asked(Style.PLAIN, asked.instruction, asked.inputs, (), asked.demos)


def _cut(text: str, request: SimulatedRequest) -> tuple[str, str]:
    for stop in request.stop:
        if stop:
            text = text.partition(stop)[0]
    if request.max_tokens is not None and _tokens(text) > request.max_tokens:
        return text[: request.max_tokens * CHARACTERS_PER_TOKEN], "length"
    return text, "stop"


def _tokens(text: str) -> int:
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def _logprobs(text: str, key: str) -> list[dict[str, Any]]:
    """Return tokens with probabilities: a digit stands alone and shares its mass with its neighbours, as scores do."""
    tokens: list[dict[str, Any]] = []
    draw = draws("logprobs", key)
    for token in _pieces(text):
        if token in "12345" and token:
            near = {str(other): math.exp(-1.1 * abs(other - int(token)) - 0.5 * draw.random()) for other in range(1, 6)}
            near[token] = 2.2
            total = sum(near.values())
            top = [{"token": digit, "logprob": math.log(mass / total)} for digit, mass in near.items()]
            top.sort(key=lambda entry: -float(str(entry["logprob"])))
        else:
            top = [{"token": token, "logprob": -0.02 - 0.3 * draw.random()}]
        chosen = next(entry for entry in top if entry["token"] == token)
        tokens.append({"token": token, "logprob": chosen["logprob"], "top_logprobs": top})
    return tokens


def _pieces(text: str) -> list[str]:
    pieces: list[str] = []
    start = 0
    for place, char in enumerate(text):
        lone = char in "12345" and not text[place - 1 : place].isdigit() and not text[place + 1 : place + 2].isdigit()
        if lone or place - start >= CHARACTERS_PER_TOKEN:
            if place > start:
                pieces.append(text[start:place])
            start = place
        if lone:
            pieces.append(char)
            start = place + 1
    return [*pieces, text[start:]] if start < len(text) else pieces
