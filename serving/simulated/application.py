"""What the simulated server answers: OpenAI's endpoints, a health check and its own counters.

Replies are computed on the event loop itself, one after the other. Computing them is pure Python, which the
interpreter runs in one thread at a time anyway: pools of one and of eight threads gave 2 to 39 % fewer replies per
second than the loop, for replies of 0, 1 and 5 ms and for 1, 8 and 64 clients. On the loop, numbering samples needs
no lock either.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

from aiohttp import web

from ..calls import CALL_HEADER
from .drawing import digest
from .embeddings import EMBEDDING_MODEL
from .faults import Fate, FaultKind, FaultPlan, Faults, describe
from .models import SimulatedReply, SimulatedRequest
from .wire import Call, EmbeddingCall, WireError, embedding_body, model_body, reply_body, unknown_model
from .wire_requests import read_chat, read_embedding, read_text

LARGEST_BODY = 16 * 2**20
"""Most bytes of one request's body."""

_BROKEN_JSON = b'{"id": "broken", "object": "chat.completion", "choices": [{"index": 0, "message": {"role": "assist'

_log = logging.getLogger(__name__)
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Models(Protocol):
    """What is served."""

    @property
    def names(self) -> Sequence[str]:
        """The names that clients may ask for."""

    def reply(self, request: SimulatedRequest) -> SimulatedReply:
        """Answer one request; called from one thread only."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What a server has done so far.

    Whenever nothing is under way, `sum(requests.values())` is `replies + sum(faults.values()) + abandoned + failed`.
    """

    requests: dict[str, int]
    """Well-formed requests by model, all models present."""
    replies: int
    """Requests answered as asked."""
    faults: dict[FaultKind, int]
    """Requests struck by each kind of fault, all kinds present."""
    wrong: int
    """Requests refused for what they ask; they stand in no other count."""
    abandoned: int
    """Requests struck by no fault whose client left, or whose server stopped, before the reply."""
    failed: int
    """Requests on which a simulated model itself raised an error."""


class Application:
    """The endpoints, and what they count.

    Args:
        models: The models.
        faults: What goes wrong. None: nothing.
    """

    def __init__(self, models: Models, faults: Faults | None) -> None:
        self._models = models
        self.names = (*models.names, EMBEDDING_MODEL)
        self._plan = FaultPlan(faults)
        self._lock = threading.Lock()
        self._requests: Counter[str] = Counter()
        self._outcomes: Counter[str] = Counter()
        self._samples: Counter[bytes] = Counter()
        self._asked: Counter[str] = Counter()
        self.stopping = asyncio.Event()

    @property
    def counts(self) -> Counts:
        """What was received and answered so far; may be read from any thread."""
        with self._lock:
            requests = {name: self._requests[name] for name in self.names}
            outcomes = Counter(self._outcomes)
        names = ("replies", "wrong", "abandoned", "failed")
        return Counts(requests=requests, faults=self._plan.counts, **{name: outcomes[name] for name in names})

    @property
    def asked(self) -> dict[str, int]:
        """How often each call of a run that names its calls was asked for; may be read from any thread."""
        with self._lock:
            return dict(self._asked)

    def routes(self) -> web.Application:
        """Return the endpoints as a new aiohttp application."""
        app = web.Application(client_max_size=LARGEST_BODY, middlewares=[self._in_openai_shape])
        app.add_routes(
            [
                web.post("/v1/chat/completions", self._chat),
                web.post("/v1/completions", self._text),
                web.post("/v1/embeddings", self._embeddings),
                web.get("/v1/models", self._list_models),
                web.get("/v1/models/{name:.+}", self._show_model),
                web.get("/health", self._show_health),
                web.get("/metrics", self._show_metrics),
            ]
        )
        return app

    async def _chat(self, request: web.Request) -> web.Response:
        return await self._answer(request, read_chat(await request.read()))

    async def _text(self, request: web.Request) -> web.Response:
        return await self._answer(request, read_text(await request.read()))

    async def _embeddings(self, request: web.Request) -> web.Response:
        return await self._answer(request, read_embedding(await request.read()))

    async def _answer(self, request: web.Request, call: Call | EmbeddingCall | WireError) -> web.Response:
        if isinstance(call, WireError):
            return self._refuse(call)
        served = self.names[-1:] if isinstance(call, EmbeddingCall) else self.names[:-1]
        if call.model not in served:
            return self._refuse(unknown_model(call.model, served))
        name = request.headers.get(CALL_HEADER, "")
        with self._lock:
            self._requests[call.model] += 1
            if name:
                self._asked[name] += 1
        fate = self._plan.next(call.key)
        try:
            if await self._stopped_within(fate.latency):
                return self._give_up(fate)
            if fate.fault is FaultKind.REFUSED and isinstance(call, Call):
                return web.json_response(_filtered_body(call))
            if fate.fault is not None:
                return await self._fail(request, fate)
            body = embedding_body(call) if isinstance(call, EmbeddingCall) else await self._complete(call, name)
        except asyncio.CancelledError:  # the client left
            self._count("abandoned", fate)
            raise
        except Exception as error:  # a bug of a model: told to the client, and the server lives on
            self._count("failed", fate)
            _log.exception("A simulated model failed.")
            return _send(WireError(status=500, type="server_error", message=f"The simulated model failed: {error!r}"))
        self._count("replies", fate)
        return web.json_response(body)

    async def _complete(self, call: Call, name: str) -> dict[str, Any]:
        replies: list[SimulatedReply] = []
        identity = hashlib.blake2b(digest_size=12)
        for request in call.requests:
            key = hashlib.blake2b(repr(request).encode("utf-8", "backslashreplace"), digest_size=16).digest()
            for _ in range(call.n):
                if name:
                    number = int(digest(f"{name}|{len(replies)}" if replies else name), 16)
                else:
                    number = self._samples[key]
                    self._samples[key] += 1
                identity.update(key + str(number).encode())
                replies.append(self._models.reply(replace(request, sample=number)))
                await asyncio.sleep(0)  # a long list of prompts must not keep the others waiting
        # The id comes from what was asked, so that the record of a run is the same when it is run again.
        return reply_body(call, replies, identity=identity.hexdigest(), created=int(time.time()))

    async def _fail(self, request: web.Request, fate: Fate) -> web.Response:
        match fate.fault:
            case FaultKind.DROPPED:
                if request.transport is not None:
                    request.transport.abort()
                return web.Response()  # reaches nobody
            case FaultKind.MALFORMED:
                return web.Response(body=_BROKEN_JSON, content_type="application/json")
            case FaultKind.TIMED_OUT:
                await self._stopped_within(self._plan.faults.longest)
        return _send(_fault_error(fate), retry_after=fate.retry_after)

    async def _stopped_within(self, seconds: float) -> bool:
        """Wait, but no longer than the server lives; whether it is stopping."""
        if seconds > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), seconds)
        return self.stopping.is_set()

    def _give_up(self, fate: Fate) -> web.Response:
        self._count("abandoned", fate)
        return _send(WireError(status=503, type="server_error", message="The simulated server is stopping."))

    def _refuse(self, error: WireError) -> web.Response:
        with self._lock:
            self._outcomes["wrong"] += 1
        return _send(error)

    def _count(self, outcome: str, fate: Fate) -> None:
        if fate.fault is None:  # the plan has counted the others
            with self._lock:
                self._outcomes[outcome] += 1

    async def _list_models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [model_body(name) for name in self.names]})

    async def _show_model(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        return (
            web.json_response(model_body(name)) if name in self.names else self._refuse(unknown_model(name, self.names))
        )

    async def _show_health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "simulated": True})

    async def _show_metrics(self, request: web.Request) -> web.Response:
        counts = self.counts
        rows: list[tuple[str, str, dict[str, int]]] = [
            ("requests", "model", counts.requests),
            ("faults", "kind", {kind.value: number for kind, number in counts.faults.items()}),
        ]
        lines = []
        for name, label, numbers in rows:
            lines.append(f"# TYPE drpo_simulated_{name}_total counter")
            for value, number in numbers.items():
                lines.append(f"drpo_simulated_{name}_total{{{label}={json.dumps(value)}}} {number}")
        for name in ("replies", "wrong", "abandoned", "failed"):
            lines.append(f"# TYPE drpo_simulated_{name}_total counter")
            lines.append(f"drpo_simulated_{name}_total {getattr(counts, name)}")
        return web.Response(text="\n".join(lines) + "\n", headers={"Content-Type": "text/plain; version=0.0.4"})

    @web.middleware
    async def _in_openai_shape(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Turn aiohttp's own refusals (no such path, wrong method, too large a body) into OpenAI's errors."""
        try:
            return await handler(request)
        except web.HTTPException as error:
            asked = f"{request.method} {request.path}"
            messages = {
                404: f"There is no {asked}. Under /v1 there are chat/completions, completions, embeddings and models.",
                405: f"{asked} is not allowed: use {error.headers.get('Allow')}.",
                413: f"The body is too large: at most {LARGEST_BODY} bytes are read.",
            }
            message = messages.get(error.status, f"{asked}: {error.reason}.")
            response = self._refuse(WireError(status=error.status, message=message))
            if "Allow" in error.headers:
                response.headers["Allow"] = error.headers["Allow"]
            return response


def _send(error: WireError, *, retry_after: float | None = None) -> web.Response:
    headers = {} if retry_after is None else {"Retry-After": f"{retry_after:.6f}".rstrip("0").rstrip(".")}
    return web.json_response(error.body, status=error.status, headers=headers)


def _fault_error(fate: Fate) -> WireError:
    message = f"A simulated fault: {describe(fate)}."
    match fate.fault:
        case FaultKind.RATE_LIMITED:
            return WireError(status=429, type="requests", code="rate_limit_exceeded", message=message)
        case FaultKind.REFUSED:
            return WireError(status=400, code="content_filter", message=message)
        case FaultKind.TIMED_OUT:
            return WireError(status=504, type="server_error", message=message)
    return WireError(status=fate.status, type="server_error", message=message)


def _filtered_body(call: Call) -> dict[str, Any]:
    read = [
        sum(len(text.split()) for text in (asked.system, *(text for _, text in asked.turns))) for asked in call.requests
    ]
    replies = [
        SimulatedReply(text="", finish_reason="content_filter", prompt_tokens=words, completion_tokens=0, logprobs=None)
        for words in read
        for _ in range(call.n)
    ]
    identity = hashlib.blake2b(call.key.encode("utf-8", "backslashreplace"), digest_size=12).hexdigest()
    return reply_body(call, replies, identity=identity, created=int(time.time()))
