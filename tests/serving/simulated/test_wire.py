"""OpenAI's wire format: what is read, what is refused and how, and what is written."""

from __future__ import annotations

import base64
import json
import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drpo.serving.simulated.embeddings import embed
from drpo.serving.simulated.json_schemas import schema_problem
from drpo.serving.simulated.models import SimulatedReply
from drpo.serving.simulated.wire import Call, EmbeddingCall, WireError, embedding_body, reply_body
from drpo.serving.simulated.wire_requests import read_chat, read_embedding, read_text

SCHEMA = {"type": "object", "properties": {"score": {"type": "integer"}}, "required": ["score"]}


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "sim/base", **fields}).encode()


def chat(**fields: Any) -> Call | WireError:
    return read_chat(body(**{"messages": [{"role": "user", "content": "hi"}], **fields}))


def call(**fields: Any) -> Call:
    read = chat(**fields)
    assert isinstance(read, Call), read
    return read


def refused(read: object) -> WireError:
    assert isinstance(read, WireError), read
    assert read.message
    assert set(read.body["error"]) == {"message", "type", "param", "code"}
    return read


def format_of(schema: object) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "it", "schema": schema}}


def test_messages_become_a_system_text_and_turns() -> None:
    """Leading system messages are one text; everything after the first turn keeps its place and role."""
    [request] = call(
        messages=[
            {"role": "system", "content": "one"},
            {"role": "developer", "content": [{"type": "text", "text": "two "}, {"type": "text", "text": "parts"}]},
            {"role": "user", "content": "ask"},
            {"role": "assistant", "content": None},
            {"role": "system", "content": "late"},
        ]
    ).requests
    assert request.system == "one\n\ntwo parts"
    assert request.turns == (("user", "ask"), ("assistant", ""), ("system", "late"))


def test_sampling_settings_are_carried() -> None:
    """What a client sets reaches the model; what it leaves out, or sends as null, is unset."""
    read = call(temperature=1, seed=7, stop="END", max_tokens=5, max_completion_tokens=9, logprobs=True, top_logprobs=3)
    [request] = read.requests
    assert (request.temperature, request.seed, request.stop, request.max_tokens) == (1.0, 7, ("END",), 9)
    assert (request.logprobs, read.alternatives, request.schema, request.sample) == (True, 3, None, 0)
    [plain] = call(temperature=None, stop=None, n=None, response_format=None, logprobs=False, stream=False).requests
    assert (plain.temperature, plain.seed, plain.stop, plain.max_tokens) == (None, None, (), None)
    assert plain.logprobs is False


def test_response_formats_become_a_schema() -> None:
    """A JSON schema is handed on as it is; a bare JSON object is the schema of any object; text is none."""
    assert call(response_format=format_of(SCHEMA)).requests[0].schema == SCHEMA
    assert call(response_format={"type": "json_object"}).requests[0].schema == {"type": "object"}
    assert call(response_format={"type": "text"}).requests[0].schema is None


def test_a_list_of_prompts_is_one_request_each() -> None:
    """Text prompts become single user turns, in order."""
    read = read_text(body(prompt=["a", "b"], n=2, logprobs=0))
    assert isinstance(read, Call)
    assert [request.turns for request in read.requests] == [(("user", "a"),), (("user", "b"),)]
    assert (read.n, read.chat, read.requests[0].logprobs, read.alternatives) == (2, False, True, 0)


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": "hi"}, "messages", "invalid_type"),
        ({"messages": None}, "messages", "invalid_type"),
        ({"messages": [{"content": "hi"}]}, "messages[0].role", "missing_required_parameter"),
        ({"messages": [{"role": "boss", "content": "hi"}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content", "invalid_type"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content", None),
        ({"model": ""}, "model", "invalid_value"),
        ({"model": 3}, "model", "invalid_type"),
        ({"temperature": "hot"}, "temperature", "invalid_type"),
        ({"temperature": 2.1}, "temperature", "invalid_value"),
        ({"n": 0}, "n", "invalid_value"),
        ({"n": True}, "n", "invalid_type"),
        ({"max_tokens": "12"}, "max_tokens", "invalid_type"),
        ({"max_completion_tokens": 0}, "max_completion_tokens", "invalid_value"),
        ({"seed": 1.5}, "seed", "invalid_type"),
        ({"stop": 5}, "stop", "invalid_type"),
        ({"stop": [5]}, "stop[0]", "invalid_type"),
        ({"top_logprobs": 2}, "top_logprobs", None),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "invalid_value"),
        ({"stream": True}, "stream", "unsupported_parameter"),
        ({"tools": [{}]}, "tools", "unsupported_parameter"),
        ({"structured_outputs": {"choice": ["a"]}}, "structured_outputs", "unsupported_parameter"),
        ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "missing_required_parameter"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}},
            "response_format.json_schema.name",
            "missing_required_parameter",
        ),
        (
            {"response_format": format_of({"type": "whole"})},
            "response_format.json_schema.schema",
            "invalid_json_schema",
        ),
        ({"response_format": format_of([])}, "response_format.json_schema.schema", "invalid_type"),
    ],
)
def test_wrong_chat_requests_are_refused(fields: dict[str, Any], param: str, code: str | None) -> None:
    """Every wrong field is a 400 that names the field."""
    error = refused(chat(**fields))
    assert (error.status, error.type, error.param, error.code) == (400, "invalid_request_error", param, code)
    assert repr(param) in error.message or param.startswith(("messages[0].content", "response_format", "stop"))


def test_missing_fields_are_named() -> None:
    """The three kinds of request each say what they lack."""
    assert refused(read_chat(b'{"messages": [{"role": "user", "content": "x"}]}')).param == "model"
    assert refused(read_chat(body())).param == "messages"
    assert refused(read_text(body())).param == "prompt"
    assert refused(read_embedding(body())).param == "input"
    assert refused(read_embedding(body(input=[]))).param == "input"
    assert refused(read_embedding(body(input=[""]))).param == "input[0]"
    assert refused(read_text(body(prompt=[[1, 2]]))).param == "prompt[0]"
    assert refused(read_text(body(prompt=["x"] * 600, n=2))).param == "n"


def test_long_values_are_cut_in_messages() -> None:
    """A wrong value is shown, but not a megabyte of it."""
    assert len(refused(chat(messages="x" * 10_000)).message) < 250


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b"3", b"\xff\xfe", b"[" * 100_000, b'{"model": "\\ud800"}', b'{"model": "sim/base", "x": NaN}'],
)
def test_broken_bodies_are_refused(raw: bytes) -> None:
    """No bytes whatever raise; all are a 400."""
    for read in (read_chat, read_text, read_embedding):
        error = refused(read(raw))
        assert (error.status, error.code) == (400, "invalid_type" if raw in {b"[]", b"3"} else "invalid_json")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("model", "messages", "temperature", "n", "stop", "logprobs", "response_format", "prompt", "input", "seed")


@given(st.dictionaries(st.sampled_from(FIELDS), json_values))
def test_any_fields_are_read_or_refused(fields: dict[str, Any]) -> None:
    """A request is a call or an error with the four keys, never an exception."""
    for read in (read_chat, read_text, read_embedding):
        result = read(json.dumps(fields).encode())
        if isinstance(result, WireError):
            json.dumps(refused(result).body)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (SCHEMA, None),
        ({}, None),
        ({"$defs": {"a/b": {"type": "string"}}, "properties": {"x": {"$ref": "#/$defs/a~1b"}}}, None),
        ({"$ref": "#"}, None),
        ({"properties": {"$ref": {"type": "string"}}}, None),
        ({"anyOf": [{"type": "integer"}, {"$ref": "#/anyOf/0"}]}, None),
        ({"type": "whole"}, "'whole'"),
        ({"properties": {"x": {"minimum": "1"}}}, "properties.x.minimum"),
        ({"pattern": "("}, "pattern"),
        ({"$ref": "#/$defs/Missing"}, "#/$defs/Missing"),
        ({"$ref": "https://example.com/schema"}, "example.com"),
        ({"required": "score"}, "required"),
    ],
)
def test_schemas_are_checked(schema: dict[str, Any], words: str | None) -> None:
    """A problem is told with its place; references must lead somewhere within the schema."""
    problem = schema_problem(schema)
    assert problem is None if words is None else problem is not None and words in problem, problem


def test_a_schema_nested_without_end_is_refused() -> None:
    """Depth is refused like any other mistake."""
    schema: dict[str, Any] = {}
    for _ in range(300):
        schema = {"not": schema}
    assert "deep" in str(schema_problem(schema))


def reply(text: str, *, read: int = 3, written: int = 2, **fields: Any) -> SimulatedReply:
    return SimulatedReply(
        **{"text": text, "finish_reason": "stop", "prompt_tokens": read, "completion_tokens": written, "logprobs": None}
        | fields
    )


def test_usage_counts_each_prompt_once() -> None:
    """Two prompts with two replies each: two prompts read, four replies written, numbered through."""
    read = read_text(body(prompt=["a", "b"], n=2))
    assert isinstance(read, Call)
    replies = [reply("w", read=3), reply("x", read=3), reply("y", read=5), reply("z", read=5)]
    answer = reply_body(read, replies, identity="7", created=1)
    assert answer["usage"] == {"prompt_tokens": 8, "completion_tokens": 8, "total_tokens": 16}
    assert [(choice["index"], choice["text"]) for choice in answer["choices"]] == list(enumerate("wxyz"))


def test_text_logprobs_keep_their_places() -> None:
    """Offsets lead to each token in the reply's text."""
    tokens = [{"token": token, "logprob": -1.0, "top_logprobs": []} for token in ("Hel", "lo", " you")]
    read = read_text(body(prompt="a", logprobs=0))
    assert isinstance(read, Call)
    [choice] = reply_body(read, [reply("Hello you", logprobs=tokens)], identity="7", created=1)["choices"]
    written = choice["logprobs"]
    for token, offset in zip(written["tokens"], written["text_offset"], strict=True):
        assert choice["text"][offset:].startswith(token)


@pytest.mark.parametrize("wanted", [0, 1, 2])
def test_as_many_alternatives_as_asked_for(wanted: int) -> None:
    """The model tells all that it knows; a client is shown no more than it wanted, likeliest first."""
    known = [{"token": "é", "logprob": -0.1}, {"token": "e", "logprob": -2.0}, {"token": "x", "logprob": -3.0}]
    tokens = [{"token": "é", "logprob": -0.1, "top_logprobs": known}]
    read = call(logprobs=True, top_logprobs=wanted)
    [choice] = reply_body(read, [reply("é", logprobs=tokens)], identity="7", created=1)["choices"]
    [token] = choice["logprobs"]["content"]
    assert (token["token"], token["bytes"]) == ("é", [195, 169])
    assert [other["token"] for other in token["top_logprobs"]] == ["é", "e", "x"][:wanted]


def cosine(one: str, other: str) -> float:
    return sum(a * b for a, b in zip(embed(one), embed(other), strict=True))


def test_vectors_are_lexical() -> None:
    """Length 1, the same each time, blind to case and accents; shared words and stems are near, others far."""
    assert math.isclose(math.hypot(*embed("The cat sat.")), 1.0)
    assert embed("Élan vital") == embed("elan VITAL")
    assert not any(embed("?!"))
    near, stem, far = (cosine("the cat sat", text) for text in ("The cat sat down", "cats sat", "stock prices fell"))
    assert near > stem > far
    assert far < 0.3


def test_both_encodings_hold_one_vector() -> None:
    """base64 is the floats as little-endian 32-bit numbers, in the length asked for."""
    answers = []
    for encoding in ("float", "base64"):
        read = read_embedding(body(input="a few words", encoding_format=encoding, dimensions=12))
        assert isinstance(read, EmbeddingCall)
        answers.append(embedding_body(read))
    floats, packed = (answer["data"][0]["embedding"] for answer in answers)
    assert len(floats) == 12
    assert struct.unpack("<12f", base64.b64decode(packed)) == pytest.approx(floats, abs=1e-6)
    assert answers[0]["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
