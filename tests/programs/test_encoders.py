"""Encoders. What holds for each of them is written in the docstrings of the tests."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dspy.utils.exceptions import LMAuthError, LMError, LMServerError
from hypothesis import given
from hypothesis import strategies as st

from drpo.errors import ConfigError, MissingDependencyError, ProgramFileError
from drpo.programs import encoders
from drpo.programs.encoders import (
    Encoder,
    LexicalEncoder,
    LiteLLMEncoder,
    SentenceTransformerEncoder,
    as_encoder,
    encoder_from_spec,
)

HOSTILE = [
    "nul \x00 byte \x00\x00",
    "\x00",
    "🎉🎉🏳️‍🌈",
    "שלום עולם \u202eevil\u202c",
    "[QUERY] {braces} {0} %s",
    "?!...",
    "\ud800",
    "日本語の文章です",
    "नमस्ते दुनिया",
    "a",
]

GOLDEN = [-0.335, 0, 0.168, 0, -0.168, 0, 0, 0.704, 0.503, 0, 0.168, 0, 0.168, 0, 0.168, 0]


class TestLexical:
    def test_the_nearest_is_the_one_about_the_same(self) -> None:
        """Shared content words beat shared stop words, and inflected words still count."""
        texts = ["How do I boil an egg?", "How do I fix a bike?", "Which tax form do I need for a house?"]
        encoder = LexicalEncoder()
        similarity = encoder.encode(["Boiling eggs", "bikes: repairing one", "What is the tax on houses"]) @ (
            encoder.encode(texts).T
        )
        assert similarity.argmax(axis=1).tolist() == [0, 1, 2]

    def test_stop_words_alone_do_not_make_texts_alike(self) -> None:
        a, b, c = LexicalEncoder().encode(["what is the capital of Peru", "what is the price of gold", "Peru: capital"])
        assert a @ b < 0.15 < a @ c

    def test_case_and_spacing_do_not_count(self) -> None:
        one, two = LexicalEncoder().encode(["Why is\n the SKY  blue?", "why is the sky blue?"])
        assert (one == two).all()

    @given(st.lists(st.text(st.characters(codec=None), max_size=200), max_size=4))
    def test_any_text_has_a_unit_row(self, texts: list[str]) -> None:
        """Encoding never fails; rows have length 1, blank ones 0; company in the batch changes nothing."""
        rows = LexicalEncoder(64).encode(texts)
        assert rows.dtype == np.float32
        assert rows.shape == (len(texts), 64)
        for text, row in zip(texts, rows, strict=True):
            assert np.linalg.norm(row) == pytest.approx(1.0 if text.strip() else 0.0, abs=1e-5)
            assert (LexicalEncoder(64).encode([text])[0] == row).all()

    @pytest.mark.parametrize("text", HOSTILE)
    def test_hostile_texts_are_like_themselves_only(self, text: str) -> None:
        rows = LexicalEncoder().encode([text, "an ordinary sentence about gardens"])
        assert rows[0] @ rows[0] == pytest.approx(1.0, abs=1e-5)
        assert abs(float(rows[0] @ rows[1])) < 0.3

    def test_the_same_in_another_process(self) -> None:
        """Python's own string hashing, which differs per process, has no part in it."""
        code = (
            "import hashlib; from drpo.programs.lexical import LexicalEncoder; "
            "print(hashlib.sha256(LexicalEncoder().encode(['Wörter und 🎉', 'two two']).tobytes()).hexdigest())"
        )
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        here = hashlib.sha256(LexicalEncoder().encode(["Wörter und 🎉", "two two"]).tobytes()).hexdigest()
        assert other.stdout.strip() == here

    def test_golden_vector(self) -> None:
        """A change of the hashing needs a new `version`, else saved programs retrieve otherwise unseen."""
        row = LexicalEncoder(16).encode(["Boil an egg"])[0]
        assert row.tolist() == pytest.approx(GOLDEN, abs=1e-3)

    def test_200k_characters_take_less_than_a_second(self) -> None:
        long = " ".join(f"word{number * 7919}" for number in range(20_000))[:200_000]
        LexicalEncoder().encode(["warm up"])
        begin = time.thread_time()  # the machine may be busy
        LexicalEncoder().encode([long])
        assert time.thread_time() - begin < 1.0

    @pytest.mark.parametrize("dimensions", [0, 15, 65537, True, 1024.0, "1024"])
    def test_dimensions_out_of_range(self, dimensions: Any) -> None:
        with pytest.raises(ConfigError, match="dimensions="):
            LexicalEncoder(dimensions)


class TestNames:
    @pytest.mark.parametrize(
        ("name", "spec"),
        [
            (None, {"kind": "lexical", "dimensions": 1024, "version": 1}),
            ("lexical", {"kind": "lexical", "dimensions": 1024, "version": 1}),
            ("sentence-transformers/some", {"kind": "sentence-transformers", "model": "sentence-transformers/some"}),
            ("sentence-transformers:BAAI/x", {"kind": "sentence-transformers", "model": "BAAI/x"}),
        ],
    )
    def test_known_names(self, name: str | None, spec: dict[str, Any]) -> None:
        assert as_encoder(name).spec() == spec

    def test_litellm(self) -> None:
        encoder = as_encoder("litellm:ollama/nomic:v1")
        assert isinstance(encoder, LiteLLMEncoder)
        assert encoder.model == "ollama/nomic:v1"

    def test_a_folder_is_a_sentence_transformers_model(self, tmp_path: Path) -> None:
        assert as_encoder(str(tmp_path)) == SentenceTransformerEncoder(str(tmp_path))

    def test_an_encoder_stays_itself(self) -> None:
        mine = LexicalEncoder(64)
        assert as_encoder(mine) is mine
        assert isinstance(mine, Encoder)

    @pytest.mark.parametrize("value", ["", "minilm", "litellm:", "sentence-transformers:", 3, LexicalEncoder, object()])
    def test_anything_else_is_refused(self, value: Any) -> None:
        with pytest.raises(ConfigError, match="encoder="):
            as_encoder(value)


class TestSpecs:
    @pytest.mark.parametrize(
        "encoder",
        [
            LexicalEncoder(256),
            SentenceTransformerEncoder("some/model", device="cuda:1", batch_size=7),
            LiteLLMEncoder("openai/x", api_base="http://user:hunter2@10.0.0.1/v1", api_key_env="MY_SECRET_NAME"),
        ],
    )
    def test_round_trip_through_json_without_endpoints(self, encoder: Encoder) -> None:
        """A spec is JSON, holds no endpoint, key or device, and makes an encoder with the same spec."""
        text = json.dumps(encoder.spec())
        for private in ("hunter2", "10.0.0.1", "MY_SECRET_NAME", "cuda"):
            assert private not in text
        again = encoder_from_spec(json.loads(text))
        assert type(again) is type(encoder)
        assert again.spec() == encoder.spec()
        assert "hunter2" not in repr(encoder)

    @pytest.mark.parametrize(
        "spec",
        [
            None,
            "lexical",
            {},
            {"kind": "mine"},
            {"kind": ["lexical"]},
            {"kind": "lexical", "dimensions": 10**12},
            {"kind": "lexical", "dimensions": 1024, "version": 2},
            {"kind": "lexical", "unknown": 1},
            {"kind": "litellm"},
            {"kind": "sentence-transformers", "model": None},
        ],
    )
    def test_what_cannot_be_made_is_a_file_error(self, spec: Any) -> None:
        with pytest.raises(ProgramFileError, match="encoder"):
            encoder_from_spec(spec)

    def test_a_saved_spec_cannot_name_an_endpoint(self) -> None:
        """A program file from elsewhere must not send texts, or a key, to a server of its choice."""
        for stolen in ({"api_base": "http://evil.example"}, {"api_key_env": "HOME"}):
            with pytest.raises(ProgramFileError):
                encoder_from_spec({"kind": "litellm", "model": "openai/x", **stolen})


class TestSentenceTransformers:
    def test_without_the_package_the_remedy_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "sentence_transformers", None)
        with pytest.raises(MissingDependencyError, match=r'pip install "drpo-dspy\[embeddings\]"'):
            SentenceTransformerEncoder("some/model").encode(["text"])

    def test_one_model_one_load_one_thread_at_a_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """16 threads load a model once, never run it at once, and another model is another load."""
        loads: list[str] = []
        busy = threading.Lock()

        class FakeTransformer:
            def __init__(self, model: str, device: str) -> None:
                time.sleep(0.02)
                loads.append(model)
                self.size = len(model)

            def encode(self, texts: list[str], **options: Any) -> Any:
                assert busy.acquire(blocking=False), "two threads in one model"
                time.sleep(0.002)
                busy.release()
                return np.ones((len(texts), self.size), dtype=np.float32)

        module = type(sys)("sentence_transformers")
        module.SentenceTransformer = FakeTransformer  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "sentence_transformers", module)
        monkeypatch.setattr(encoders, "_loaded", {})
        shapes: list[tuple[int, ...]] = []
        threads = [
            threading.Thread(
                target=lambda: shapes.append(SentenceTransformerEncoder("m/four").encode(["a", " "]).shape)
            )
            for _ in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert shapes == [(2, 6)] * 16
        assert SentenceTransformerEncoder("m/other").encode(["a"]).shape == (1, 7)
        assert loads == ["m/four", "m/other"]
        assert SentenceTransformerEncoder("m/four").encode([" "]).any() == np.False_

    def test_a_model_that_cannot_be_loaded_is_a_users_mistake(self, monkeypatch: pytest.MonkeyPatch) -> None:
        module = type(sys)("sentence_transformers")

        def unknown(model: str, device: str) -> None:
            raise OSError(f"{model} is not a model")

        module.SentenceTransformer = unknown  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "sentence_transformers", module)
        with pytest.raises(ConfigError, match="no/model"):
            SentenceTransformerEncoder("no/model").encode(["a"])


class Server:
    """An embedding server on this machine: remembers what it is asked, and fails as told."""

    def __init__(self) -> None:
        self.requests: list[tuple[str | None, dict[str, Any]]] = []
        self.failures: list[int] = []
        self.lose_one = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests.append((self.headers["Authorization"], body))
                status = outer.failures.pop(0) if outer.failures else 200
                rows = [
                    {"object": "embedding", "index": place, "embedding": [float(len(text)), 1.0]}
                    for place, text in enumerate(body["input"])
                ]
                rows = rows[:0:-1] if outer.lose_one else rows[::-1]
                usage = {"prompt_tokens": 1, "total_tokens": 1}
                answer: dict[str, Any] = {"object": "list", "model": body["model"], "data": rows, "usage": usage}
                text = json.dumps(
                    answer if status == 200 else {"error": {"message": "refused", "code": status}}
                ).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *arguments: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    monkeypatch.setattr(encoders.time, "sleep", lambda seconds: None)
    monkeypatch.setenv("EMBEDDING_KEY", "s3cret")
    yield server
    server.http.shutdown()
    server.http.server_close()
    thread.join()


class TestLiteLLM:
    def encoder(self, server: Server, **options: Any) -> LiteLLMEncoder:
        return LiteLLMEncoder("hosted_vllm/mini", api_base=server.url, api_key_env="EMBEDDING_KEY", **options)

    def test_batches_order_and_key(self, server: Server) -> None:
        """Texts go out in batches with the key, and come back in their own order, at length 1."""
        rows = self.encoder(server, batch_size=2).encode(["a" * 3, "b" * 30, "c" * 300])
        assert [len(body["input"]) for _, body in server.requests] == [2, 1]
        assert {key for key, _ in server.requests} == {"Bearer s3cret"}
        expected = [[3.0, 1.0], [30.0, 1.0], [300.0, 1.0]] / np.linalg.norm([[3, 1], [30, 1], [300, 1]], axis=1)[
            :, None
        ]
        assert np.allclose(rows, expected, atol=1e-6)
        assert rows.dtype == np.float32

    def test_hostile_texts_are_made_sendable(self, server: Server) -> None:
        """Nothing empty, nothing endless and nothing without a UTF-8 form is sent; a blank text has no direction."""
        rows = self.encoder(server, max_characters=50).encode(["", " \n", "x" * 200_000, *HOSTILE])
        sent = [text for _, body in server.requests for text in body["input"]]
        assert all(0 < len(text) <= 50 for text in sent)
        assert not rows[:2].any()
        assert np.allclose(np.linalg.norm(rows[2:], axis=1), 1.0, atol=1e-5)

    def test_nothing_to_encode(self, server: Server) -> None:
        assert self.encoder(server).encode([]).shape[0] == 0
        assert not server.requests

    def test_a_passing_failure_is_tried_again(self, server: Server) -> None:
        server.failures = [500, 429, 503]
        assert self.encoder(server).encode(["text"]).shape == (1, 2)
        assert len(server.requests) == 4

    def test_a_lasting_failure_is_an_lm_error(self, server: Server) -> None:
        """An outage raises DSPy's own error: it never becomes a retrieval without meaning."""
        server.failures = [500] * 9
        with pytest.raises(LMServerError):
            self.encoder(server).encode(["text"])
        assert len(server.requests) == 4

    def test_a_wrong_key_is_not_tried_again(self, server: Server, capfd: pytest.CaptureFixture[str]) -> None:
        server.failures = [401] * 9
        with pytest.raises(LMAuthError):
            self.encoder(server).encode(["text"])
        assert len(server.requests) == 1
        assert capfd.readouterr().out == ""

    def test_a_lost_vector_is_noticed(self, server: Server) -> None:
        server.lose_one = True
        with pytest.raises(LMError, match="asked for 2 embeddings, got 1"):
            self.encoder(server).encode(["one", "two"])

    def test_a_missing_key_is_named(self) -> None:
        with pytest.raises(ConfigError, match="NO_SUCH_KEY"):
            LiteLLMEncoder("openai/x", api_key_env="NO_SUCH_KEY").encode(["text"])

    def test_a_saved_encoder_does_not_ask_another_server(self, server: Server) -> None:
        """What was meant for one's own server is never sent to the provider's default one."""
        again = encoder_from_spec(self.encoder(server).spec())
        with pytest.raises(ConfigError, match="use_encoder"):
            again.encode(["private text"])
        assert not server.requests

    @pytest.mark.parametrize("options", [{"batch_size": 0}, {"max_characters": 0}, {"model": " "}, {"model": None}])
    def test_arguments_out_of_range(self, options: dict[str, Any]) -> None:
        with pytest.raises(ConfigError, match=f"{next(iter(options))}="):
            LiteLLMEncoder(**{"model": "openai/x", **options})
