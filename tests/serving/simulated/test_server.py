"""The simulated server, asked by the clients that people use: the `openai` package, LiteLLM, DSPy."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, Literal

import dspy
import httpx
import openai
import pytest
from dspy.utils.exceptions import (
    LMError,
    LMInvalidRequestError,
    LMRateLimitError,
    LMServerError,
    LMTimeoutError,
    LMTransportError,
    LMUnsupportedModelError,
)
from echo_models import EchoModels

from drpo.errors import ConfigError, ServerError
from drpo.serving.engine import build_lm
from drpo.serving.settings import LMSettings
from drpo.serving.simulated.application import LARGEST_BODY
from drpo.serving.simulated.engine import simulated_lm
from drpo.serving.simulated.faults import FaultKind, Faults
from drpo.serving.simulated.models import SimulatedModels
from drpo.serving.simulated.server import SimulatedServer, run_server
from drpo.serving.simulated.world import World
from drpo.serving.vllm_metrics import parse_metrics


@contextmanager
def client_of(server: SimulatedServer, **options: Any) -> Iterator[openai.OpenAI]:
    fixed = {"base_url": server.api_base, "api_key": "any", "max_retries": 0, "http_client": plain_client()}
    with openai.OpenAI(**{**fixed, **options}) as client:
        yield client


def plain_client() -> httpx.Client:
    return httpx.Client(verify=False)  # else each one reads all the certificates of this machine


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with plain_client() as made:
        yield made


@pytest.fixture
def models() -> EchoModels:
    return EchoModels()


@pytest.fixture
def server(models: EchoModels) -> Iterator[SimulatedServer]:
    with SimulatedServer(models) as running:
        yield running


@pytest.fixture
def client(server: SimulatedServer) -> Iterator[openai.OpenAI]:
    with client_of(server) as made:
        yield made


def ask(client: openai.OpenAI, text: str = "hi", **fields: Any) -> Any:
    return client.chat.completions.create(
        **{"model": "sim/base", "messages": [{"role": "user", "content": text}], **fields}
    )


def lm_of(server: SimulatedServer, **fields: Any) -> dspy.LM:
    settings = {"model": "hosted_vllm/sim/base", "api_base": server.api_base, "num_retries": 0, **fields}
    return build_lm(LMSettings(**settings))


def wait_until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not done():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


# The openai package.


def test_chat_completions(client: openai.OpenAI) -> None:
    """Text, finish reason, usage, n choices and log-probabilities arrive in OpenAI's types."""
    answer = ask(client, "a-b c", n=2, logprobs=True, top_logprobs=2)
    assert [choice.message.content for choice in answer.choices] == ["a-b c#0", "a-b c#1"]
    assert {choice.finish_reason for choice in answer.choices} == {"stop"}
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (2, 4, 6)
    assert (answer.model, answer.object, answer.system_fingerprint) == ("sim/base", "chat.completion", "simulated")
    tokens = answer.choices[0].logprobs.content
    assert [(token.token, token.logprob, token.top_logprobs[1].token) for token in tokens] == [
        ("a", -0.25, "x"),
        ("b c#0", -0.25, "x"),
    ]
    assert ask(client).choices[0].logprobs is None


def test_text_completions(client: openai.OpenAI) -> None:
    """Several prompts with several replies each are numbered through, prompt by prompt."""
    answer = client.completions.create(model="sim/judge", prompt=["one", "two"], n=2, logprobs=2)
    assert [choice.text for choice in answer.choices] == ["one#0", "one#1", "two#0", "two#1"]
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert answer.choices[0].logprobs.top_logprobs == [{"one#0": -0.25, "x": -0.25}]
    assert client.completions.create(model="sim/judge", prompt="three").choices[0].text == "three#0"


def test_embeddings(client: openai.OpenAI) -> None:
    """The client's own encoding (base64) and plain floats give the same vectors."""
    packed = client.embeddings.create(model="sim/embedding", input=["one two", "three"])
    plain = client.embeddings.create(model="sim/embedding", input="one two", encoding_format="float")
    assert [len(item.embedding) for item in packed.data] == [256, 256]
    assert packed.data[0].embedding == pytest.approx(plain.data[0].embedding, abs=1e-6)
    assert len(client.embeddings.create(model="sim/embedding", input="x", dimensions=8).data[0].embedding) == 8


def test_models_are_listed(client: openai.OpenAI, server: SimulatedServer, http: httpx.Client) -> None:
    """Every name can be listed and looked up, slash and all."""
    assert [model.id for model in client.models.list()] == ["sim/base", "sim/judge", "sim/embedding"]
    assert client.models.retrieve("sim/judge").id == "sim/judge"
    assert http.get(f"{server.api_base}/models/sim/judge").json()["id"] == "sim/judge"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("sim/none")


@pytest.mark.parametrize(
    ("fields", "error", "param", "code"),
    [
        ({"model": "gpt-4o"}, openai.NotFoundError, "model", "model_not_found"),
        ({"model": "sim/embedding"}, openai.NotFoundError, "model", "model_not_found"),
        ({"messages": []}, openai.BadRequestError, "messages", "invalid_value"),
        ({"temperature": "hot"}, openai.BadRequestError, "temperature", "invalid_type"),
        ({"stream": True}, openai.BadRequestError, "stream", "unsupported_parameter"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "whole"}}}},
            openai.BadRequestError,
            "response_format.json_schema.schema",
            "invalid_json_schema",
        ),
    ],
)
def test_wrong_requests_are_openai_errors(
    client: openai.OpenAI, server: SimulatedServer, fields: dict[str, Any], error: type, param: str, code: str
) -> None:
    """The client raises its own exception with the field and the code; nothing is counted as asked."""
    with pytest.raises(error) as caught:
        ask(client, **fields)
    assert (caught.value.param, caught.value.code, caught.value.type) == (param, code, "invalid_request_error")
    assert (server.counts.wrong, sum(server.counts.requests.values())) == (1, 0)


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", "/v1/chat/completions", b"{broken", 400),
        ("POST", "/v1/completions", b"", 400),
        ("POST", "/v1/embeddings", b"[]", 400),
        ("POST", "/v1/chat", b"{}", 404),
        ("GET", "/", None, 404),
        ("GET", "/v1/chat/completions", None, 405),
        ("POST", "/v1/models", b"{}", 405),
        ("POST", "/v1/chat/completions", b" " * (LARGEST_BODY + 1), 413),
    ],
)
def test_wrong_http_is_an_openai_error(
    server: SimulatedServer, http: httpx.Client, method: str, path: str, content: bytes | None, status: int
) -> None:
    """Wrong bodies, paths and methods get the same JSON as wrong fields, not a page of HTML."""
    answer = http.request(method, server.api_base.removesuffix("/v1") + path, content=content)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert ("allow" in answer.headers) == (status == 405)
    assert server.counts.wrong == 1


def test_compressed_bodies_are_not_unpacked(server: SimulatedServer, http: httpx.Client) -> None:
    """They are refused as the wrong JSON that they are; a small one could unpack to any size."""
    answer = http.post(f"{server.api_base}/chat/completions", content=b"abc", headers={"content-encoding": "gzip"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json")


def test_health_and_counters(client: openai.OpenAI, server: SimulatedServer, http: httpx.Client) -> None:
    """The health check answers, and the Prometheus page says what `counts` says."""
    base = server.api_base.removesuffix("/v1")
    assert http.get(f"{base}/health").status_code == 200
    ask(client)
    client.embeddings.create(model="sim/embedding", input="x")
    assert server.counts.requests == {"sim/base": 1, "sim/judge": 0, "sim/embedding": 1}
    page = http.get(f"{base}/metrics").text
    assert 'drpo_simulated_requests_total{model="sim/base"} 1' in page
    numbers = parse_metrics(page)
    assert (numbers["drpo_simulated_requests_total"], numbers["drpo_simulated_replies_total"]) == (2, 2)
    assert numbers["drpo_simulated_faults_total"] == 0


# What is the same each time, and under load.


def test_equal_requests_get_the_next_sample(client: openai.OpenAI, models: EchoModels) -> None:
    """The number goes up for the same request only, whatever its n; another temperature is another request."""
    assert ask(client).choices[0].message.content == "hi#0"
    assert [choice.message.content for choice in ask(client, n=2).choices] == ["hi#1", "hi#2"]
    assert ask(client, temperature=0.5).choices[0].message.content == "hi#0"
    assert ask(client, "ho").choices[0].message.content == "ho#0"
    assert ask(client).choices[0].message.content == "hi#3"


def test_ids_repeat_from_run_to_run() -> None:
    """A reply's id comes from what was asked, so a run's record is the same when it is run again."""
    ids = []
    for _ in range(2):
        with SimulatedServer(EchoModels()) as server, client_of(server) as client:
            ids.append([ask(client).id, ask(client).id, ask(client, "ho").id])
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 3


@pytest.mark.slow
def test_sixty_four_clients(server: SimulatedServer) -> None:
    """Every one of 64 clients at once gets its own answers, equal requests get all numbers once, nothing is lost."""

    def talk(number: int) -> list[str]:
        with plain_client() as client:
            texts = [f"mine {number}", "shared", f"mine too {number}", "shared"]
            return [
                client.post(
                    f"{server.api_base}/chat/completions",
                    json={"model": "sim/base", "messages": [{"role": "user", "content": text}]},
                    timeout=30,
                ).json()["choices"][0]["message"]["content"]
                for text in texts
            ]

    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(talk, range(64)))
    assert [[first, third] for first, _, third, _ in answers] == [[f"mine {i}#0", f"mine too {i}#0"] for i in range(64)]
    shared = {answer for _, second, _, fourth in answers for answer in (second, fourth)}
    assert shared == {f"shared#{number}" for number in range(128)}
    counts = server.counts
    assert counts.requests["sim/base"] == counts.replies == 256
    assert not any((*counts.faults.values(), counts.wrong, counts.abandoned, counts.failed))


# DSPy, through our engine and LiteLLM.


class Grade(dspy.Signature):
    """Grade the answer."""

    answer: str = dspy.InputField()
    score: Literal[1, 2, 3, 4, 5] = dspy.OutputField()


def test_a_schema_reaches_the_model() -> None:
    """DSPy's JSON adapter sends the signature's schema; the model is shown it and the typed reply comes back."""
    models = EchoModels(lambda request: '{"score": 4}')
    with SimulatedServer(models) as server, dspy.context(lm=lm_of(server, temperature=0.7), adapter=dspy.JSONAdapter()):
        assert dspy.Predict(Grade)(answer="x").score == 4
    [request] = models.asked
    assert request.schema is not None
    assert request.schema["properties"]["score"]["enum"] == [1, 2, 3, 4, 5]
    assert (request.temperature, request.turns[-1][0]) == (0.7, "user")
    assert "Grade the answer." in request.system


@pytest.mark.parametrize("provider", ["hosted_vllm", "openai"])
@pytest.mark.parametrize("model_type", ["chat", "text"])
def test_an_lm_of_ours_answers(
    monkeypatch: pytest.MonkeyPatch, server: SimulatedServer, provider: str, model_type: str
) -> None:
    """Chat and text models answer under both model strings, with usage."""
    monkeypatch.setenv("SOME_KEY", "any")
    lm = lm_of(server, model=f"{provider}/sim/base", model_type=model_type, api_key_env="SOME_KEY", max_tokens=20)
    assert lm("hello there") == ["hello there#0"]
    usage = lm.history[-1]["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (2, 2)


def test_dspy_alone_answers(server: SimulatedServer) -> None:
    """DSPy's own client, without our engine, gets the same."""
    assert dspy.LM("openai/sim/base", api_base=server.api_base, api_key="any", cache=False)("hello") == ["hello#0"]


@pytest.mark.parametrize("role", ["base", "judge", "criteria", "prompt"])
def test_http_and_this_process_say_the_same(role: str) -> None:
    """At temperature 0 a simulated model's reply does not depend on the way by which it was asked."""
    world = World()
    ask_it = dspy.Predict("question -> answer")
    ask_it.demos = [dspy.Example(question="Why is snow white?", answer="It scatters all colours.")]
    written = []
    with SimulatedServer(SimulatedModels(world)) as server:
        for lm in (simulated_lm(role, world), lm_of(server, model=f"hosted_vllm/sim/{role}", temperature=0.0)):
            with dspy.context(lm=lm):
                ask_it(question="Why is the sky blue?")
            [entry] = lm.history
            written.append((entry["outputs"], entry["usage"]["prompt_tokens"], entry["usage"]["completion_tokens"]))
    assert written[0] == written[1]


def test_wrong_requests_through_dspy(server: SimulatedServer) -> None:
    """A model that is not there, and a setting out of range, are DSPy's errors of that kind and are not retried."""
    with pytest.raises(LMUnsupportedModelError, match="does not exist"):
        lm_of(server, model="hosted_vllm/sim/none", num_retries=3)("hello")
    with pytest.raises(LMInvalidRequestError, match="top_logprobs"):
        lm_of(server, num_retries=3, extra_body={"top_logprobs": 3})("hello")
    assert server.counts.wrong == 2


# Faults.

SEEN = {
    FaultKind.RATE_LIMITED: (openai.RateLimitError, LMRateLimitError),
    FaultKind.SERVER_ERROR: (openai.InternalServerError, LMServerError),
    FaultKind.TIMED_OUT: (openai.APITimeoutError, LMTimeoutError),
    FaultKind.DROPPED: (openai.APIConnectionError, LMTransportError),
    FaultKind.MALFORMED: (ValueError, LMTransportError),
}


@pytest.mark.parametrize("kind", SEEN)
def test_each_fault_is_seen_for_what_it_is(kind: FaultKind, models: EchoModels) -> None:
    """Each kind reaches the openai client and DSPy as their own error of that kind, is counted, and costs no reply."""
    from_openai, from_dspy = SEEN[kind]
    faults = Faults(**{kind.value: 1.0}, retry_after=0.02)
    with SimulatedServer(models, faults=faults) as server:
        with client_of(server, timeout=0.1) as client, pytest.raises(from_openai) as caught:
            ask(client)
        if isinstance(caught.value, openai.APIStatusError):
            assert set(caught.value.response.json()["error"]) == {"message", "type", "param", "code"}
        with pytest.raises(LMError) as reported:
            lm_of(server, timeout=0.1)("hello")
        assert type(reported.value) is from_dspy
        assert reported.value.retry_after == (0.02 if kind is FaultKind.RATE_LIMITED else None)
    counts = server.counts
    assert counts.faults == {**dict.fromkeys(FaultKind, 0), kind: 2}
    assert (counts.requests["sim/base"], counts.replies, counts.abandoned, models.asked) == (2, 0, 0, [])


def test_a_refusal_is_an_empty_reply(models: EchoModels) -> None:
    """A content filter leaves no text and says so; for embeddings it is an error."""
    with SimulatedServer(models, faults=Faults(refused=1.0)) as server, client_of(server) as client:
        [choice] = ask(client).choices
        assert (choice.finish_reason, choice.message.content) == ("content_filter", None)
        assert client.completions.create(model="sim/base", prompt="x").choices[0].finish_reason == "content_filter"
        lm = lm_of(server)
        assert lm("hello") == [""]
        with pytest.raises(openai.BadRequestError) as caught:
            client.embeddings.create(model="sim/embedding", input="x")
        assert caught.value.code == "content_filter"
        assert server.counts.faults[FaultKind.REFUSED] == 4
    assert models.asked == []


@pytest.mark.slow
def test_retries_wait_as_long_as_they_are_told(models: EchoModels) -> None:
    """Every rate-limited call succeeds in the end, after the waits that the server asked for and no longer ones."""
    wait = 0.03
    with SimulatedServer(models, faults=Faults(rate_limited=0.5, retry_after=wait)) as server:
        lm = lm_of(server, num_retries=30)
        lm("to import what is imported late")
        before, begin = server.counts.faults[FaultKind.RATE_LIMITED], time.perf_counter()
        assert [lm(f"request {number}") for number in range(12)] == [[f"request {number}#0"] for number in range(12)]
        seconds = time.perf_counter() - begin
        limited = server.counts.faults[FaultKind.RATE_LIMITED] - before
    assert limited >= 3
    assert limited * wait <= seconds < limited * 0.5  # DSPy's own first wait is a second


def test_faults_never_change_what_is_said() -> None:
    """A request that a fault strikes uses up no sample: the replies are those of a perfect line, in the same order."""
    faults = Faults(rate_limited=0.2, server_error=0.2, dropped=0.1, malformed=0.1)
    said = []
    for chosen in (None, faults):
        with SimulatedServer(EchoModels(), faults=chosen) as server, client_of(server) as client:
            answers: list[str] = []
            while len(answers) < 20:
                with suppress(openai.OpenAIError, ValueError):
                    answers.append(ask(client).choices[0].message.content)
            said.append(answers)
            struck = sum(server.counts.faults.values())
            assert sum(server.counts.requests.values()) == 20 + struck
    assert said[0] == said[1] == [f"hi#{number}" for number in range(20)]
    assert struck > 5


def test_the_same_seed_strikes_the_same_requests() -> None:
    """Two servers with one seed strike alike, also when eight clients ask one of them at once."""

    def outcomes(threads: int) -> list[str]:
        def outcome(number: int) -> str:
            fields = {"model": "sim/base", "messages": [{"role": "user", "content": f"request {number}"}]}
            return str(client.post(f"{server.api_base}/chat/completions", json=fields).status_code)

        with (
            SimulatedServer(EchoModels(), faults=Faults(rate_limited=0.3, server_error=0.3, seed=3)) as server,
            plain_client() as client,
            ThreadPoolExecutor(threads) as pool,
        ):
            return list(pool.map(outcome, range(40)))

    alone = outcomes(1)
    assert alone == outcomes(8)
    assert {"200", "429"} < set(alone)


def test_latency_is_felt(models: EchoModels) -> None:
    """A reply takes as long as the faults say, and slow replies do not wait for each other."""
    with SimulatedServer(models, faults=Faults(latency=0.15)) as server, client_of(server) as client:
        begin = time.perf_counter()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: ask(client, f"request {number}"), range(8)))
        assert 0.15 <= time.perf_counter() - begin < 0.15 * 8


def test_a_client_that_leaves_is_counted_and_forgotten(models: EchoModels) -> None:
    """Nothing is computed for it, and its sample goes to the next one who asks."""
    with SimulatedServer(models, faults=Faults(latency=0.2)) as server:
        with client_of(server, timeout=0.05) as client, pytest.raises(openai.APITimeoutError):
            ask(client)
        wait_until(lambda: server.counts.abandoned == 1)
        with client_of(server) as client:
            assert ask(client).choices[0].message.content == "hi#0"
        assert (server.counts.requests["sim/base"], server.counts.replies) == (2, 1)


def test_a_failing_model_is_told_and_the_server_lives(caplog: pytest.LogCaptureFixture) -> None:
    """A model's own bug is a 500 that names it; the next request is answered."""

    def answer(request: Any) -> str:
        if request.turns[-1][1] == "break":
            raise ZeroDivisionError("a bug")
        return "fine"

    with SimulatedServer(EchoModels(answer)) as server, client_of(server) as client:
        with pytest.raises(openai.InternalServerError, match="a bug"):
            ask(client, "break")
        assert ask(client).choices[0].message.content == "fine"
        assert (server.counts.failed, server.counts.replies) == (1, 1)
    assert "ZeroDivisionError" in caplog.text


# Starting and stopping.


def test_stopping_ends_what_waits(models: EchoModels, http: httpx.Client) -> None:
    """A stop does not wait out latencies and time-outs: their clients are told, at once."""
    with SimulatedServer(models, faults=Faults(latency=30.0)) as server, ThreadPoolExecutor(1) as pool:
        fields = {"model": "sim/base", "messages": [{"role": "user", "content": "hi"}]}
        under_way = pool.submit(http.post, f"{server.api_base}/chat/completions", json=fields, timeout=30)
        wait_until(lambda: server.counts.requests["sim/base"] == 1)
        begin = time.perf_counter()
        server.stop()
        assert time.perf_counter() - begin < 2
        assert under_way.result().status_code == 503
        assert server.counts.abandoned == 1


@pytest.mark.slow
def test_stopping_finishes_replies_under_way() -> None:
    """Replies that are being written when the stop comes still arrive, all of them."""
    writing = threading.Event()

    def slow(request: Any) -> str:
        writing.set()
        time.sleep(0.04)
        return "finished"

    with SimulatedServer(EchoModels(slow)) as server, client_of(server) as client, ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(ask, client, n=12)
        assert writing.wait(5)
        server.stop()
        assert [choice.message.content for choice in under_way.result().choices] == ["finished"] * 12


def test_a_server_starts_and_stops_again(models: EchoModels) -> None:
    """Counts go on over a restart; a stopped server has no address, and stopping twice is nothing."""
    server = SimulatedServer(models)
    for times in (1, 2):
        with server, client_of(server) as client:
            ask(client)
            with pytest.raises(ServerError, match="running already"):
                server.start()
        assert server.counts.replies == times
    server.stop()
    with pytest.raises(ServerError, match="not running"):
        _ = server.api_base
    assert not [thread for thread in threading.enumerate() if thread.name == "simulated-server"]


def test_a_taken_port_is_named(server: SimulatedServer, models: EchoModels) -> None:
    """The message says which port and what to do."""
    port = int(server.api_base.rsplit(":", 1)[1].removesuffix("/v1"))
    with pytest.raises(ServerError, match=rf"Port {port} on 127\.0\.0\.1 is taken"):
        SimulatedServer(models, port=port).start()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"host": ""}, "host=''"),
        ({"host": "  "}, "host='  '"),
        ({"port": -1}, "port=-1"),
        ({"port": 65536}, "port=65536"),
        ({"port": True}, "port=True"),
    ],
)
def test_wrong_addresses_are_refused(models: EchoModels, fields: dict[str, Any], words: str) -> None:
    """An empty host would listen everywhere; nobody asked for that."""
    with pytest.raises(ConfigError, match=words):
        SimulatedServer(models, **fields)


def test_an_unknown_host_is_refused(models: EchoModels, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that leads nowhere is the user's mistake."""

    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(ConfigError, match=r"host='no\.such\.host'.*not known"):
        SimulatedServer(models, host="no.such.host").start()


def test_it_listens_on_loopback_unless_told_otherwise(server: SimulatedServer, models: EchoModels) -> None:
    """The default cannot be reached from outside; with an open address, `api_base` is still one that works here."""
    assert server.api_base.startswith("http://127.0.0.1:")
    with SimulatedServer(models, host="0.0.0.0") as everywhere, client_of(everywhere) as client:
        assert everywhere.api_base.startswith("http://127.0.0.1:")
        assert ask(client).choices[0].message.content == "hi#0"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_server_until_a_signal(models: EchoModels, http: httpx.Client, number: signal.Signals) -> None:
    """`drpo simulate` says where it listens and what can go wrong, serves, and ends on a signal with its counts."""
    said: list[str] = []
    before = signal.getsignal(number)
    ready = threading.Event()

    def say(line: str) -> None:
        said.append(line)
        if "Ctrl-C" in line:
            ready.set()

    def visit() -> None:
        assert ready.wait(5)
        try:
            base = said[0].split()[3].rstrip(":")
            fields = {"model": "sim/base", "messages": [{"role": "user", "content": "hi"}]}
            http.post(f"{base}/chat/completions", json=fields)
        finally:
            os.kill(os.getpid(), number)

    visitor = threading.Thread(target=visit)
    visitor.start()
    run_server(models, host="0.0.0.0", port=0, faults=Faults(refused=0.125), say=say)
    visitor.join()
    assert "sim/base, sim/judge, sim/embedding" in said[0]
    assert "every machine" in said[1]
    assert said[2] == "Fault refused: 12.5% of the requests."
    assert said[-1].startswith("Stopped: 1 requests, ")
    assert signal.getsignal(number) is before


def test_what_is_no_http_is_refused_quietly(
    server: SimulatedServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A stranger's bytes print no traceback where the server runs, and the server lives on."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # as where nobody has set up logging
    host, port = server.api_base.split("/")[2].split(":")
    with socket.create_connection((host, int(port)), timeout=5) as stranger:
        stranger.sendall(b"POST / HTTP/1.1\r\nContent-Length: few\r\n\r\n")
        assert b"400" in stranger.recv(1000)
    with client_of(server) as client:
        assert ask(client).choices[0].message.content == "hi#0"
    assert "Traceback" not in "".join(capfd.readouterr())
