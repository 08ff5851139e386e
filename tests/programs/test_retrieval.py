"""Retrieved demonstrations. What holds is written in the docstrings of the tests."""

from __future__ import annotations

import asyncio
import copy
import datetime
import enum
import json
import logging
import math
import pickle
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cloudpickle
import dspy
import numpy as np
import pydantic
import pytest
from dspy.lm15 import Message, Response, TextPart, Usage
from hypothesis import given
from hypothesis import strategies as st

from drpo.errors import ConfigError, ProgramFileError, ProgramStructureError
from drpo.programs import retrieval
from drpo.programs.demo_index import DemoIndex, clean_demos
from drpo.programs.encoders import LexicalEncoder, LiteLLMEncoder
from drpo.programs.retrieval import RetrievingPredict, retrieving
from drpo.programs.text import normalise, render_inputs, to_json

POOL = [
    {"query": "How do I boil an egg?", "response": "Eight minutes in simmering water."},
    {"query": "How can I wash a wool sweater?", "response": "By hand, cold."},
    {"query": "What is the capital of Peru?", "response": "Lima."},
    {"query": "Write a poem about the sea", "response": "Grey, and breathing."},
]


class Engine:
    """Answers every request with the same text, and remembers what was sent."""

    def __init__(self) -> None:
        self.sent: list[list[tuple[str, str]]] = []

    def complete(self, request: Any) -> Response:
        system = request.system if isinstance(request.system, str) else "".join(part.text for part in request.system)
        self.sent.append([("system", system), *((message.role, message.text) for message in request.messages)])
        text = "[[ ## response ## ]]\nAn answer.\n\n[[ ## completed ## ]]"
        usage = Usage(input_tokens=1, output_tokens=1, total_tokens=2)
        message = Message.assistant([TextPart(text)])
        return Response(id=None, model="scripted", message=message, finish_reason="stop", usage=usage)


class AsyncEngine(Engine):
    async def complete(self, request: Any) -> Response:  # type: ignore[override]
        return super().complete(request)


def prompts(program: Any, *queries: str, **call: Any) -> list[list[tuple[str, str]]]:
    """Return every message that the program sends for these queries."""
    engine = Engine()
    with dspy.context(lm=dspy.LM("scripted", engine=engine, cache=False)):
        for query in queries:
            program(query=query, **call)
    return engine.sent


def shown(program: Any, query: str, **call: Any) -> list[str]:
    """Return the answers of the demonstrations that a call is shown, in the order of the prompt."""
    answers = {demo["response"] for demo in POOL} | {"Mine."}
    texts = [text for role, text in prompts(program, query, **call)[0] if role == "assistant"]
    return [answer for text in texts for answer in answers if answer in text]


@dataclass
class Counting:
    """An encoder that counts what it encodes, and sees texts through a function."""

    seen: list[str] = field(default_factory=list)
    delay: float = 0.0
    flip: float = 1.0

    def encode(self, texts: Sequence[str]) -> Any:
        time.sleep(self.delay)
        self.seen.extend(texts)
        return np.array([[len(text), self.flip * 10.0, 1.0] for text in texts])  # not of length 1 on purpose

    def spec(self) -> dict[str, Any]:
        return {"kind": "counting", "flip": self.flip}


class TestSearch:
    def test_the_nearest_come_first(self) -> None:
        predictor = RetrievingPredict("query -> response", demos=POOL, k=2)
        assert shown(predictor, "What is Peru's capital city?")[0] == "Lima."
        assert shown(predictor, "boiling eggs")[0] == "Eight minutes in simmering water."
        assert shown(predictor, "poems on the ocean and the sea")[0] == "Grey, and breathing."
        assert len(shown(predictor, "boiling eggs")) == 2

    def test_zero_means_zero(self) -> None:
        """With `k=0` no demonstration is sent, whatever the pool or `.demos` hold."""
        predictor = RetrievingPredict("query -> response", demos=POOL)
        predictor.demos = [{"query": "a", "response": "Mine."}]
        sent = prompts(predictor, "boiling eggs")[0]
        assert [role for role, _ in sent] == ["system", "user"]
        assert len(prompts(RetrievingPredict("query -> response"), "x")[0]) == 2

    def test_k_equal_to_the_pool_shows_all(self) -> None:
        predictor = RetrievingPredict("query -> response", demos=POOL, k=4)
        assert set(shown(predictor, "boiling eggs")) == {demo["response"] for demo in POOL}

    @pytest.mark.parametrize("k", [5, -1, True, 1.0, None, "2"])
    def test_a_k_that_cannot_be_is_refused(self, k: Any) -> None:
        with pytest.raises(ConfigError, match="k="):
            RetrievingPredict("query -> response", demos=POOL, k=k)

    def test_a_k_without_pool_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="only 0 demonstrations"):
            RetrievingPredict("query -> response", k=1)

    @pytest.mark.parametrize(
        "query",
        [
            "How do I boil an egg?",
            "HOW DO I BOIL AN EGG?",
            "  how\tdo I\n boil  an egg? ",
            "\uff28ow do I boil an egg?",
        ],
    )
    def test_never_the_query_itself(self, query: str) -> None:
        """A demonstration with the inputs of the call is left out, also in other case, spacing or letter width."""
        predictor = RetrievingPredict("query -> response", demos=[*POOL, POOL[0]], k=5)
        assert sorted(shown(predictor, query)) == sorted(demo["response"] for demo in POOL[1:])

    def test_only_the_query_itself_leaves_nothing(self) -> None:
        predictor = RetrievingPredict("query -> response", demos=POOL[:1], k=1)
        assert predictor.retrieve(query="how do i boil an egg?") == []

    def test_demonstrations_of_the_call_win(self) -> None:
        predictor = RetrievingPredict("query -> response", demos=POOL, k=2)
        assert shown(predictor, "boiling eggs", demos=[{"query": "a", "response": "Mine."}]) == ["Mine."]
        assert shown(predictor, "boiling eggs", demos=[]) == []

    def test_without_a_pool_it_is_a_plain_predict(self) -> None:
        predictor = RetrievingPredict("query -> response")
        plain = dspy.Predict("query -> response")
        predictor.demos = plain.demos = [{"query": "a", "response": "Mine."}]
        assert prompts(predictor, "boiling eggs") == prompts(plain, "boiling eggs")

    def test_hidden_static_demonstrations_are_told(self, caplog: pytest.LogCaptureFixture) -> None:
        """Another optimizer's `.demos` are not shown beside a pool, and a warning says so, once."""
        retrieval._warn_shadowed.cache_clear()
        predictor = RetrievingPredict("query -> response", demos=POOL, k=1)
        predictor.demos = [{"query": "a", "response": "Mine."}]
        with caplog.at_level(logging.WARNING):
            assert shown(predictor, "boiling eggs") == shown(predictor, "boil an egg") != ["Mine."]
        assert caplog.text.count("retrieving(") == 1

    def test_several_input_fields(self) -> None:
        """All input fields count, and only they; a demonstration is the query itself if all of them agree."""
        demos = [
            {"topic": "eggs", "style": "short", "text": "one", "note": "kept out"},
            {"topic": "eggs", "style": "long", "text": "two"},
            {"topic": "tax", "style": "long", "text": "three"},
        ]
        predictor = RetrievingPredict("topic, style -> text", demos=demos, k=2)
        assert [demo["text"] for demo in predictor.retrieve(style="long", topic="tax")] == ["two", "one"]
        assert [demo["text"] for demo in predictor.retrieve(topic="eggs", style="SHORT")] == ["two", "three"]
        assert "note" not in predictor.pool[0]

    def test_ties_are_broken_by_position(self) -> None:
        """Among equally near demonstrations the earlier win, however many there are and wherever they stand."""
        pool = [{"query": f"{'x' * (7 if n % 3 else 9)}", "response": str(n)} for n in range(300)]
        index = DemoIndex(clean_demos(pool, dspy.Signature("query -> response")), ("query",), Counting())
        near = [n for n in range(300) if n % 3]
        assert [int(str(demo["response"])) for demo in index.search("y" * 7, 50)] == near[:50]

    @pytest.mark.slow
    def test_ten_thousand_demonstrations(self) -> None:
        """At 10,000 x 384 the index finds exactly what comparing with each of them finds, in milliseconds."""
        random = np.random.default_rng(0)
        vectors = {str(n): row for n, row in enumerate(random.normal(size=(10_050, 384)).astype(np.float32))}

        @dataclass
        class Table:
            def encode(self, texts: Sequence[str]) -> Any:
                return np.stack([vectors[text] for text in texts])

            def spec(self) -> dict[str, Any]:
                return {"kind": "table"}

        pool = tuple({"query": str(n), "response": str(n)} for n in range(10_000))
        index = DemoIndex(pool, ("query",), Table())
        index.prepare()
        units = np.stack([vectors[str(n)] / np.linalg.norm(vectors[str(n)]) for n in range(10_000)])
        begin = time.perf_counter()
        for n in range(10_000, 10_050):
            found = [int(str(demo["response"])) for demo in index.search(str(n), 5)]
            assert found == np.argsort(-(units @ vectors[str(n)]), kind="stable")[:5].tolist()
        assert time.perf_counter() - begin < 15.0  # 0.2 s on two idle cores
        assert [demo["response"] for demo in index.search("77", 1)] != ["77"]

    def test_what_comes_back_may_be_edited(self) -> None:
        """The pool is no one's to change by accident."""
        predictor = RetrievingPredict("query -> response", demos=POOL, k=1)
        predictor.retrieve(query="boiling eggs")[0]["response"] = "spoilt"
        assert predictor.retrieve(query="boiling eggs")[0]["response"] == POOL[0]["response"]

    @given(st.text(st.characters(codec=None), max_size=80))
    def test_any_query_retrieves(self, query: str) -> None:
        found = HYPOTHESIS_INDEX.search(query, 3)
        assert len(found) == 3
        assert found == HYPOTHESIS_INDEX.search(query, 3)

    @pytest.mark.parametrize("query", ["", "\x00", "🎉", "שלום \u202e", "[QUERY] {x} {{y}} %s", "long " * 40_000])
    def test_hostile_queries(self, query: str) -> None:
        predictor = RetrievingPredict("query -> response", demos=[*POOL, {"query": query, "response": "Mine."}], k=4)
        assert len(shown(predictor, query)) == 4
        assert "Mine." not in shown(predictor, query)


HYPOTHESIS_INDEX = DemoIndex(clean_demos(POOL, dspy.Signature("query -> response")), ("query",), LexicalEncoder(64))


class TestEncoders:
    def test_two_encoders_never_share_vectors(self) -> None:
        """Two indexes over the same texts ask each its own encoder, and find by it."""
        far, near = Counting(flip=-1.0), Counting()
        one = RetrievingPredict("query -> response", demos=POOL, k=1, encoder=far)
        two = RetrievingPredict("query -> response", demos=POOL, k=1, encoder=near)
        for predictor in (one, two, one):
            predictor.retrieve(query="boiling eggs")
        expected = [demo["query"] for demo in POOL] + ["boiling eggs"]
        assert far.seen == near.seen == expected
        two.use_encoder(LexicalEncoder())
        assert two.retrieve(query="boiling eggs")[0] == POOL[0]
        assert near.seen == expected

    def test_each_query_is_encoded_once_by_sixteen_threads(self) -> None:
        """The first search of 16 threads encodes the pool once, each query once, and all find the same."""
        encoder = Counting(delay=0.05)
        predictor = RetrievingPredict("query -> response", demos=POOL, k=2, encoder=encoder)
        start = threading.Barrier(16)

        def search(number: int) -> Any:
            start.wait()
            return predictor.retrieve(query=f"query {number % 2}")

        with ThreadPoolExecutor(16) as threads:
            found = list(threads.map(search, range(16)))
        assert all(one == found[0] for one in found)
        assert sorted(encoder.seen) == sorted([*(demo["query"] for demo in POOL), "query 0", "query 1"])

    def test_a_failed_search_is_tried_again(self) -> None:
        """An encoder's error reaches every caller, and is not remembered as an answer."""

        class Flaky(Counting):
            broken = True

            def encode(self, texts: Sequence[str]) -> Any:
                if self.broken:
                    raise ConnectionError("down")
                return super().encode(texts)

        encoder = Flaky()
        predictor = RetrievingPredict("query -> response", demos=POOL, k=1, encoder=encoder)
        with pytest.raises(ConnectionError):
            predictor(query="boiling eggs")
        encoder.broken = False
        assert len(predictor.retrieve(query="boiling eggs")) == 1

    @pytest.mark.parametrize(
        "bad",
        [
            lambda texts: np.zeros(len(texts)),
            lambda texts: np.zeros((len(texts) + 1, 3)),
            lambda texts: np.zeros((len(texts), 0)),
            lambda texts: np.full((len(texts), 3), math.nan),
            lambda texts: np.ones((len(texts), len(texts))),
        ],
    )
    def test_an_encoder_that_breaks_its_contract_is_named(self, bad: Any) -> None:
        encoder = Counting()
        encoder.encode = bad  # type: ignore[method-assign]
        with pytest.raises(ConfigError, match="Counting"):
            RetrievingPredict("query -> response", demos=POOL, k=1, encoder=encoder).retrieve(query="x")

    def test_an_unknown_encoder_is_refused_at_once(self) -> None:
        with pytest.raises(ConfigError, match="encoder='minilm'"):
            RetrievingPredict("query -> response", demos=POOL, k=1, encoder="minilm")

    def test_nothing_is_encoded_before_the_first_call(self) -> None:
        encoder = Counting()
        predictor = RetrievingPredict("query -> response", demos=POOL, k=1, encoder=encoder)
        predictor.deepcopy().dump_state()
        assert encoder.seen == []
        predictor.index.prepare()
        assert len(encoder.seen) == 4


class Colour(enum.StrEnum):
    RED = "red"


class Note(pydantic.BaseModel):
    text: str
    day: datetime.date


class TestDemos:
    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            (np.float64(0.5), "float64"),
            (np.array([1]), "ndarray"),
            (b"bytes", "bytes"),
            ({"a"}, "set"),
            ([{"deep": np.int64(1)}], "int64"),
            (math.nan, "nan"),
            (2**64, "64 bits"),
            ("half \ud800", "surrogate"),
            ({1: "a"}, "keys"),
            (object(), "object"),
        ],
    )
    def test_what_json_does_not_hold_is_refused_by_field(self, value: Any, reason: str) -> None:
        """`save` would fail after the whole run, or give back something else: the constructor fails instead."""
        with pytest.raises(ConfigError, match=rf"demos\[1\]\['response'\].*{reason}"):
            RetrievingPredict("query -> response", demos=[POOL[0], {"query": "q", "response": value}])

    @pytest.mark.parametrize(
        ("demo", "missing"),
        [
            ({"query": "q"}, "output"),
            ({"response": "r"}, "input"),
            ({}, "input"),
            ({"question": "q", "answer": "a"}, "input"),
        ],
    )
    def test_half_a_demonstration_is_refused(self, demo: dict[str, str], missing: str) -> None:
        with pytest.raises(ConfigError, match=rf"demos\[0\].*{missing} fields"):
            RetrievingPredict("query -> response", demos=[demo])

    @pytest.mark.parametrize("demo", ["text", 3, None, ("query", "response")])
    def test_other_things_are_refused(self, demo: Any) -> None:
        with pytest.raises(ConfigError, match=r"demos\[0\]"):
            RetrievingPredict("query -> response", demos=[demo])

    def test_examples_and_values_become_plain(self) -> None:
        """Dates, enumerations, tuples and pydantic objects are kept as JSON gives them back."""
        example = dspy.Example(query="q", response=(Colour.RED, Note(text="n", day=datetime.date(2024, 5, 1))), extra=1)
        (demo,) = RetrievingPredict("query -> response", demos=[example.with_inputs("query")]).pool
        assert demo == {"query": "q", "response": ["red", {"text": "n", "day": "2024-05-01"}]}
        assert type(demo["response"][0]) is str  # type: ignore[index]
        assert json.loads(json.dumps(demo)) == demo

    def test_given_demonstrations_stay_as_they_are(self) -> None:
        given = copy.deepcopy(POOL)
        predictor = RetrievingPredict("query -> response", demos=given, k=1)
        given[0]["response"] = "changed"
        assert predictor.pool[0] == POOL[0]


class TestCopies:
    def test_copies_share_the_index(self) -> None:
        """A search over prompts copies its program for every candidate; the pool is not copied with it."""
        predictor = RetrievingPredict("query -> response", demos=POOL, k=2)
        predictor.lm = dspy.LM("scripted", engine=Engine())
        for other in (predictor.deepcopy(), copy.deepcopy(predictor), predictor.reset_copy()):
            assert other is not predictor
            assert other.index is predictor.index
            assert other.k == 2
            other.lm = None
            assert shown(other, "boiling eggs") == [
                demo["response"] for demo in predictor.retrieve(query="boiling eggs")
            ]

    def test_reset_keeps_the_pool(self) -> None:
        predictor = RetrievingPredict("query -> response", demos=POOL, k=2)
        before = prompts(predictor, "boiling eggs")
        predictor.reset()
        assert prompts(predictor, "boiling eggs") == before

    def test_pickles_render_the_same_prompts(self) -> None:
        """Locks, vectors and the FAISS index stay behind; they are made again from the pool."""
        predictor = RetrievingPredict("query -> response", demos=POOL, k=2)
        before = prompts(predictor, "boiling eggs", "wool")
        again = pickle.loads(cloudpickle.dumps(predictor))
        assert prompts(again, "boiling eggs", "wool") == before
        index = pickle.loads(pickle.dumps(predictor.index))
        assert index.search("wool", 2) == predictor.index.search("wool", 2)

    def test_whole_program_save(self, tmp_path: Path) -> None:
        program = dspy.Module()
        program.first = RetrievingPredict("query -> response", demos=POOL, k=2)
        program.first.retrieve(query="built")
        program.save(str(tmp_path / "program"), save_program=True)
        again = dspy.load(str(tmp_path / "program"), allow_pickle=True)
        assert prompts(again.first, "boiling eggs") == prompts(program.first, "boiling eggs")

    def test_it_is_one_predictor_of_its_program(self) -> None:
        """The pool adds no predictors or parameters, so other optimizers see the program as it is."""
        program = dspy.Module()
        program.hops = [RetrievingPredict("query -> response", demos=POOL, k=2), dspy.Predict("query -> response")]
        assert [name for name, _ in program.named_predictors()] == ["hops[0]", "hops[1]"]


class Program(dspy.Module):  # type: ignore[misc]
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.respond = RetrievingPredict("query -> response", **options)

    def forward(self, query: str) -> Any:
        return self.respond(query=query)


class TestSaving:
    def test_json_round_trip_renders_the_same_prompts(self, tmp_path: Path) -> None:
        """The structure without a pool, loaded, sends byte for byte what the saved program sends."""
        program = Program(demos=POOL, k=2, encoder=LexicalEncoder(512), temperature=0.5)
        program.respond.signature = program.respond.signature.with_instructions("Be brief. {braces} \x00 🎉")
        program.save(str(tmp_path / "program.json"))
        again = Program()
        again.load(str(tmp_path / "program.json"))
        queries = [demo["query"] for demo in POOL] + ["boiling eggs", "🎉"]
        assert prompts(again, *queries) == prompts(program, *queries)
        assert again.respond.index.encoder == LexicalEncoder(512)
        assert again.dump_state() == program.dump_state()
        again.load(str(tmp_path / "program.json"))  # over a pool, and a second time
        assert prompts(again, *queries) == prompts(program, *queries)

    def test_a_bare_predictor_round_trips(self, tmp_path: Path) -> None:
        predictor = RetrievingPredict("query -> response", demos=POOL, k=3)
        predictor.save(str(tmp_path / "bare.json"))
        again = RetrievingPredict("query -> response")
        again.load(str(tmp_path / "bare.json"))
        assert prompts(again, "wool") == prompts(predictor, "wool")
        assert again.demos == []

    def test_a_plain_loader_gets_static_demonstrations(self) -> None:
        """A plain Predict knows no pool: it is left with the first `k`, not silently with none."""
        state = RetrievingPredict("query -> response", demos=POOL, k=2).dump_state()
        plain = dspy.Predict("query -> response")
        plain.load_state(state)
        assert shown(plain, "poems on the sea") == [POOL[0]["response"], POOL[1]["response"]]
        assert RetrievingPredict("query -> response", demos=POOL).dump_state()["demos"] == []

    def test_static_demonstrations_of_others_are_kept(self) -> None:
        mine = [{"query": "a", "response": "Mine."}]
        predictor = RetrievingPredict("query -> response", demos=POOL, k=2)
        predictor.demos = mine
        again = RetrievingPredict("query -> response").load_state(json.loads(json.dumps(predictor.dump_state())))
        assert again.demos == mine
        assert again.dump_state()["demos"] == mine

    def test_the_file_names_no_endpoint(self) -> None:
        encoder = LiteLLMEncoder("hosted_vllm/x", api_base="http://10.1.2.3/v1", api_key_env="MY_KEY")
        text = json.dumps(RetrievingPredict("query -> response", demos=POOL, k=1, encoder=encoder).dump_state())
        assert "10.1.2.3" not in text
        assert "MY_KEY" not in text

    def test_an_endpoint_given_again_is_kept(self) -> None:
        """Loading keeps the constructor's encoder when it is the saved one, since only it knows its server."""
        encoder = LiteLLMEncoder("hosted_vllm/x", api_base="http://127.0.0.1:1/v1")
        state = RetrievingPredict("query -> response", demos=POOL, k=1, encoder=encoder).dump_state()
        again = RetrievingPredict("query -> response", encoder=encoder).load_state(state)
        assert again.index.encoder is encoder
        other = RetrievingPredict("query -> response").load_state(state)
        with pytest.raises(ConfigError, match="use_encoder"):
            other.retrieve(query="x")

    def test_an_encoder_of_ones_own(self) -> None:
        """It is saved by its spec and loads into a program that has it; elsewhere loading says what is missing."""
        state = RetrievingPredict("query -> response", demos=POOL, k=1, encoder=Counting(flip=2.0)).dump_state()
        mine = Counting(flip=2.0)
        assert RetrievingPredict("query -> response", encoder=mine).load_state(state).index.encoder is mine
        with pytest.raises(ProgramFileError, match="build the program with it"):
            RetrievingPredict("query -> response").load_state(state)

    def test_another_encoder_than_chosen_is_loud(self) -> None:
        state = RetrievingPredict("query -> response", demos=POOL, k=1).dump_state()
        with pytest.raises(ProgramStructureError, match="encoder"):
            RetrievingPredict("query -> response", encoder=LexicalEncoder(64)).load_state(state)

    def test_a_plain_state_does_not_empty_a_pool(self) -> None:
        """A state without a pool is refused by a predictor with one, and is nothing special to one without."""
        state = dspy.Predict("query -> response").dump_state()
        with pytest.raises(ProgramStructureError, match="no retrieval pool"):
            RetrievingPredict("query -> response", demos=POOL, k=1).load_state(state)
        state["demos"] = [{"query": "a", "response": "Mine."}]
        assert RetrievingPredict("query -> response").load_state(state).demos == state["demos"]

    def test_a_pool_of_another_signature_is_loud(self) -> None:
        state = RetrievingPredict("question -> answer", demos=[{"question": "q", "answer": "a"}], k=1).dump_state()
        with pytest.raises(ProgramStructureError, match=r"answer.*question"):
            RetrievingPredict("query -> response").load_state(state)

    @pytest.mark.parametrize(
        "damage",
        [
            {"format": 2},
            {"format": None},
            {"pool": None},
            {"pool": ["text"]},
            {"pool": [{"query": "q"}]},
            {"k": 9},
            {"k": None},
            {"k": "2"},
            {"encoder": None},
            {"encoder": {"kind": "lexical", "dimensions": -1}},
        ],
    )
    def test_a_damaged_record_is_a_file_error_and_changes_nothing(self, damage: dict[str, Any]) -> None:
        state = RetrievingPredict("query -> response", demos=POOL, k=2).dump_state()
        state["retrieval"] = {**state["retrieval"], **damage}
        predictor = RetrievingPredict("query -> response", demos=POOL[:1], k=1)
        before = predictor.dump_state()
        with pytest.raises(ProgramFileError, match=r"retrieval|encoder"):
            predictor.load_state(state)
        assert predictor.dump_state() == before

    @pytest.mark.parametrize("record", [None, 3, [], {}])
    def test_a_record_of_another_kind_is_a_file_error(self, record: Any) -> None:
        state = {**RetrievingPredict("query -> response").dump_state(), "retrieval": record}
        with pytest.raises(ProgramFileError, match="format"):
            RetrievingPredict("query -> response").load_state(state)


class TestRetrieving:
    def plain(self) -> dspy.Predict:
        plain = dspy.Predict("query -> response", temperature=0.3)
        plain.demos = [dspy.Example(**demo, augmented=True) for demo in POOL]
        plain.lm = dspy.LM("scripted", engine=Engine())
        plain.train = [{"query": "t"}]
        return plain

    def test_a_copy_that_retrieves(self) -> None:
        """Signature, config, LM, traces and other attributes are the predictor's; the predictor stays as it is."""
        plain = self.plain()
        before = copy.copy(vars(plain))
        copied = retrieving(plain, k=2)
        assert copied.retrieve(query="boiling eggs")[0] == POOL[0]
        assert (copied.signature, copied.lm, copied.config, copied.train) == (
            plain.signature,
            plain.lm,
            {"temperature": 0.3},
            plain.train,
        )
        assert copied.train is not plain.train
        assert copied.config is not plain.config
        assert copied.demos == []
        assert vars(plain) == before

    def test_other_demonstrations_encoder_and_k(self) -> None:
        first = retrieving(self.plain(), k=2, encoder=LexicalEncoder(128))
        second = retrieving(first, k=1, demos=POOL[2:])
        assert second.pool == tuple(POOL[2:])
        assert second.index.encoder == LexicalEncoder(128)
        assert retrieving(first, k=3).pool == first.pool
        assert first.k == 2

    def test_another_class_is_refused(self) -> None:
        """A subclass would lose what makes it one."""

        class Special(dspy.Predict):  # type: ignore[misc]
            pass

        with pytest.raises(ConfigError, match="Special"):
            retrieving(Special("query -> response"), k=0)

    def test_too_many(self) -> None:
        with pytest.raises(ConfigError, match="k=5"):
            retrieving(self.plain(), k=5)


class TestAsync:
    def test_the_same_prompts(self) -> None:
        predictor = RetrievingPredict("query -> response", demos=POOL, k=2)
        engine = AsyncEngine()
        lm = dspy.LM("scripted", engine=Engine(), async_engine=engine, cache=False)

        async def ask() -> None:
            with dspy.context(lm=lm):
                await predictor.acall(query="boiling eggs")
                await predictor.acall(query="boiling eggs", demos=[])

        asyncio.run(ask())
        assert engine.sent == [
            *prompts(predictor, "boiling eggs"),
            *prompts(predictor, "boiling eggs", demos=[]),
        ]

    def test_a_slow_encoder_does_not_hold_up_the_loop(self) -> None:
        predictor = RetrievingPredict("query -> response", demos=POOL, k=1, encoder=Counting(delay=0.1))
        lm = dspy.LM("scripted", engine=Engine(), async_engine=AsyncEngine(), cache=False)
        ticks: list[float] = []

        async def tick() -> None:
            while True:
                ticks.append(time.perf_counter())
                await asyncio.sleep(0.01)

        async def ask() -> None:
            ticking = asyncio.create_task(tick())
            with dspy.context(lm=lm):
                await predictor.acall(query="boiling eggs")
            ticking.cancel()

        asyncio.run(ask())
        assert len(ticks) > 5


class TestText:
    def test_rendering(self) -> None:
        assert render_inputs({"query": " as\nit is "}) == " as\nit is "
        assert render_inputs({"a": "x", "b": 3, "c": [True, None]}) == "a: x\nb: 3\nc: [true, null]"
        assert render_inputs({"day": datetime.date(2024, 5, 1)}) == "2024-05-01"
        assert render_inputs({"note": Note(text="é", day=datetime.date(2024, 5, 1))}) == (
            '{"text": "é", "day": "2024-05-01"}'
        )
        assert render_inputs({}) == ""

    @given(st.recursive(st.none() | st.booleans() | st.floats() | st.text() | st.binary(), st.lists, max_leaves=5))
    def test_anything_renders(self, value: Any) -> None:
        assert isinstance(render_inputs({"value": value, "other": 1}), str)

    @given(st.recursive(st.integers() | st.floats() | st.text(), lambda inner: st.dictionaries(st.text(), inner)))
    def test_what_to_json_returns_is_read_back_the_same(self, value: Any) -> None:
        """A value is refused, or survives JSON, and is rendered alike before and after."""
        try:
            plain = to_json(value)
        except ValueError:
            return
        assert json.loads(json.dumps(plain)) == plain
        assert render_inputs({"value": value}) == render_inputs({"value": plain})

    @given(st.text())
    def test_normalising_ignores_spacing_and_case(self, text: str) -> None:
        assert normalise(f"  {text}\n") == normalise(text)
        assert normalise("Ａ  b") == normalise("a B")
