"""Everything that the documentation shows runs: Python blocks, configs, docstring examples (commands: `docs/`)."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import runpy
from pathlib import Path

import dspy
import pytest
from endpoint import endpoint
from pages import PAGES, ROOT, blocks, play
from variants import mostly_slow

import drpo
from drpo.configs.settings import load_settings
from drpo.serving.engine import build_lm
from drpo.serving.settings import LMSettings
from drpo.serving.simulated.world import World
from drpo.teleprompters.held_out import split
from drpo.teleprompters.plan import expected_calls
from drpo.teleprompters.presets import MINIBATCH

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
QUICK_EXAMPLES = [
    path for path in EXAMPLES if path.stem not in {"metric_better_together", "metric_gepa", "own_program"}
]
# Whole compiles and comparisons.
LONG = {
    "budgets-0", "comparing-0", "evaluating-0", "held-out-0", "judge-card-0", "openai-0", "own-program-0", "own-program-1",
    "start-0",
}  # fmt: skip


def parameters(language: str) -> list:
    named = [(f"{page.stem}-{number}", block) for page in PAGES for number, block in enumerate(blocks(page, language))]
    assert language != "python" or {name for name, _ in named} >= LONG
    return [
        pytest.param(block, id=name, marks=pytest.mark.slow if language == "python" and name in LONG else ())
        for name, block in named
    ]


def rehearse_less(patch: pytest.MonkeyPatch) -> None:
    """Let an estimate rehearse once instead of five times: its figures are tested elsewhere."""
    patch.setattr("drpo.commands.estimating.PLACES", (0.0,))
    patch.setattr("drpo.commands.estimating.PROBED_WORLDS", 2)


@pytest.mark.parametrize("block", parameters("python"))
def test_python_blocks_run(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block runs as a script of its own, its models played by an endpoint on this machine."""
    monkeypatch.chdir(tmp_path)
    rehearse_less(monkeypatch)
    with endpoint(play) as models:
        monkeypatch.setenv("OPENAI_API_KEY", "not-a-key")
        monkeypatch.setenv("OPENAI_API_BASE", models.api_base)
        exec(compile(block, "<block>", "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("path", mostly_slow(EXAMPLES, quick=QUICK_EXAMPLES), ids=lambda path: path.stem)
def test_examples_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every example runs as it is, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(path), run_name="__main__")


@pytest.mark.parametrize("block", parameters("yaml"))
def test_configs_are_valid(block: str, tmp_path: Path) -> None:
    """Every config shown is a whole one that loads."""
    (tmp_path / "config.yaml").write_text(block)
    assert load_settings(tmp_path / "config.yaml").lms.task.model


def preset_row(name: str) -> str:
    """Return the line of a preset in the table of `docs/search.md`."""
    preset = MINIBATCH[name]

    def calls(prompts: int) -> str:
        examples = [dspy.Example(query=f"{number}").with_inputs("query") for number in range(prompts)]
        kept, held = split(examples, num_val=preset.num_val, num_search=preset.first_size)
        return f"{round(expected_calls(preset, num_train=len(kept), num_val=len(held)), -1):,}"

    cells = [
        f"`{name}`", preset.beam_size, preset.n_actions, preset.depth, preset.minibatch_size, preset.first_size,
        preset.num_val, f"{preset.num_demos}, {preset.demo_iters}", calls(180), calls(500),
    ]  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


@pytest.mark.parametrize("name", MINIBATCH)
def test_preset_table_is_what_the_presets_say(name: str) -> None:
    """The numbers of a preset stand in the documentation as they are; if this fails, paste the row that it names."""
    assert preset_row(name) in (ROOT / "docs/search.md").read_text().splitlines()


def test_result_keys_are_explained() -> None:
    """Every key of `result.json`, of either mode, has its line in `docs/run-directory.md`."""
    page = (ROOT / "docs/run-directory.md").read_text()
    explained = set(re.findall(r"`(\w+)`", page))
    for auto in ("light", "paper"):
        optimizer = drpo.DRPOTeleprompter(
            task_lm=simulated("base"), judge_lm=simulated("judge"), auto=auto, depth=1, n_actions=1,
            num_threads=1, display_progress=False,
        )  # fmt: skip
        trainset = [dspy.Example(query=f"What is {number}?").with_inputs("query") for number in range(6)]
        result = optimizer.compile(drpo.Responder(), trainset=trainset).drpo_result
        assert set(result) <= explained, set(result) - explained


def simulated(role: str) -> dspy.BaseLM:
    return build_lm(LMSettings(model=f"sim/{role}"), world=World.named("default"))


@pytest.mark.slow
def test_readme_shows_what_the_default_run_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each line of the result in the README is one that `drpo compile` prints; if this fails, paste them anew."""
    from drpo.__main__ import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.argv", ["drpo", "compile", "--quiet", "--log-dir", "run"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    printed = {line.rstrip() for line in capsys.readouterr().out.splitlines()}
    block = re.search(r"^```text\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    shown = [line.rstrip() for line in block.group(1).splitlines() if line.strip() not in {"", "..."}]
    assert len(shown) > 5
    assert [line for line in shown if line not in printed] == []


def modules() -> list[str]:
    return [
        info.name
        for info in pkgutil.walk_packages(drpo.__path__, "drpo.")
        if ".tests" not in info.name and "_main_" not in info.name
    ]


def test_docstring_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every example of a docstring gives what it says."""
    monkeypatch.chdir(tmp_path)
    rehearse_less(monkeypatch)
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-key")
    rooms = {"programs", "metrics", "teleprompters", "serving", "reports", "configs", "commands", "cli", "errors"}
    names = [
        name
        for name in modules()
        if name.split(".")[1] in rooms and "launcher" not in name and "supervisor" not in name
    ]
    results = {name: doctest.testmod(importlib.import_module(name)) for name in names}
    assert sum(result.attempted for result in results.values()) > 50
    assert {name: result.failed for name, result in results.items() if result.failed} == {}
