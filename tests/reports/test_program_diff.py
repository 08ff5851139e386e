"""What differs between two programs, word by word, and how it is shown."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import dspy
import pytest
from contract_programs import Mixed
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from drpo import Responder
from drpo.errors import ConfigError, ProgramFileError
from drpo.reports.printed_diff import print_diff
from drpo.reports.program_diff import Side, program_diff
from drpo.reports.word_diff import Change, word_diff

EGG = {"query": "Boil an egg?", "response": "Eight minutes."}
WOOL = {"query": "Wash wool?", "response": "Cold."}
SILK = {"query": "Iron silk?", "response": "Inside out."}
texts = st.text(st.sampled_from("ab .,\n"), max_size=20)


def saved(folder: Path, name: str, program: dspy.Module) -> Path:
    program.save(folder / f"{name}.json")
    return folder / f"{name}.json"


def compared(folder: Path, first: dspy.Module, second: dspy.Module) -> dict[str, Any]:
    return program_diff(*(Side.read(saved(folder, name, one)) for name, one in (("a", first), ("b", second))))


def shown(found: dict[str, Any], **options: Any) -> str:
    console = Console(file=io.StringIO(), width=80, highlight=False, **options)
    print_diff(found, console=console)
    return console.file.getvalue()


@given(texts, texts)
def test_the_pieces_are_both_texts(before: str, after: str) -> None:
    """Without what was added the pieces are the first text, without what was removed the second."""
    pieces = word_diff(before, after)
    assert "".join(piece.text for piece in pieces if piece.change is not Change.ADDED) == before
    assert "".join(piece.text for piece in pieces if piece.change is not Change.REMOVED) == after
    assert before != after or {piece.change for piece in pieces} <= {Change.SAME}


def test_words_are_the_unit() -> None:
    """A changed word is shown whole, and its neighbours are left alone."""
    assert [(piece.change.value, piece.text) for piece in word_diff("Be very brief.", "Be quite brief.")] == [
        ("same", "Be "), ("removed", "very"), ("added", "quite"), ("same", " brief."),
    ]  # fmt: skip
    pieces = word_diff("Answer in two words, please.", "Answer with one sentence, please.")
    assert [(piece.change.value, piece.text) for piece in pieces][1:3] == [
        ("removed", "in two words"), ("added", "with one sentence"),
    ]  # fmt: skip


def test_equal_programs_have_no_difference(tmp_path: Path) -> None:
    found = compared(tmp_path, Responder(demos=[EGG], k=1), Responder(demos=[EGG], k=1))
    assert found == {"format": 1, "equal": True, "predictors": {}, "settings": {}, "figures": {}}
    assert shown(found) == "No difference.\n"


def test_demonstrations_come_go_and_change(tmp_path: Path) -> None:
    """Another answer to the same question is a change; the rest are added or removed; so is another k told."""
    first = Responder(demos=[EGG, WOOL], k=2)
    second = Responder(demos=[SILK, {**EGG, "response": "Six minutes."}], k=1)
    told = compared(tmp_path, first, second)["predictors"]["respond"]
    assert told["demonstrations"] == {
        "removed": [WOOL],
        "added": [SILK],
        "changed": [{"before": EGG, "after": {**EGG, "response": "Six minutes."}}],
        "reordered": False,
    }
    assert told["settings"] == {"k": [2, 1]}
    again = compared(tmp_path, first, Responder(demos=[WOOL, EGG], k=2))["predictors"]["respond"]["demonstrations"]
    assert again == {"removed": [], "added": [], "changed": [], "reordered": True}


def test_any_program_can_be_compared(tmp_path: Path) -> None:
    """Programs with several predictors, plain predictors, and programs of two structures."""
    changed = Mixed()
    name, predictor = list(changed.named_predictors())[-1]
    predictor.signature = predictor.signature.with_instructions("Something else.")
    found = compared(tmp_path, Mixed(), changed)
    assert list(found["predictors"]) == [name]
    plain = compared(tmp_path, dspy.Predict("query -> response"), dspy.Predict("query -> response", demos=[]))
    assert plain["equal"]
    other = compared(tmp_path, Responder(), dspy.Predict("query -> response"))
    assert other["predictors"] == {"respond": {"only_in": "first"}, "self": {"only_in": "second"}}
    assert "self: only in the second program" in shown(other)


def test_marks_stand_where_there_are_no_colours(tmp_path: Path) -> None:
    """In a file every change is marked; in a terminal colours do it; what a model wrote moves no cursor in either."""
    first, second = (
        Responder(instructions="Be very brief."),
        Responder(instructions="Be [red]\x1b[2Jquite[/red] brief."),
    )
    found = compared(tmp_path, first, second)
    plain = shown(found)
    assert "Be [-very-]{+[red][2Jquite[/red]+} brief." in plain
    coloured = shown(found, force_terminal=True, color_system="standard", no_color=False)
    assert "[-" not in coloured
    assert "\x1b[31m" in coloured or "\x1b[9;31m" in coloured
    assert "\x1b[2J" not in coloured
    without = shown(found, force_terminal=True, color_system="standard", no_color=True)
    assert "[-very-]" in without


def test_what_is_no_program_is_refused(tmp_path: Path) -> None:
    """A folder without a program, and a file that is none, are named."""
    with pytest.raises(ConfigError, match=r"there is no program\.json"):
        Side.read(tmp_path)
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(ProgramFileError, match=r"x\.json"):
        Side.read(tmp_path / "x.json")


@pytest.mark.parametrize("width", [60, 80])
def test_tables_fit_the_terminal(width: int, tmp_path: Path) -> None:
    """Long names and values fold."""
    first, second = Side({}, {"lms": {"task": {"model": "org/" + "long-" * 30}}}, {}), Side({}, {}, {"reward": 0.5})
    console = Console(file=io.StringIO(), width=width)
    print_diff(program_diff(first, second), console=console)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert sum("long" in line for line in lines) > 1
