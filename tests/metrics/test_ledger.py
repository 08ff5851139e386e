"""The ledger: pinned at the first writing, readable and editable, and never read half."""

from __future__ import annotations

import copy
import json
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drpo.errors import ConfigError, DataError
from drpo.metrics.criteria import CriteriaLibrary, Criterion
from drpo.metrics.ledger import Entry, Ledger, Source

RHYME = Criterion("Rhyme", "The lines rhyme.", best="all do", worst="none does", weight=2.5)
CLARITY = CriteriaLibrary().find("Clarity")
assert CLARITY is not None
ENTRIES = [
    Entry("b: Write a poem", (RHYME, CLARITY), ("asked for", ""), "A poem.", Source.SELECTOR),
    Entry("a: {braces} [QUERY]\n👩\u200d👧 שלום \x00", (CLARITY,), source=Source.FALLBACK),
    Entry("c: half \ud83d", (CLARITY,)),
]


def written(path: Path, data: Any) -> Path:
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def entries(*items: Any) -> dict[str, Any]:
    return {"format": 1, "entries": list(items)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.json"


def test_what_is_saved_comes_back_equal(path: Path) -> None:
    """Invariant: saving, loading and saving again writes the same bytes, in the order of the queries."""
    ledger = Ledger({entry.query: entry for entry in ENTRIES})
    ledger.save(path)
    loaded = Ledger.load(path)
    assert {entry.query: entry for entry in loaded} == {entry.query: entry for entry in ENTRIES}
    assert [entry.query[0] for entry in loaded] == ["a", "b", "c"]
    before = path.read_bytes()
    loaded.save(path)
    assert path.read_bytes() == before


CRITERIA = st.builds(
    Criterion,
    st.text(min_size=1, max_size=8).filter(lambda name: any(char.isalnum() for char in name)),
    st.text(min_size=1, max_size=20).filter(str.strip),
    st.text(max_size=5),
    st.text(max_size=5),
    st.floats(min_value=0.01, max_value=100),
)


@given(query=st.text(st.characters(categories=None)), criterion=CRITERIA, reason=st.text(), analysis=st.text())
def test_any_entry_comes_back(
    tmp_path_factory: Any, query: str, criterion: Criterion, reason: str, analysis: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    entry = Entry(query, (criterion,), (reason,) if reason else (), analysis, Source.SELECTOR)
    ledger = Ledger({query: entry})
    ledger.save(path)
    # A criterion that only changes our own one keeps what it states.
    assert Ledger.load(path)[query] == entry


def test_a_person_can_edit_the_file(path: Path) -> None:
    """Invariant: a bare name, a new criterion, a weight and a reason are all that need be written."""
    Ledger({entry.query: entry for entry in ENTRIES[:1]}).save(path)
    data = json.loads(path.read_text())
    data["entries"][0]["criteria"] = [
        "critical thinking",
        {"name": "Clarity", "weight": 3, "reason": "A child asks."},
        {"name": "Metre", "definition": "It scans."},
    ]
    data["entries"].append({"query": "new", "criteria": ["Safety"]})
    edited = Ledger.load(written(path, data))
    first = edited[ENTRIES[0].query]
    assert [criterion.name for criterion in first.criteria] == ["Critical-Thinking", "Clarity", "Metre"]
    assert (first.criteria[1].weight, first.criteria[1].definition) == (3, CLARITY.definition)
    assert [first.reason(index) for index in range(3)] == ["", "A child asks.", ""]
    assert edited["new"].source is Source.USER
    assert edited["new"].criteria[0].best


def test_names_mean_the_library_that_is_given(path: Path) -> None:
    library = CriteriaLibrary([RHYME])
    loaded = Ledger.load(written(path, entries({"query": "q", "criteria": ["rhyme"]})), library=library)
    assert loaded["q"].criteria == (RHYME,)


@pytest.mark.parametrize("threads", [32])
def test_an_entry_is_pinned_once_however_many_threads_write(threads: int) -> None:
    """Invariant: every thread gets the one entry that holds."""
    ledger = Ledger()
    barrier = threading.Barrier(threads)

    def pin(number: int) -> list[Entry]:
        barrier.wait()
        return [ledger.pin(Entry(f"q{query}", (Criterion(f"C{number}", "x"),))) for query in range(50)]

    with ThreadPoolExecutor(threads) as pool:
        got = list(pool.map(pin, range(threads)))
    assert len(ledger) == 50
    for query in range(50):
        assert {id(entries[query]) for entries in got} == {id(ledger[f"q{query}"])}


def test_copies_share_and_pickles_keep() -> None:
    ledger = Ledger({entry.query: entry for entry in ENTRIES})
    assert copy.deepcopy(ledger) is ledger
    again = pickle.loads(pickle.dumps(ledger))
    assert {entry.query for entry in again} == {entry.query for entry in ledger}
    assert again.pin(ENTRIES[0]).query == ENTRIES[0].query
    assert "x" not in ledger
    assert ledger.get("x") is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "is not JSON"),
        ('{"format": 1', "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ([], "no 'format'"),
        ({}, "no 'format'"),
        ({"q": {"aspects_selection": {"selected_aspects": ["Clarity"]}}, "r": 5}, "no 'format'"),
        ({"format": 2, "entries": []}, "has format 2, this version of drpo reads 1"),
        ({"format": 1}, "'entries' are no list"),
        ({"format": 1, "entries": {"q": 1}}, "'entries' are no list"),
        (entries("text"), "entry 1 cannot be used"),
        (entries({"query": "q"}), "entry 1 cannot be used .it has no 'criteria'"),
        (entries({"criteria": ["Clarity"]}), "entry 1 cannot be used .it has no 'query'"),
        (entries({"query": "q", "criteria": []}), "has no criteria"),
        (entries({"query": "q", "criteria": ["Clarity", "clarity"]}), "or one of them twice"),
        (entries({"query": 5, "criteria": ["Clarity"]}), "query=5"),
        (entries({"query": "q", "criteria": ["Zeal"]}), "'Zeal' is not in the library: give it a 'definition'"),
        (entries({"query": "q", "criteria": [{"weight": 1}]}), "it has no 'name'"),
        (entries({"query": "q", "criteria": [{"name": "Clarity", "wieght": 2}]}), r"unknown keys \['wieght'\]"),
        (entries({"query": "q", "criteria": [{"name": "Clarity", "weight": 0}]}), "weight=0"),
        (entries({"query": "q", "criteria": ["Clarity"], "source": "me"}), "'me' is not a valid Source"),
        (
            entries({"query": "q", "criteria": ["Depth"]}, {"query": "q", "criteria": ["Depth"]}),
            "entry 2 is the second",
        ),
        ({"q": {"aspects_selection": {}}}, "it has no 'selected_aspects'"),
        ({"q": {"aspects_selection": {"selected_aspects": []}}}, "has no criteria"),
        ({"q": {"aspects_selection": {"selected_aspects": ["!"]}}}, "at least one letter"),
    ],
)
def test_damaged_files(path: Path, data: Any, message: str) -> None:
    """Invariant: one error of ours that names the file and the entry; never half a ledger."""
    with pytest.raises(DataError, match=message) as error:
        Ledger.load(written(path, data))
    assert str(path) in str(error.value)


def test_a_missing_file(path: Path) -> None:
    with pytest.raises(DataError, match="check the path"):
        Ledger.load(path)


def test_the_published_form(path: Path) -> None:
    """Invariant: other names of one criterion count once; an aspect of nobody's library is kept under its name."""
    choice = {
        "query_analysis": {"main_topic": "Poems.", "user_intent": "Fun."},
        "aspects_selection": {
            "reasoning": "Because.",
            "selected_aspects": ["Cultural Sensitivity", "sensitivity", "Rhyme", "Compliance with Instructions"],
        },
    }
    entry = Ledger.load(written(path, {"q": choice}))["q"]
    assert [criterion.name for criterion in entry.criteria] == ["Sensitivity", "Rhyme", "Compliance"]
    assert entry.analysis == "Poems. Fun. Because."
    assert entry.source is Source.OFFICIAL
    assert entry.criteria[1].definition


def test_an_entry_needs_criteria() -> None:
    with pytest.raises(ConfigError, match="has no criteria"):
        Entry("q", ())
