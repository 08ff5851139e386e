"""Whole comparisons of quick entrants: what is equal whatever happens, what ends one, and what is refused before."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.utils.exceptions import LMAuthError, LMError
from toy_entrants import TRIED, Given, Trying, prompts, simulated, student

from drpo.errors import BudgetExceededError, ConfigError, JudgeError, RunDirectoryError
from drpo.serving.scripted import scripted_lm
from drpo.serving.simulated.engine import SimulatedEngine
from drpo.teleprompters.comparison import plan
from drpo.teleprompters.comparison.compare import Compared, compare


def broken(assignment: Any) -> None:
    raise ValueError("it \x1b[2J breaks <script>")


@pytest.fixture(autouse=True)
def entrants(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Take part: two baselines and three optimizers."""
    found: dict[str, Any] = {
        "trying": Trying("trying"),
        "other": Trying("other", least=20),
        "broken": Trying("broken", then=broken),
    }
    monkeypatch.setattr(plan, "BASELINES", {"seed": Given("seed"), "static": Given("static", TRIED[1])})
    monkeypatch.setattr(plan, "ENTRANTS", found)
    return found


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the simulated models were asked, in order."""
    found: list[Any] = []
    complete = SimulatedEngine.complete

    def counting(self: SimulatedEngine, request: Any) -> Any:
        if not self.models.world.noise_free:  # the true quality is asked of models that are in no run
            found.append(request)
        return complete(self, request)

    monkeypatch.setattr(SimulatedEngine, "complete", counting)
    return found


def run(log_dir: Path | None = None, **changes: Any) -> Compared:
    arguments: dict[str, Any] = {
        "trainset": prompts(24), "num_test": 8, "optimizers": ["trying", "other"], "budget": 30, "seeds": 1,
        "num_threads": 4, "call_timeout": None, "display_progress": False, **simulated(), **changes,
    }  # fmt: skip
    return compare(student(), log_dir=log_dir, **arguments)


@pytest.mark.slow
def test_threads_and_directories_change_nothing(tmp_path: Path) -> None:
    """The figures are the same with one thread and with several, written down or not, and run again over the record."""
    written = run(tmp_path / "run", seeds=2).result
    assert json.loads((tmp_path / "run/comparison.json").read_text()) == written
    assert run(num_threads=1, seeds=2).result == written
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*.json") if path.name != "bill.json"}
    assert run(tmp_path / "run", num_threads=2, seeds=2).result == written
    assert {path: path.read_bytes() for path in before} == before


def test_what_the_figures_say(tmp_path: Path) -> None:
    """Rewards, gains and pairs belong together; calls are those of the roles; the criteria cost no optimizer a call."""
    found = run(tmp_path).result
    entrants = found["entrants"]
    assert list(entrants) == ["seed", "static", "trying", "other"]
    assert (found["num_train"], found["num_test"]) == (16, 8)
    assert sum(found["criteria"]["lm_calls"].values()) == found["criteria"]["lm_calls"]["criteria"] >= 24
    for name in ("trying", "other"):
        figures = entrants[name]
        assert figures["gain"] == pytest.approx(figures["reward"] - entrants["seed"]["reward"])
        assert figures["reward_ci"][0] <= figures["reward"] <= figures["reward_ci"][1]
        assert 0.75 <= figures["budget_used"] <= 1.0
        for row in figures["by_seed"]:
            assert sum(row["lm_calls"].values()) <= 30
            assert row["lm_calls"]["criteria"] == 0
            assert row["true_gain"] == pytest.approx(
                row["true_quality"] - entrants["seed"]["by_seed"][0]["true_quality"]
            )
    assert [(pair["first"], pair["second"]) for pair in found["pairs"]] == [
        ("static", "trying"), ("static", "other"), ("trying", "other"),
    ]  # fmt: skip
    for pair in found["pairs"]:
        difference = entrants[pair["second"]]["reward"] - entrants[pair["first"]]["reward"]
        assert pair["difference"] == pytest.approx(difference)
    assert entrants["seed"]["calls"] == entrants["static"]["calls"] == 0


@pytest.mark.slow
def test_programs_that_are_the_same_are_judged_once(asked: list[Any]) -> None:
    """The baselines are the same with every seed, and so may be what optimizers return: nobody pays for that twice."""
    found = run()
    programs = {row["instructions"]["respond"] for one in found.result["entrants"].values() for row in one["by_seed"]}
    assert found.result["test"]["lm_calls"]["task"] == 8 * len(programs)
    assert found.result["entrants"]["seed"]["verdict"] == "same_program"


def test_optimizers_never_see_the_test_set(tmp_path: Path) -> None:
    """No query of the test stands in a record of an optimizer's calls, whoever asks."""
    found = run(tmp_path)
    held = {query for query in (example.query for example in prompts(24))}
    seen = set()
    for file in tmp_path.glob("units/*/calls.jsonl"):
        text = file.read_text()
        seen |= {query for query in held if query in text}
    assert len(held - seen) >= 8
    assert found.result["num_test"] == 8
    again = run(trainset=prompts(24)[::-1])  # which is which depends on the texts alone
    assert again.result["entrants"]["seed"]["reward"] == pytest.approx(found.result["entrants"]["seed"]["reward"])


def test_a_failure_is_reported_and_not_fatal(tmp_path: Path, asked: list[Any]) -> None:
    """What breaks is a line of the result, with its calls; it is not tried again by a resumed comparison."""
    found = run(tmp_path, optimizers=["broken", "trying"]).result
    rows = found["entrants"]["broken"]["by_seed"]
    assert [row["failure"]["kind"] for row in rows] == ["ValueError"]
    assert "\x1b" not in rows[0]["failure"]["message"]
    assert all(sum(row["lm_calls"].values()) > 0 for row in rows)
    assert (found["entrants"]["broken"]["reward"], found["entrants"]["broken"]["verdict"]) == (None, "not_compared")
    assert found["entrants"]["trying"]["reward"] is not None
    assert "breaks" in (tmp_path / "log.txt").read_text()
    count = len(asked)
    assert run(tmp_path, optimizers=["broken", "trying"]).result == found
    assert len(asked) == count


def failing_at(monkeypatch: pytest.MonkeyPatch, number: int, error: Callable[[], Exception]) -> list[int]:
    """Let the models fail from a call on."""
    left = [number]
    complete = SimulatedEngine.complete

    def dying(self: SimulatedEngine, request: Any) -> Any:
        left[0] -= not self.models.world.noise_free
        if left[0] < 0:
            raise error()
        return complete(self, request)

    monkeypatch.setattr(SimulatedEngine, "complete", dying)
    return left


@pytest.mark.slow
@pytest.mark.parametrize("number", [30, 5, 60, 100])
def test_an_outage_ends_it_and_it_goes_on(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off among the criteria, in an optimizer or in the test: resumed, it ends the same and pays for nothing twice."""
    whole = run(tmp_path / "whole")
    calls = sum(path.read_text().count('"response"') for path in (tmp_path / "whole").rglob("calls.jsonl"))
    left = failing_at(monkeypatch, number, lambda: LMAuthError("no such key", model="sim"))
    with pytest.raises(LMError, match="no such key"):
        run(tmp_path / "run")
    assert not (tmp_path / "run/comparison.json").exists()
    left[0] = 10_000
    resumed = run(tmp_path / "run", num_threads=1)
    assert resumed.result == whole.result
    assert (tmp_path / "run/comparison.json").read_bytes() == (tmp_path / "whole/comparison.json").read_bytes()
    for program in (tmp_path / "whole").rglob("program.json"):
        assert (tmp_path / "run" / program.relative_to(tmp_path / "whole")).read_bytes() == program.read_bytes()
    assert number + 10_000 - left[0] == calls


@pytest.mark.slow
def test_a_cap_on_the_whole_ends_it_resumably(tmp_path: Path) -> None:
    """`max_lm_calls` holds for everything together; with a higher one it goes on, units that are finished included."""
    whole = run().result
    for cap in (20, 40, 90):
        with pytest.raises(BudgetExceededError, match=rf"max_lm_calls={cap} is reached, so the comparison ends"):
            run(tmp_path, max_lm_calls=cap)
        kept = sum(path.read_text().count("\n") for path in tmp_path.rglob("calls.jsonl"))
        assert kept <= cap + 4  # what other threads had on record and did not come to ask again
    assert run(tmp_path, max_lm_calls=5000).result == whole


@pytest.mark.slow
def test_what_was_finished_is_read_not_run_again(tmp_path: Path, entrants: dict[str, Any]) -> None:
    """A finished unit's optimizer is not called; a damaged file of it is named with what to do."""
    found = run(tmp_path).result
    (tmp_path / "comparison.json").unlink()
    entrants["trying"] = Trying("trying", then=broken)
    assert run(tmp_path).result == found
    (tmp_path / "units/trying-0/program.json").write_text("{")
    with pytest.raises(RunDirectoryError, match=r"program\.json.*delete unit\.json beside it"):
        run(tmp_path)
    (tmp_path / "units/trying-0/unit.json").write_text("[]")
    with pytest.raises(RunDirectoryError, match=r"trying-0.*damaged"):
        run(tmp_path)


def test_another_comparison_is_refused(tmp_path: Path) -> None:
    """A directory of another budget, of other seeds or prompts is not gone on with."""
    run(tmp_path, optimizers=["trying"])
    for changes in ({"budget": 40}, {"seeds": 3}, {"optimizers": ["other"]}, {"trainset": prompts(26)}):
        with pytest.raises(RunDirectoryError, match="another configuration"):
            run(tmp_path, **{"optimizers": ["trying"], **changes})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"optimizers": ["tryin"]}, "optimizers: 'tryin' is unknown; did you mean 'trying'"),
        ({"optimizers": ["xyz", "static"]}, "'xyz' is unknown; there are trying, other.*\n.*'static' is a baseline"),
        ({"optimizers": ["trying", "trying"]}, "named twice"),
        ({"optimizers": "trying"}, "give a list"),
        ({"budget": 15}, "budget=15: other needs 20 calls"),
        ({"budget": 0}, "budget=0"),
        ({"seeds": 0}, "seeds=0"),
        ({"seeds": [1, 1]}, "each once"),
        ({"num_test": 0}, "num_test=0"),
        ({"num_test": 7}, r"num_test=7: of 24 prompts 7 could be held out"),
        ({"trainset": prompts(12)}, "of 12 prompts 6 could be held out, and fewer than 8 test nothing"),
        ({"trainset": []}, "trainset"),
        ({"testset": prompts(4)}, "testset: 4 examples test nothing"),
        ({"testset": prompts(30)[14:]}, "testset: 10 queries of it stand in the trainset too"),
        ({"metric": lambda example, prediction: 1.0}, "give a DynamicReward"),
        ({"max_cost": -1}, "max_cost=-1"),
        ({"num_threads": 0}, "num_threads=0"),
    ],
)
def test_mistakes_are_told_before_anything_is_paid(
    changes: dict[str, Any], said: str, asked: list[Any], tmp_path: Path
) -> None:
    """Each mistake is named with its value, with no call made and nothing written."""
    with pytest.raises(ConfigError, match=said):
        run(tmp_path / "run", **changes)
    assert asked == []
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_an_own_test_set_and_seeds(tmp_path: Path) -> None:
    """A test set that is given is the test set; seeds can be named."""
    found = run(tmp_path, trainset=prompts(12), testset=prompts(20)[12:], seeds=[7])
    assert (found.result["num_train"], found.result["num_test"], found.result["seeds"]) == (12, 8, [7])
    assert set(found.programs["trying"]) == {7}
    assert (tmp_path / "units/trying-7/program.json").exists()
    assert isinstance(found.programs["trying"][7], dspy.Module)


def test_a_judge_that_never_judges_is_told() -> None:
    """If no test answer has a readable score there is nothing to compare."""
    with pytest.raises(JudgeError, match="no answer to any test query could be judged"):
        run(optimizers=[], **{**simulated(), "judge_lm": scripted_lm(lambda prompt: "I would rather not say.")})
