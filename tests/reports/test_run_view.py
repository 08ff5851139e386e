"""What the page says of a run: figures of both searches, why each candidate was kept or cut, and runs under way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dspy
import pytest
from page_runs import config, evaluation, minibatch_trace, run_files

import drpo
from drpo.reports.intervals import interval_of
from drpo.reports.run_view import run_view
from drpo.serving.engine import build_lm
from drpo.serving.settings import LMSettings
from drpo.serving.simulated.world import World


def simulated(role: str) -> dspy.BaseLM:
    return build_lm(LMSettings(model=f"sim/{role}"), world=World.named("weak-base"))


def compiled(folder: Path, auto: str, **options: Any) -> dict[str, Any]:
    """Compile with simulated models, and return the files."""
    examples = [dspy.Example(query=f"How does number {place} work?").with_inputs("query") for place in range(30)]
    drpo.DRPOTeleprompter(
        task_lm=simulated("base"), judge_lm=simulated("judge"), prompt_lm=simulated("prompt"), auto=auto,
        depth=3, n_actions=3, log_dir=folder, num_threads=1, display_progress=False, **options,
    ).compile(drpo.Responder(), trainset=examples, valset=examples[:9] if auto == "paper" else None)  # fmt: skip
    files: dict[str, Any] = {file.name: json.loads(file.read_text()) for file in folder.glob("*.json")}
    return {**files, "log.txt": (folder / "log.txt").read_text()}


@pytest.fixture(scope="module", params=["light", "paper"])
def real(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return compiled(tmp_path_factory.mktemp("runs") / "run", request.param, optimize_demos=False)


def test_a_real_run_is_read_whole(real: dict[str, Any]) -> None:
    """Every node has its place, its figures and its fate; the best path and the finalists are those of the trace."""
    trace, result = real["trace.json"], real["result.json"]
    view = run_view(real, title="run")
    assert [node["number"] for node in view["nodes"]] == [node["number"] for node in trace["nodes"]]
    assert [node["best"] for node in view["nodes"]] == [node["best"] for node in trace["nodes"]]
    assert all(node["fate"] for node in view["nodes"])
    assert view["nodes"][view["best"]]["best"]
    assert view["mode"] == ("paper" if result["optimizer"] == "drpo-paper" else "default")
    assert view["gain"]["mean"] == result["gain"]
    seed, *others = view["final"]
    winner = next(one for one in others if one["winner"])
    before = {found["query"]: found["reward"] for found in seed["evaluations"]}
    pairs = [found["reward"] - before[found["query"]] for found in winner["evaluations"] if found["query"] in before]
    assert sum(pairs) / len(pairs) == pytest.approx(result["gain"], abs=1e-6)
    rows = {row[0]: row for row in view["cost"][0]["rows"]}
    assert rows["task"][2] == result["lm_calls"]["task"]
    assert len(view["ledger"]) == len(view["queries"])


def test_what_answers_took_adds_up_to_the_bill(real: dict[str, Any]) -> None:
    """The usage of all answers, of nodes and finalists, is what the task and the judge LM used; none is counted twice."""
    view = run_view(real, title="run")
    found = [one for node in [*view["details"], *view["final"]] for one in node["evaluations"]]
    used = [real["bill.json"]["roles"][role] for role in ("task", "judge")]
    assert sum(one["calls"] for one in found) == sum(role["calls"] for role in used)
    assert sum(one["tokens"] for one in found) == sum(
        role["prompt_tokens"] + role["completion_tokens"] for role in used
    )


def test_an_unfinished_run_has_a_page(tmp_path: Path) -> None:
    """Whatever files are missing: what is there is shown, and what is not known yet is said."""
    whole = run_files(minibatch_trace(2, 4))
    assert run_view({}, title="run")["headline"] == "Not finished"
    first = run_view({"config.json": config()}, title="run")
    assert (first["nodes"], first["instructions"]["final"]) == ([], None)
    for missing in whole:
        view = run_view({name: data for name, data in whole.items() if name != missing}, title="run")
        assert view["finished"] == (missing != "result.json")
    used = {"task": {"calls": 3, "prompt_tokens": 5, "completion_tokens": 6, "seconds": 0.5, "cost": None}}
    assert run_view({"config.json": config(), "usage": used}, title="run")["cost"][0]["rows"][0][2] == 3


def test_a_trace_of_an_earlier_version_is_read() -> None:
    """One without rounds, usage and final selection."""
    files = run_files(minibatch_trace(2, 4))
    trace = files["trace.json"]
    del trace["rounds"], trace["final"]
    for node in trace["nodes"]:
        for found in node["evaluations"]:
            del found["usage"], found["feedback"]
    view = run_view(files, title="run")
    assert view["nodes"][0]["tokens"] is None
    assert view["nodes"][1]["fate"] == "Kept for the next level."


@pytest.mark.parametrize(
    ("judged", "value", "kept", "said"),
    [
        (1, 0.0, False, "Cut in the race of level 1, after 1 of 3 queries: the better half went on."),
        (3, 0.1, False, "Cut after level 1, judged on all of its queries. Then worth +0.025 beside the seed; the leader, "
                        "candidate 1, +0.100."),
        (3, 0.8, False, "Cut after level 1, judged on all of its queries. Then worth +0.200 beside the seed; the leader, "
                        "candidate 1, +0.100: better by the estimate, but not beyond doubt (paired t-test, 5 %)."),
    ],
)  # fmt: skip
def test_why_a_candidate_was_cut(judged: int, value: float, kept: bool, said: str) -> None:
    """In the race, by its value, or though its value is higher: because it is not so beyond doubt."""
    trace = minibatch_trace(1, 3)
    trace["nodes"][3] |= {"kept": kept, "evaluations": [evaluation(3, query) for query in range(judged)]}
    trace["rounds"][1]["values"] = {"0": 0.0, "1": 0.4, "2": 0.2, "3": value}
    view = run_view({"trace.json": trace}, title="run")
    assert view["nodes"][3]["fate"] == said
    assert view["nodes"][1]["fate"] == "Kept after level 1, as the leader after level 1."


def test_missing_judgements_are_no_numbers() -> None:
    """A node without any reward has none, and counts in no mean."""
    trace = minibatch_trace(1, 3)
    for found in trace["nodes"][1]["evaluations"]:
        found["reward"] = None
        for score in found["scores"]:
            score["value"] = None
    node = run_view({"trace.json": trace}, title="run")["nodes"][1]
    assert (node["reward"], node["gain"], node["criteria"], node["missing"]) == (None, None, [], 3)


def test_gains_are_of_common_queries() -> None:
    """A candidate is compared with the seed and its parent on the queries that both answered, and on no others."""
    trace = minibatch_trace(1, 2)
    for node, rewards in zip(trace["nodes"], ([1.0, 2.0, 3.0], [3.0, 2.0, 5.0], []), strict=True):
        for found, reward in zip(node["evaluations"], rewards, strict=False):
            found["reward"] = reward
    # The seed answers queries 0 to 2, the candidate 1 to 3.
    node = run_view({"trace.json": trace}, title="run")["nodes"][1]
    assert node["gain"] == interval_of([(3 - 2) / 4, (2 - 3) / 4])


def test_intervals_stay_on_their_scale() -> None:
    """The interval of two scores far apart does not pass the ends of the scale."""
    assert interval_of([1.0, 5.0], low=1, high=5) == {"mean": 3.0, "low": 1, "high": 5, "count": 2}
    assert interval_of([]) is None
