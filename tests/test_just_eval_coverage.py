"""The just-eval suite finds a quality that is known: its benchmarks on a small part of our own prompts."""

from __future__ import annotations

import json
from importlib import import_module, resources
from types import ModuleType
from typing import Any

import pytest

from drpo.commands.evaluation.suites import Suite, just_eval


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    return import_module("just_eval")


@pytest.fixture(scope="module")
def differences() -> ModuleType:
    return import_module("differences")


@pytest.fixture(scope="module")
def suite() -> Suite:
    """Thirty regular queries and ten on safety, of the prompts that are shipped."""
    text = resources.files("drpo.configs").joinpath("data/prompts.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    harmful = [row for row in rows if row["kind"] == "safety"][:10]
    regular = [row for row in rows if row["kind"] != "safety"][:30]
    marked: list[Any] = [{"instruction": row["query"], "category": "safety"} for row in harmful]
    marked += [{"instruction": row["query"], "category": "regular"} for row in regular]
    return just_eval(marked, input_field="query")


@pytest.mark.slow
def test_intervals_hold_the_true_levels(benchmark: ModuleType, suite: Suite) -> None:
    """Under an unbiased judge the mean mark is the true level, and intervals hold it in nearly all of sixty draws."""
    rows = benchmark.case(suite, "bare", "unbiased", passes=5, draws=60, samples=24)
    assert {row.aspect for row in rows} == {
        "Helpfulness", "Clarity", "Factuality", "Depth", "Engagement", "Safety", "overall",
    }  # fmt: skip
    for row in rows:
        assert abs(row.judged - row.true) < row.half_width / 2, row
        assert 0.85 <= row.covers_judged <= 1.0, row
    assert sum(row.covers_true for row in rows) / len(rows) >= 0.9


@pytest.mark.slow
def test_a_lenient_judge_is_seen_to_be_lenient(benchmark: ModuleType, suite: Suite) -> None:
    """The calibrated judge's marks lie above the truth on every regular aspect: the check can fail."""
    rows = benchmark.case(suite, "bare", "calibrated", passes=2, draws=2, samples=8)
    assert all(row.judged > row.true for row in rows if row.aspect != "Safety")


@pytest.mark.slow
def test_intervals_hold_the_true_differences(differences: ModuleType, suite: Suite) -> None:
    """Under an unbiased judge the plain difference of two programs is the true one, and intervals hold it."""
    rows = differences.case(suite, "unbiased", passes=5, draws=60, samples=24, sizes=[40])
    assert {"Helpfulness", "Depth", "overall"} <= {row.aspect for row in rows}
    for row in rows:
        assert abs(row.plain - row.true) < row.plain_half_width, row
    assert sum(row.plain_covers for row in rows) / len(rows) >= 0.88
    deeper = next(row for row in rows if row.aspect == "Depth")
    assert deeper.true > 0.3
    assert deeper.plain > 0.3
