"""What breaks below LiteLLM is told apart, for chat and base models, by each client that it uses."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from dspy import lm15
from dspy.lm15 import request_from_openai_chat
from endpoint import Fault, endpoint
from variants import slow

from drpo.serving.engine import LiteLLMEngine
from drpo.serving.settings import LMSettings
from drpo.serving.wire_errors import MalformedReplyError, UnreachableError, is_unreachable

pytestmark = [
    pytest.mark.parametrize("provider", ["hosted_vllm", "openai"]),
    pytest.mark.parametrize("model_type", ["chat", *slow("text")]),
]


@contextmanager
def saying(reply: bytes) -> Iterator[str]:
    """Serve an endpoint that answers every connection with these bytes and closes it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(reply)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def error_at(api_base: str, provider: str, model_type: str, monkeypatch: pytest.MonkeyPatch) -> lm15.LM15Error:
    monkeypatch.setenv("MY_KEY", "no-real-key")
    settings = LMSettings(
        model=f"{provider}/small", api_base=api_base, timeout=2.0, api_key_env="MY_KEY", model_type=model_type
    )
    request = request_from_openai_chat({"model": settings.model, "messages": [{"role": "user", "content": "hi"}]})
    with pytest.raises(lm15.LM15Error) as caught:
        LiteLLMEngine(settings).complete(request)
    return caught.value


def test_nobody_listens(provider: str, model_type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    error = error_at(f"http://127.0.0.1:{port}/v1", provider, model_type, monkeypatch)
    assert type(error) is UnreachableError
    assert is_unreachable(error)


def test_the_connection_breaks(provider: str, model_type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with saying(b"") as api_base:
        error = error_at(api_base, provider, model_type, monkeypatch)
    assert type(error) is lm15.TransportError
    assert not is_unreachable(error)


def test_the_reply_is_no_json(provider: str, model_type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with saying(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"id": "x') as api_base:
        assert type(error_at(api_base, provider, model_type, monkeypatch)) is MalformedReplyError


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, lm15.InvalidRequestError),
        (401, lm15.AuthError),
        (404, lm15.UnsupportedModelError),
        (429, lm15.RateLimitError),
        (500, lm15.ServerError),
        (502, lm15.ServerError),
        (503, lm15.ServerError),
        (504, lm15.TimeoutError),
    ],
)
def test_what_the_endpoint_says_itself_stays_what_it_is(
    status: int, kind: type[Exception], provider: str, model_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with endpoint([Fault(status)]) as server:
        error = error_at(server.api_base, provider, model_type, monkeypatch)
    assert isinstance(error, kind)
    assert error.status == status


def test_an_address_without_its_path_is_no_request_that_was_refused(
    provider: str, model_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`/v1` that was left out makes every request fail: that is no matter of each of them."""
    with endpoint([Fault(404, message="Not Found")]) as server:
        error = error_at(server.api_base.removesuffix("/v1"), provider, model_type, monkeypatch)
    assert isinstance(error, lm15.UnsupportedModelError)
