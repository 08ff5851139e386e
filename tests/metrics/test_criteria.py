"""The criteria library: one criterion under any spelling."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drpo.errors import ConfigError
from drpo.metrics.criteria import LIBRARY, STATIC, CriteriaLibrary, Criterion
from drpo.programs.text import canonical

# The paper's names (algorithm, section 4), and those of the official demonstrations' cache.
PAPER = {
    "Helpfulness", "Clarity", "Factuality", "Depth", "Engagement", "Conciseness", "Compliance", "Limitations",
    "Critical-Thinking", "Creativity", "Interactivity", "Empathy", "Sensitivity", "Safety",
}  # fmt: skip


def test_the_library_has_the_papers_fourteen_each_defined_and_anchored() -> None:
    assert {criterion.name for criterion in LIBRARY} == PAPER
    assert all(criterion.definition and criterion.best and criterion.worst for criterion in LIBRARY)
    assert all(criterion.weight == 1 for criterion in LIBRARY)
    assert len({criterion.definition for criterion in LIBRARY}) == 14


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("clarity", "Clarity"),
        (" CLARITY ", "Clarity"),
        ("critical thinking", "Critical-Thinking"),
        ("Critical_Thinking", "Critical-Thinking"),
        ("Compliance with Instructions", "Compliance"),
        ("Acknowledgement of Limitations", "Limitations"),
        ("cultural-sensitivity", "Sensitivity"),
        ("Accuracy", "Factuality"),
        ("Zeal", None),
        ("", None),
        ("***", None),
    ],
)
def test_spellings(spelling: str, name: str | None) -> None:
    found = CriteriaLibrary().find(spelling)
    assert (found.name if found else None) == name


def test_names_definitions_and_a_mixture_make_a_library() -> None:
    rhyme = Criterion("Rhyme", "The lines rhyme.")
    library = CriteriaLibrary(["clarity", rhyme, "Critical Thinking"])
    assert [criterion.name for criterion in library] == ["Clarity", "Rhyme", "Critical-Thinking"]
    assert len(library) == 3
    assert library.find("RHYME") is rhyme
    assert library.find("Depth") is None
    assert len(CriteriaLibrary()) == 14


def test_a_definition_of_the_users_goes_before_ours() -> None:
    mine = Criterion("clarity", "Mine.")
    assert CriteriaLibrary([mine, "Depth"]).find("Clarity") is mine
    accuracy = Criterion("Accuracy", "Mine.")
    assert CriteriaLibrary([accuracy, "Factuality"]).find("accuracy") is accuracy


@pytest.mark.parametrize(
    ("criteria", "message"),
    [
        ([], r"criteria=\[\]: give at least one"),
        (["Zeal"], "'Zeal' is not in the library .*; define it as Criterion"),
        (["Clarity", "CLARITY"], "'Clarity' is given twice"),
        (["Safety", Criterion("safety", "x")], "'safety' is given twice"),
        (["Accuracy", "Correctness"], "'Factuality' is given twice"),
        ([5], "5 is not in the library"),
        ("Clarity", "criteria='Clarity': give a list"),
    ],
)
def test_mistakes(criteria: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CriteriaLibrary(criteria)


@pytest.mark.parametrize(
    "arguments",
    [
        {"name": ""},
        {"name": " "},
        {"name": "!?"},
        {"name": None},
        {"definition": ""},
        {"definition": 5},
        {"weight": 0},
        {"weight": -1},
        {"weight": float("nan")},
        {"weight": float("inf")},
        {"weight": True},
        {"weight": "1"},
    ],
)
def test_a_criterion_names_what_is_wrong_with_it(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(arguments))}=|at least one letter"):
        Criterion(**{"name": "Rhyme", "definition": "It rhymes.", **arguments})


def test_static_criteria_are_the_usual_five_as_far_as_they_are_on_offer() -> None:
    assert [criterion.name for criterion in CriteriaLibrary().static(5)] == list(STATIC)
    assert [criterion.name for criterion in CriteriaLibrary().static(2)] == ["Helpfulness", "Clarity"]
    assert [c.name for c in CriteriaLibrary(["Safety", "Depth", "Clarity"]).static(5)] == ["Clarity", "Depth"]
    assert [c.name for c in CriteriaLibrary(["Safety", "Empathy"]).static(1)] == ["Safety"]


@given(st.text(), st.sampled_from([str.upper, str.lower, str.title]), st.sampled_from(["-", "_", " ", ""]))
def test_spelling_ignores_capitals_blanks_and_hyphens(name: str, cased: Any, joined: str) -> None:
    """Invariant: a name and its canonical form have one canonical form."""
    assert canonical(canonical(name)) == canonical(name)
    ascii_name = "".join(char for char in name if char.isascii())
    assert canonical(cased(ascii_name).replace(" ", joined)) == canonical(ascii_name)
