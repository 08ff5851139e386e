"""`mlflow.dspy.autolog()` around a compile: run by `make test-mlflow`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dspy
import pytest

from drpo import DRPOTeleprompter, DynamicReward, Responder
from drpo.serving.simulated.engine import simulated_lm
from drpo.serving.simulated.world import World

pytestmark = [pytest.mark.mlflow, pytest.mark.filterwarnings("default")]


@pytest.fixture
def mlflow(tmp_path: Path) -> Iterator[Any]:
    """MLflow with a store of its own, and its logging of DSPy on."""
    found = pytest.importorskip("mlflow", reason="needs the extra `mlflow`")
    pytest.importorskip("mlflow.dspy")
    found.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = found.create_experiment("drpo", artifact_location=(tmp_path / "artifacts").as_uri())
    found.set_experiment(experiment_id=experiment)
    found.dspy.autolog(log_compiles=True, log_evals=True, log_traces_from_compile=False)
    yield found
    found.dspy.autolog(disable=True)


def compiled(*, seed: int = 0, **options: Any) -> tuple[DRPOTeleprompter, dspy.Module, list[dspy.Example]]:
    world = World.preset("weak-base")
    task, judge, prompt = (simulated_lm(role, world) for role in ("task", "judge", "prompt"))
    trainset = [dspy.Example(query=f"How does thing {number} work?").with_inputs("query") for number in range(12)]
    optimizer = DRPOTeleprompter(
        DynamicReward(judge), task_lm=task, prompt_lm=prompt, depth=1, n_actions=2, display_progress=False, **options
    )
    return optimizer, optimizer.compile(Responder(), trainset=trainset, seed=seed), trainset


def test_a_compile_is_a_run(mlflow: Any, tmp_path: Path) -> None:
    """It is one run with the compile's arguments and the program, and nothing of it stays in the optimizer."""
    optimizer, program, _ = compiled(num_threads=4, seed=3)
    runs = mlflow.search_runs(output_format="list")
    assert len(runs) == 1
    run = runs[0]
    assert run.info.status == "FINISHED"
    names = [artifact.path for artifact in mlflow.MlflowClient().list_artifacts(run.info.run_id)]
    assert "best_model.json" in names
    saved = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="best_model.json",
                                                dst_path=str(tmp_path))  # fmt: skip
    assert program.predictors()[0].signature.instructions.splitlines()[0] in Path(saved).read_text()
    assert "trainset.json" in names
    # MLflow adds what compile was given to what `get_params` returned.
    assert not {"student", "trainset", "valset"} & set(vars(optimizer))
    assert not {"student", "trainset", "valset"} & set(optimizer.get_params())
    assert run.data.params["seed"] == "3"  # an argument of compile; MLflow logs none of the optimizer's


def test_the_page_shows_how_the_gain_gets_there(mlflow: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The block of docs/metric.md runs, and its run has the settings and the figures that it logs."""
    page = (Path(__file__).parents[2] / "docs/metric.md").read_text()
    block = page.partition("```python mlflow\n")[2].partition("```")[0]
    assert "autolog" in block
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "<block>", "exec"), {"__name__": "__main__"})
    run = next(run for run in mlflow.search_runs(output_format="list") if "gain" in run.data.metrics)
    assert run.data.params["auto"] == "light"
    assert run.data.metrics["lm_calls"] > 50


def test_the_result_is_the_same_without_it(mlflow: Any) -> None:
    """Being watched changes nothing."""
    _, watched, _ = compiled(num_threads=4)
    mlflow.dspy.autolog(disable=True)
    _, alone, _ = compiled(num_threads=4)
    assert watched.dump_state() == alone.dump_state()
    assert watched.drpo_result["lm_calls"] == alone.drpo_result["lm_calls"]


def test_an_evaluation_is_a_run_with_its_reward(mlflow: Any) -> None:
    """`dspy.Evaluate` with the reward is logged with its score, in percent as DSPy has it."""
    optimizer, program, trainset = compiled(num_threads=4)
    with dspy.context(lm=optimizer.task_lm):
        result = dspy.Evaluate(devset=trainset, metric=optimizer.metric, num_threads=4)(program)
    logged = [run for run in mlflow.search_runs(output_format="list") if "eval" in run.data.metrics]
    assert [run.data.metrics["eval"] for run in logged] == [pytest.approx(result.score)]
