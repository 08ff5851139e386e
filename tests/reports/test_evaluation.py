"""What an evaluation looks like: within eighty columns, every figure with its doubt, and no model's text obeyed."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from drpo.reports.evaluation import notes, print_evaluation

ASPECTS = ("Helpfulness", "Clarity", "Factuality", "Depth", "Engagement", "Critical-Thinking")


def mean(value: float | None = 4.0, **changes: Any) -> dict[str, Any]:
    return {"mean": value, "low": 3.9, "high": 4.1, "n": 800, "missing": 0, **changes}


def difference(**changes: Any) -> dict[str, Any]:
    controlled = {"mean": 0.1, "low": -0.05, "high": 0.25, "slope": 1.0, "count": 800, "extrapolated": False}
    return {"first": 3.9, "second": 4.1, "difference": 0.2, "low": 0.1, "high": 0.3, "n": 800,
            "length_controlled": controlled, **changes}  # fmt: skip


def program(**changes: Any) -> dict[str, Any]:
    return {
        "name": "runs/first/program.json", "digest": "0", "instructions": {}, "training_judge": None,
        "overall": mean(), "aspects": {name: mean() for name in ASPECTS},
        "groups": {"dataset": {"lima": {"overall": mean()}, "hh-rlhf/red-team-attempts": {"Safety": mean()}}},
        "words": {"mean": 200.0, "median": 180.0}, "program_errors": 0, "items": [],
        "true": dict.fromkeys(ASPECTS, 4.0), **changes,
    }  # fmt: skip


def result(*programs: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return what `evaluation.json` says, changed; with two programs there is a comparison."""
    comparison = {
        "first": "seed.json", "second": "runs/first/program.json", "first_date": None, "first_words": 150.0,
        "aspects": {"overall": difference(), **{name: difference() for name in ASPECTS}},
        "pairwise": {"wins": 500, "ties": 100, "losses": 150, "inconsistent": 240, "missing": 10, "win_rate": 0.733,
                     "win_rate_ci": [0.70, 0.76], "consistency": 0.76, "consistency_ci": [0.7, 0.8], "first_rate": 0.6},
    }  # fmt: skip
    return {
        "suite": "just-eval", "suite_version": {"rubric": "a" * 16, "queries": "b" * 16, "num_queries": 1000},
        "date": "2026-01-02", "judge": {"model": "openai/gpt-4.1-mini"}, "programs": list(programs),
        "comparison": comparison if len(programs) == 2 else None,
        "lm_calls": {"task": 1000, "judge": 1000, "criteria": 0},
        "tokens": {"task": 5, "judge": 5, "criteria": 0}, "cost": {"task": None, "judge": 0.1, "criteria": 0.0}, **changes,
    }  # fmt: skip


def printed(data: dict[str, Any]) -> str:
    file = io.StringIO()
    print_evaluation(data, log_dir=None, console=Console(file=file, width=80))
    return file.getvalue()


@pytest.mark.parametrize("programs", [1, 2])
def test_it_fits_eighty_columns(programs: int) -> None:
    """Every figure stands whole in a terminal of eighty columns, the longest name of an aspect included."""
    said = printed(result(*[program() for _ in range(programs)]))
    assert max(map(len, said.splitlines())) <= 80
    assert "…" not in said
    for name in ASPECTS:
        assert name in said
    assert ("+0.10 to +0.30" if programs == 2 else "3.90 to 4.10") in said


def test_a_mean_comes_with_what_it_rests_on() -> None:
    """Interval, number of queries, missing ones, judge, day and suite version stand with the marks."""
    said = printed(result(program(overall=mean(missing=7))))
    for text in ("3.90 to 4.10", "800", "7", "openai/gpt-4.1-mini", "2026-01-02", "a" * 16, "b" * 16):
        assert text in said
    assert "cost unknown" in said


def test_unknown_is_no_number() -> None:
    """Where nothing could be marked there is a dash."""
    said = printed(result(program(overall=mean(None, low=None, high=None, n=0, missing=800), true=None)))
    assert "│ overall           │    - │" in said


def test_many_aspects_are_many_chances() -> None:
    """A comparison says how often luck alone shows a difference on some aspect; one aspect has no such note."""
    said = " ".join(notes(result(program(), program())))
    assert "6 aspects are 6 chances to be lucky" in said
    assert "26%" in said
    one = result(program(), program())
    one["comparison"]["aspects"] = {"overall": difference(), "Clarity": difference()}
    assert "chances" not in " ".join(notes(one))


def test_what_casts_doubt_is_said() -> None:
    """The training judge, another day, failures, missing scores, one-sided lengths, few queries: a line for each."""
    doubtful = program(
        training_judge="openai/gpt-4.1-mini", program_errors=3, aspects={"Clarity": mean(n=80, missing=20)}
    )
    data = result(program(), doubtful, suite_version={"rubric": "a", "queries": "b", "num_queries": 20})
    data["comparison"]["first_date"] = "2025-12-01"
    data["comparison"]["aspects"]["overall"]["length_controlled"]["extrapolated"] = True
    said = " ".join(notes(data))
    for text in ("trained by this same judge", "judged on 2025-12-01", "failed on 3 queries", "20 of 100 scores",
                 "is a guess", "Fewer than 30"):  # fmt: skip
        assert text in said
    clean = " ".join(notes(result(program())))
    for text in ("trained by", "failed", "missing;", "guess", "Fewer"):
        assert text not in clean


def test_names_are_neither_markup_nor_commands() -> None:
    """What a file calls a data set or an aspect is shown as text, without what moves a cursor."""
    hostile = "[bold]x[/bold]\x1b[2J"
    data = result(program(name=hostile, groups={"dataset": {hostile: {"overall": mean()}, "b": {"overall": mean()}}}))
    said = printed(data)
    assert "[bold]x[/bold][2J" in said
    assert "\x1b" not in said


def test_unknown_win_rate() -> None:
    """If no pair is consistent there is no rate."""
    data = result(program(), program())
    data["comparison"]["pairwise"] |= {"wins": 0, "ties": 0, "losses": 0, "win_rate": None, "win_rate_ci": None}
    assert "Win rate of the second program: unknown" in printed(data)
