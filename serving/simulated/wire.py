"""OpenAI's wire format: what a request asks, and how replies and errors are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from .embeddings import as_base64, embed
from .models import SimulatedReply, SimulatedRequest

_Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class WireError:
    """An error as clients are told it."""

    message: str
    status: int = 400
    """The HTTP status."""
    type: str = "invalid_request_error"
    """The family of the error."""
    param: str | None = None
    """The field of the request that is wrong."""
    code: str | None = None
    """The error itself, for programs."""

    @property
    def body(self) -> _Json:
        """The JSON that is sent."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}


@dataclass(frozen=True, kw_only=True)
class Call:
    """What one HTTP request asks of a model."""

    chat: bool
    """Whether it came to the chat endpoint."""
    model: str
    """The name that was asked for."""
    requests: tuple[SimulatedRequest, ...]
    """One per prompt, as its first sample."""
    n: int
    """Replies wanted for each."""
    alternatives: int = 0
    """Most alternatives to show beside each token's log-probability."""

    @property
    def key(self) -> str:
        """A text that tells calls apart."""
        return f"{self.chat} {self.n} {self.requests!r}"


@dataclass(frozen=True, kw_only=True)
class EmbeddingCall:
    """What one HTTP request asks of the embedding model."""

    model: str
    """The name that was asked for."""
    texts: tuple[str, ...]
    """The texts to turn into vectors."""
    dimensions: int
    """Length of each vector."""
    compact: bool
    """Whether vectors are sent in base64."""

    @property
    def key(self) -> str:
        """A text that tells calls apart."""
        return f"{self.dimensions} {self.texts!r}"


def unknown_model(model: str, names: Sequence[str]) -> WireError:
    """Return the error of a name that is not served."""
    return WireError(
        status=404,
        message=f"The model {shown(model)} does not exist. The simulated models are: {', '.join(names)}.",
        param="model",
        code="model_not_found",
    )


def reply_body(call: Call, replies: Sequence[SimulatedReply], *, identity: str, created: int) -> _Json:
    """Return the body of an answer.

    Args:
        call: What was asked.
        replies: The replies, prompt by prompt, `call.n` of each.
        identity: What makes the reply's id.
        created: Seconds since 1970.
    """
    write = _chat_choice if call.chat else _text_choice
    choices = [write(call, index, reply) for index, reply in enumerate(replies)]
    # A prompt is read once, however many replies it gets.
    read = sum(reply.prompt_tokens for reply in replies[:: call.n])
    written = sum(reply.completion_tokens for reply in replies)
    return {
        "id": f"{'chatcmpl' if call.chat else 'cmpl'}-{identity}",
        "object": "chat.completion" if call.chat else "text_completion",
        "created": created,
        "model": call.model,
        "system_fingerprint": "simulated",
        "choices": choices,
        "usage": {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written},
    }


def embedding_body(call: EmbeddingCall) -> _Json:
    """Return the body of an answer: one vector per text, tokens counted in words."""
    vectors = [embed(text, dimensions=call.dimensions) for text in call.texts]
    data = [
        {"object": "embedding", "index": index, "embedding": as_base64(vector) if call.compact else vector}
        for index, vector in enumerate(vectors)
    ]
    words = sum(len(text.split()) for text in call.texts)
    return {
        "object": "list",
        "model": call.model,
        "data": data,
        "usage": {"prompt_tokens": words, "total_tokens": words},
    }


def model_body(name: str) -> _Json:
    """Return how one model is listed."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "simulated"}


def _chat_choice(call: Call, index: int, reply: SimulatedReply) -> _Json:
    kept = reply.finish_reason == "content_filter" and not reply.text
    message = {"role": "assistant", "content": None if kept else reply.text, "refusal": None}
    tokens = reply.logprobs or ()
    content = [_token(token) | {"top_logprobs": [_token(other) for other in _others(call, token)]} for token in tokens]
    logprobs = None if reply.logprobs is None else {"content": content, "refusal": None}
    return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": reply.finish_reason}


def _text_choice(call: Call, index: int, reply: SimulatedReply) -> _Json:
    logprobs = None if reply.logprobs is None else _text_logprobs(call, reply.logprobs)
    return {"index": index, "text": reply.text, "logprobs": logprobs, "finish_reason": reply.finish_reason}


def _text_logprobs(call: Call, tokens: Sequence[_Json]) -> _Json:
    texts = [token["token"] for token in tokens]
    return {
        "tokens": texts,
        "token_logprobs": [token["logprob"] for token in tokens],
        "top_logprobs": [{other["token"]: other["logprob"] for other in _others(call, token)} for token in tokens],
        "text_offset": [0, *accumulate(map(len, texts))][: len(texts)],
    }


def _others(call: Call, token: _Json) -> Sequence[_Json]:
    return list(token["top_logprobs"])[: call.alternatives]


def _token(token: _Json) -> _Json:
    return {"token": token["token"], "logprob": token["logprob"], "bytes": list(token["token"].encode())}


def shown(value: object) -> str:
    """Return a value as a message shows it, cut to one line."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
