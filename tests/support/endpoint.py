"""A tiny OpenAI-compatible endpoint on this machine, which keeps what it was sent and answers as it is told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Sent:
    """One request as it stood on the wire."""

    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """An error reply."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    """Seconds before the reply, for a client that should not wait so long."""
    message: str = "the endpoint was told to fail"
    """What it says of the failure."""


Reply = str | None | Fault
"""The text of an answer (None: an answer without content), or a fault."""


class Endpoint:
    """What the running server was sent, and where it listens."""

    def __init__(self, replies: Callable[[Sent], Reply], api_base: str) -> None:
        self.sent: list[Sent] = []
        self.api_base = api_base
        self._replies = replies
        self._lock = threading.Lock()

    def answer(self, sent: Sent) -> Reply:
        with self._lock:  # replies that are given in a row must not be given twice
            self.sent.append(sent)
            return self._replies(sent)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [sent.body for sent in self.sent]


@contextmanager
def endpoint(replies: Callable[[Sent], Reply] | Sequence[Reply] = ("Hello!",)) -> Iterator[Endpoint]:
    """Serve on a free port of the loopback; a sequence is replied in order, its last item for ever."""
    in_order = list(replies) if not callable(replies) else []

    def next_in_order(_: Sent) -> Reply:
        return in_order.pop(0) if len(in_order) > 1 else in_order[0]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # a reply in one packet: headers alone would wait for their receipt, 40 ms a call

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = served.answer(Sent(self.path, headers, body))
            if isinstance(reply, Fault):
                time.sleep(reply.delay)
                self._send(reply.status, {"error": {"message": reply.message}}, reply.headers)
            else:
                self._send(200, _completion(self.path, body["model"], reply), {})

        def _send(self, status: int, data: dict[str, Any], headers: dict[str, str]) -> None:
            content = json.dumps(data).encode()
            try:
                self.send_response(status)
                for name, value in {"content-type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except (BrokenPipeError, ConnectionResetError):  # the client did not wait
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    served = Endpoint(replies if callable(replies) else next_in_order, f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _completion(path: str, model: str, text: str | None) -> dict[str, Any]:
    choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
    if path.endswith("/chat/completions"):
        choice["message"] = {"role": "assistant", "content": text}
    else:
        choice["text"] = text
    return {
        "id": "reply-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [choice],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
    }
