"""The LiteLLM engine against a real endpoint on this machine: what stands on the wire, and what its failures become."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dspy
import pytest
from dspy.utils.exceptions import (
    LMAuthError,
    LMError,
    LMInvalidRequestError,
    LMRateLimitError,
    LMServerError,
    LMTimeoutError,
    LMUnsupportedModelError,
)
from endpoint import Fault, Sent, endpoint
from variants import slow

from drpo.errors import ConfigError
from drpo.programs.judge import Asked, Judge
from drpo.programs.responder import Responder
from drpo.programs.selector import CriteriaSelector
from drpo.serving.engine import LiteLLMEngine, build_lm
from drpo.serving.settings import LMSettings

MODEL_TYPES = pytest.mark.parametrize("model_type", ["chat", *slow("text")])


@pytest.fixture(autouse=True)
def event_loop() -> Iterator[None]:
    """Own the event loop that LiteLLM would make in the main thread for its OpenAI client, and never close."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Keep the seconds that DSPy would wait before its next try, instead of waiting."""
    seconds: list[float] = []

    class Clock:
        sleep = staticmethod(seconds.append)

    monkeypatch.setattr("dspy.clients.execution.time", Clock)
    return seconds


def lm_at(api_base: Any, *, model: str = "hosted_vllm/small", **options: Any) -> dspy.LM:
    return build_lm(LMSettings(model=model, api_base=api_base, **{"temperature": 0.0, "max_tokens": 50, **options}))


def dead() -> str:
    """Return an address at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/v1"


# --- what stands on the wire -------------------------------------------------------------------------


def test_a_chat_model_is_sent_the_conversation_byte_for_byte() -> None:
    """Invariant: nothing is added to, trimmed from or escaped in what the adapter wrote."""
    demos = [{"query": " {a} ", "response": "[QUERY]\n"}]
    responder = Responder(instructions="Be brief.\n- {x} [QUERY] שלום", demos=demos)
    with endpoint() as server, dspy.context(lm=lm_at(server.api_base, top_p=0.9, seed=3)):
        assert responder(query="why? \n").response == "Hello!"
    (sent,) = server.sent
    assert sent.path == "/v1/chat/completions"
    assert sent.body == {
        "model": "small",
        "messages": [
            {"role": "system", "content": "Be brief.\n- {x} [QUERY] שלום"},
            {"role": "user", "content": " {a} "},
            {"role": "assistant", "content": "[QUERY]\n"},
            {"role": "user", "content": "why? \n"},
        ],
        "temperature": 0.0,
        "top_p": 0.9,
        "seed": 3,
        "max_completion_tokens": 50,
    }


def test_a_base_model_is_sent_one_prompt_and_its_stop_strings() -> None:
    responder = Responder(instructions="Be brief.", demos=[{"query": "a", "response": "b"}])
    options = {"model_type": "text", "seed": 3, "top_p": 0.9, "extra_body": {"top_k": 5}}
    with endpoint([" Fine.\n<END>"]) as server, dspy.context(lm=lm_at(server.api_base, **options)):
        assert responder(query="why? ").response == "Fine."
    (sent,) = server.sent
    assert sent.path == "/v1/completions"
    assert sent.body == {
        "model": "small",
        "prompt": "Be brief.\n\n# Query\na\n\n# Answer\n<START>\nb\n<END>\n\n# Query\nwhy? \n\n# Answer\n<START>\n",
        "stop": ["<END>", "<END", "<|eot_id|>"],
        "temperature": 0.0,
        "top_p": 0.9,
        "seed": 3,
        "max_tokens": 50,
        "top_k": 5,
    }


def test_nothing_is_forced_on_a_provider() -> None:
    """Invariant: what is not set is not sent; reasoning models refuse what they do not know."""
    with endpoint() as server:
        lm_at(server.api_base, temperature=None, max_tokens=None)("hi")
    assert server.bodies == [{"model": "small", "messages": [{"role": "user", "content": "hi"}]}]


@pytest.mark.parametrize(("structured", "kind"), [(None, "json_schema"), (True, "json_schema"), (False, None)])
def test_a_local_vllm_is_sent_the_judges_schema(structured: bool | None, kind: str | None) -> None:
    """Invariant: structured output really reaches the wire, which it does not by itself (serving, 3.1)."""
    reply = '{"judgement_1": {"rationale": "r", "score": 4}}'
    with endpoint([reply]) as server:
        lm = lm_at(server.api_base, structured_output=structured)
        (grade,) = Judge()(lm=lm, query="q", answer="a", criteria=[Asked("Clarity", "It is clear.")])
    assert grade is not None
    assert grade.score == 4
    sent = server.bodies[0].get("response_format", {})
    assert sent.get("type") == kind
    if kind:
        assert sent["json_schema"]["strict"] is True
        assert sent["json_schema"]["schema"]["$defs"]["Grade"]["properties"]["score"]["enum"] == [1, 2, 3, 4, 5]


def test_the_selectors_bounds_reach_the_wire() -> None:
    with endpoint(['{"analysis": "", "criteria": [{"name": "A"}, {"name": "B"}]}']) as server:
        CriteriaSelector()(lm=lm_at(server.api_base), query="q", library=[("A", "a")], minimum=2, maximum=4)
    schema = json.dumps(server.bodies[0]["response_format"])
    assert '"minItems": 2' in schema
    assert '"maxItems": 4' in schema


def test_a_string_limit_reaches_the_wire() -> None:
    """Free texts of the schema are bounded where the settings say so, and nothing else of it changes."""
    reply = '{"judgement_1": {"rationale": "r", "score": 4}}'
    schemas = []
    for limit in (None, 50):
        with endpoint([reply]) as server:
            Judge()(lm=lm_at(server.api_base, string_limit=limit), query="q", answer="a", criteria=[Asked("A", "a")])
        schemas.append(server.bodies[0]["response_format"]["json_schema"]["schema"])
    free, limited = (schema["$defs"]["Grade"]["properties"] for schema in schemas)
    assert limited == {**free, "rationale": {**free["rationale"], "maxLength": 50}}


def test_unknown_models_get_a_schema_only_when_told() -> None:
    assert not LiteLLMEngine(LMSettings(model="openai/my-own")).supports_response_schema
    assert "response_format" not in LiteLLMEngine(LMSettings(model="openai/my-own")).supported_params
    told = LiteLLMEngine(LMSettings(model="openai/my-own", structured_output=True))
    assert "response_format" in told.supported_params
    assert LiteLLMEngine(LMSettings(model="openai/gpt-4o-mini")).supports_response_schema
    assert not LiteLLMEngine(LMSettings(model="openai/gpt-4o-mini", structured_output=False)).supports_response_schema


@MODEL_TYPES
def test_the_key_comes_from_the_environment(model_type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-secret")
    with endpoint() as server:
        lm = lm_at(server.api_base, api_key_env="MY_KEY", model_type=model_type)
        lm("hi")
        assert server.sent[0].headers["authorization"] == "Bearer sk-secret"
        assert "sk-secret" not in json.dumps(lm.dump_state()) + repr(lm.history) + repr(lm.kwargs)
    with endpoint() as server:
        lm_at(server.api_base, model_type=model_type)("hi")
        assert "sk-secret" not in str(server.sent[0].headers)


def test_a_key_that_is_not_set_is_named() -> None:
    assert "NO_SUCH_KEY" not in os.environ
    with pytest.raises(ConfigError, match="api_key_env='NO_SUCH_KEY': this environment variable is not set"):
        lm_at("http://127.0.0.1:1/v1", api_key_env="NO_SUCH_KEY")


def test_an_openai_model_at_an_address_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "mine")
    with endpoint() as server:
        assert lm_at(server.api_base, model="openai/my-own", api_key_env="MY_KEY")("hi") == ["Hello!"]
        assert server.sent[0].path == "/v1/chat/completions"
        lm_at(server.api_base, model="openai/my-own", api_key_env="MY_KEY", model_type="text")("hi")
        assert server.sent[1].path == "/v1/completions"


@pytest.mark.parametrize("text", [None, ""])
@MODEL_TYPES
def test_a_reply_without_content_is_empty_text(text: str | None, model_type: str) -> None:
    with endpoint([text]) as server:
        assert lm_at(server.api_base, model_type=model_type)("hi") == [""]


def test_usage_is_the_servers_count() -> None:
    with endpoint() as server:
        lm = lm_at(server.api_base)
        lm("hi")
    assert {key: lm.history[-1]["usage"][key] for key in ("prompt_tokens", "completion_tokens")} == {
        "prompt_tokens": 11,
        "completion_tokens": 7,
    }


def test_a_saved_lm_leads_nowhere() -> None:
    """Invariant: endpoint, server name and request fields stay out of a file; the model comes back."""
    engine = LiteLLMEngine(
        LMSettings(model="hosted_vllm/small", api_base="http://10.0.0.1/v1", extra_body={"top_k": 5})
    )
    state = json.loads(json.dumps(engine.dump_state()))
    assert "10.0.0.1" not in json.dumps(state)
    again = LiteLLMEngine.load_state(state)
    assert (again.settings.model, again.settings.api_base) == ("hosted_vllm/small", None)


# --- what failures become ----------------------------------------------------------------------------


@MODEL_TYPES
@pytest.mark.parametrize(
    ("fault", "error", "requests"),
    [
        (Fault(401), LMAuthError, 1),
        (Fault(403), LMAuthError, 1),
        (Fault(404), LMUnsupportedModelError, 1),
        (Fault(400), LMInvalidRequestError, 1),
        (Fault(429), LMRateLimitError, 3),
        (Fault(500), LMServerError, 3),
        (Fault(503), LMServerError, 3),
    ],
)
def test_faults_are_raised_and_only_passing_ones_tried_again(
    fault: Fault, error: type[Exception], requests: int, model_type: str
) -> None:
    """Invariant: exactly one layer tries again; a wrong key or a refused request fails at once."""
    with endpoint([fault]) as server, pytest.raises(error):
        lm_at(server.api_base, num_retries=2, model_type=model_type)("hi")
    assert len(server.sent) == requests


@MODEL_TYPES
def test_a_passing_fault_is_tried_again_with_growing_waits(model_type: str, slept: list[float]) -> None:
    with endpoint([Fault(500), Fault(502), "Well again."]) as server:
        assert lm_at(server.api_base, model_type=model_type)("hi") == ["Well again."]
    assert slept == [1, 2]
    assert server.bodies[0] == server.bodies[2]


@MODEL_TYPES
def test_a_server_that_says_when_is_asked_then(model_type: str, slept: list[float]) -> None:
    with endpoint([Fault(429, {"retry-after": "7"}), Fault(503, {"Retry-After": "0"}), "Now."]) as server:
        assert lm_at(server.api_base, model_type=model_type)("hi") == ["Now."]
    assert slept == [7, 0]


@MODEL_TYPES
def test_an_answer_that_does_not_come_is_a_timeout(model_type: str) -> None:
    with endpoint([Fault(500, delay=1.0)]) as server, pytest.raises(LMTimeoutError):
        lm_at(server.api_base, timeout=0.2, num_retries=0, model_type=model_type)("hi")
    assert len(server.sent) == 1


@MODEL_TYPES
def test_a_server_that_is_not_there_is_an_outage(model_type: str) -> None:
    with pytest.raises(LMError) as error:
        lm_at(dead(), num_retries=1, model_type=model_type)("hi")
    assert not isinstance(error.value, (LMInvalidRequestError, LMAuthError))


# --- several endpoints -------------------------------------------------------------------------------


@MODEL_TYPES
def test_a_dead_endpoint_costs_no_call(model_type: str, slept: list[float]) -> None:
    """Invariant: an endpoint that lives is asked instead, without a wait, for chat and for base models."""
    with endpoint() as living:
        lm = lm_at([dead(), living.api_base], model_type=model_type)
        assert [lm(f"hi {number}") for number in range(8)] == [["Hello!"]] * 8
    assert len(living.sent) == 8
    assert slept == []


@MODEL_TYPES
def test_an_endpoint_that_fails_is_left_alone(model_type: str) -> None:
    with endpoint([Fault(500)]) as failing, endpoint() as living:
        lm = lm_at([failing.api_base, living.api_base], model_type=model_type)
        assert [lm(f"hi {number}") for number in range(8)] == [["Hello!"]] * 8
    assert 1 <= len(failing.sent) <= 2
    assert len(living.sent) == 8


def test_copies_of_an_lm_know_the_same_of_its_endpoints() -> None:
    """Programs are copied with their LMs; an endpoint that rests, rests for all of them."""
    lm = lm_at([dead(), dead()])
    program = dspy.Predict("question -> answer")
    program.set_lm(lm)
    assert copy.deepcopy(lm).engine is lm.engine
    assert program.deepcopy().lm.engine is lm.engine


def test_only_one_of_three_endpoints_lives() -> None:
    with endpoint() as living:
        lm = lm_at([dead(), dead(), living.api_base], num_retries=0)
        assert lm("hi") == ["Hello!"]


def test_a_wrong_key_fails_at_once_on_several_endpoints_too() -> None:
    with endpoint([Fault(401)]) as one, endpoint([Fault(401)]) as other, pytest.raises(LMAuthError):
        lm_at([one.api_base, other.api_base])("hi")
    assert len(one.sent) + len(other.sent) == 1


def test_the_less_busy_endpoint_is_asked() -> None:
    """Invariant: servers work at the same time, and each gets the body and the fields of the role."""
    arrived, release = threading.Semaphore(0), threading.Event()

    def hold(_: Sent) -> str:
        arrived.release()
        release.wait(5)
        return "Hello!"

    with endpoint(hold) as one, endpoint(hold) as other, ThreadPoolExecutor(2) as pool:
        lm = lm_at([one.api_base, other.api_base], extra_body={"top_k": 5})
        calls = []
        for text in "ab":
            calls.append(pool.submit(lm, text))
            assert arrived.acquire(timeout=5)
        release.set()
        assert [call.result() for call in calls] == [["Hello!"]] * 2
    assert len(one.sent) == len(other.sent) == 1
    assert all((body["model"], body["top_k"]) == ("small", 5) for body in one.bodies + other.bodies)
