"""The paper's search equals the official code, call for call (golden facts of its own runs)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from paper_mock import PaperMock, hash_score

CASES = json.loads((Path(__file__).parent / "golden" / "parity.json").read_text())

# all calls of the task LM = judge, optimizer requests, criteria, depth at the end, path length, value, final instruction
CONSTANT = [
    pytest.param({}, 4, 180, (112, 37, 20, 20, 20, 4.0, "P0" + ".0" * 19), id="all-4", marks=pytest.mark.slow),
    pytest.param({}, 5, 180, (30, 0, 30, 30, 30, 5.0, "P0"), id="all-5", marks=pytest.mark.slow),
    pytest.param({}, 4, 5, (22, 7, 5, 20, 5, 4.0, "P0" + ".0" * 4), id="all-4-on-5-queries"),
    pytest.param({"depth": 1}, 4, 180, (1, 0, 1, 1, 1, 0.0, "P0"), id="all-4-depth-1"),
    pytest.param(
        {"beam_size": 1},
        4,
        180,
        (58, 19, 20, 20, 20, 4.0, "P0" + ".0" * 19),
        id="all-4-width-1",
        marks=pytest.mark.slow,
    ),
    pytest.param({}, 5, 10, (10, 0, 10, 29, 10, 5.0, "P0"), id="all-5-on-10-queries"),
]


@pytest.mark.parametrize(
    ("case", "num_threads"),
    [
        pytest.param(
            case, threads, id=f"salt={case['salt']!r}-{threads}",
            marks=() if (case["salt"], threads) in {("c", 1), ("c", 16)} else pytest.mark.slow,
        )
        for case in CASES
        for threads in (1, 16)
    ],
)  # fmt: skip
def test_hash_scores(case: dict, num_threads: int, tmp_path: Path) -> None:
    """Counts, depth, path, value and instruction equal the official run's, whatever the order of completion."""
    mock = PaperMock(hash_score(case["salt"]))
    sizes = {name: case[name] for name in ("beam_size", "n_actions", "depth", "max_depth_increase")}
    program = mock.compile(num_queries=case["num_queries"], num_threads=num_threads, log_dir=tmp_path / "run", **sizes)
    trace = json.loads((tmp_path / "run" / "trace.json").read_text())
    best = trace["nodes"][trace["best"]]
    assert mock.calls["task"] == case["target_calls"]
    assert mock.calls["judge"] == case["judge_calls"]
    assert mock.calls["prompt"] == case["optimizer_calls"] * case["n_actions"]
    assert mock.calls["criteria"] == case["criteria_calls"]
    assert trace["depth"] == case["end_depth"]
    assert best["level"] + 1 == case["path_length"]
    assert round(best["value"], 6) == case["value"]
    assert program.respond.signature.instructions == case["final_instruction"]


@pytest.mark.parametrize(("sizes", "score", "num_queries", "expected"), CONSTANT)
def test_constant_scores(sizes: dict, score: int, num_queries: int, expected: tuple, tmp_path: Path) -> None:
    """Ties go to the earliest proposal, easy levels lengthen the search, and too few queries end it."""
    mock = PaperMock(lambda prompt, query, aspect: score)
    program = mock.compile(num_queries=num_queries, num_threads=4, log_dir=tmp_path / "run", **sizes)
    trace = json.loads((tmp_path / "run" / "trace.json").read_text())
    best = trace["nodes"][trace["best"]]
    n_actions = 3
    found = (
        mock.calls["task"],
        mock.calls["prompt"] // n_actions,
        mock.calls["criteria"],
        trace["depth"],
        best["level"] + 1,
        best["value"],
        program.respond.signature.instructions,
    )
    assert found == expected
    assert mock.calls["judge"] == mock.calls["task"]
