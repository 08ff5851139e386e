"""What people see of a comparison: every entrant, in 80 columns, with model text as text."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console

from drpo.reports.comparison import interval, leading_pairs, notes, print_comparison, ranked, signed
from drpo.reports.comparison_markdown import comparison_markdown
from drpo.reports.comparison_plot import comparison_svg

HOSTILE = "```\n<script>alert(1)</script> ![x](http://evil) \x1b[2J | [a](b)"


def entrant(reward: float | None, *, kind: str = "optimizer", calls: float = 400.0) -> dict[str, Any]:
    failed = reward is None
    roles = {"task": calls / 2, "judge": calls / 2, "criteria": 0, "prompt": 0}
    seed = {
        "seed": 0, "failure": {"kind": "ValueError", "message": HOSTILE} if failed else None, "reward": reward,
        "gain": None if failed else reward - 0.5, "true_quality": None, "true_gain": None, "same_as_seed": False,
        "lm_calls": roles, "stopped": None, "imputed_judgements": 2, "missing_judgements": 0, "program_errors": 0,
        "settings": {"breadth": 12}, "length": None if failed else {"instruction_words": 12, "demos": 3},
        "instructions": None if failed else {"respond": HOSTILE}, "rewards": [],
    }  # fmt: skip
    return {
        "kind": kind, "reward": reward, "reward_ci": None if failed else [reward - 0.1, reward + 0.1],
        "gain": None if failed else reward - 0.5, "gain_ci": None if failed else [reward - 0.6, reward - 0.4],
        "verdict": "not_compared" if failed else "perhaps_better", "queries": 60, "pairs": 60, "true_quality": None,
        "true_gain": None if failed else 0.123, "calls": calls, "tokens": 1234567.0, "seconds": 12345.0, "cost": 1.2345,
        "budget_used": 1.0, "instruction_words": 1234, "demos": 3, "failures": int(failed), "missing_judgements": 1,
        "program_errors": 0, "by_seed": [seed],
    }  # fmt: skip


@pytest.fixture
def result() -> dict[str, Any]:
    entrants = {
        "seed": entrant(0.5, kind="baseline", calls=0.0), "static": entrant(0.62, kind="baseline", calls=0.0),
        "drpo": entrant(0.7), "miprov2-0shot": entrant(0.65), "gepa": entrant(None),
    }  # fmt: skip
    pair = {"difference": 0.05, "ci": [0.01, 0.09], "pairs": 60, "queries": 60, "verdict": "better"}
    return {
        "budget": 400, "seeds": [0], "num_train": 120, "num_test": 60, "entrants": entrants, "simulated": True,
        "pairs": [
            {"first": "static", "second": "drpo", **pair},
            {"first": "drpo", "second": "miprov2-0shot", **pair, "difference": -0.05, "ci": [-0.09, -0.01], "verdict": "worse"},
        ],
        "criteria": {"lm_calls": {"task": 0, "judge": 0, "criteria": 180, "prompt": 0}},
        "test": {"lm_calls": {"task": 240, "judge": 240, "criteria": 0, "prompt": 0}},
    }  # fmt: skip


def test_the_tables_fit_80_columns(result: dict[str, Any], tmp_path: Path) -> None:
    """No line is longer, none is wrapped within the tables, and a failure shows no control characters."""
    target = io.StringIO()
    print_comparison(result, log_dir=tmp_path, console=Console(file=target, width=80))
    lines = target.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    (row,) = [line for line in lines if line.startswith("miprov2-0shot") and "perhaps better" in line]
    assert all(text in row for text in ("0.650", "+0.150", "+0.050 to +0.250", "+0.123"))
    assert "\x1b" not in target.getvalue()
    assert [line.split()[0] for line in lines if "0.7" in line or "failed  " in line][:1] == ["drpo"]


def test_the_leader_is_compared_from_its_side(result: dict[str, Any]) -> None:
    """Differences are those of the best optimizer over the others, whichever stood first in the pair."""
    assert [name for name, _ in ranked(result)] == ["drpo", "miprov2-0shot", "static", "seed", "gepa"]
    name, pairs = leading_pairs(result)
    assert name == "drpo"
    assert [(one["other"], one["difference"], one["verdict"]) for one in pairs] == [
        ("static", 0.05, "better"), ("miprov2-0shot", 0.05, "better"),
    ]  # fmt: skip
    assert pairs[1]["ci"] == [0.01, 0.09]


def test_the_page_and_the_picture_hold_text_only(result: dict[str, Any]) -> None:
    """What a model or an error wrote is no markup; the picture is well-formed with one name per entrant that ended."""
    page = comparison_markdown(result)
    outside = "".join(part for index, part in enumerate(page.split("````")) if index % 2 == 0)
    assert "<script>" not in outside
    assert "![x](" not in outside
    assert "\x1b" not in page
    assert all(name in page for name in result["entrants"])
    picture = ElementTree.fromstring(comparison_svg(result))
    texts = ["".join(text.itertext()) for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert [text for text in texts if text.startswith(("drpo", "seed", "static", "mipro", "gepa"))] == [
        "drpo 0.700", "miprov2-0shot 0.650", "static 0.620", "seed 0.500",
    ]  # fmt: skip
    for one in result["entrants"].values():
        one["reward"] = None
    ElementTree.fromstring(comparison_svg(result))


def test_notes_name_what_went_wrong(result: dict[str, Any]) -> None:
    said = "\n".join(notes(result))
    assert "gepa, seed 0, failed: ValueError" in said
    assert "drpo: 1 test answer without a judgement, 2 judgements missing while it worked" in said
    assert "180 calls for criteria, 480 for the test" in said
    json.dumps(said)


@pytest.mark.parametrize(("value", "shown"), [(0.0414, "+0.041"), (-0.0001, "+0.000"), (None, "-")])
def test_signed(value: float | None, shown: str) -> None:
    assert signed(value) == shown
    assert interval(None) == "-"
