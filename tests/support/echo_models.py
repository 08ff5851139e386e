"""Models that say what they were asked, for tests of what stands between a client and a model."""

from __future__ import annotations

from collections.abc import Callable

from drpo.serving.simulated.models import SimulatedReply, SimulatedRequest


class EchoModels:
    """Answer `<the last turn>#<sample>`, or by a function; usage is counted in words."""

    names = ("sim/base", "sim/judge")

    def __init__(self, answer: Callable[[SimulatedRequest], str] | None = None) -> None:
        self.asked: list[SimulatedRequest] = []
        self._answer = answer or (lambda request: f"{request.turns[-1][1]}#{request.sample}")

    def reply(self, request: SimulatedRequest) -> SimulatedReply:
        self.asked.append(request)
        text = self._answer(request)
        read = sum(len(words.split()) for words in (request.system, *(turn for _, turn in request.turns)))
        tokens = None
        if request.logprobs:
            tokens = [
                {
                    "token": token,
                    "logprob": -0.25,
                    "top_logprobs": [{"token": t, "logprob": -0.25} for t in (token, "x")],
                }
                for token in text.split("-")
            ]
        return SimulatedReply(
            text=text, finish_reason="stop", prompt_tokens=read, completion_tokens=len(text.split()), logprobs=tokens
        )
