"""`drpo tune` on simulated models: what it writes, what it refuses, and what several processes or a kill make of it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drpo.__main__ import main
from drpo.configs.settings import load_settings

ROOT = Path(__file__).parents[2]
SMALL = [
    "--set", "data.limit=20", "--set", "tune.folds=1", "--set", "tune.confirm=1", "--set", "depth=1", "--set", "minibatch_size=2", "--set", "k=0",
    "--set", "beam_size=1", "--set", "select=beam", "--set", "demo_iters=0", "--set", "tune.space.n_actions=[2,8]",
]  # fmt: skip
"""Two settings, one small compile per trial."""


@pytest.fixture
def drpo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run a command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["drpo", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run


def test_a_study(drpo: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It writes the figures under the keys that the page explains, and a config that `drpo compile` takes."""
    monkeypatch.setenv("COLUMNS", "80")
    code, out, said = drpo("tune", *SMALL, "--trials", "2", "--log-dir", "run")
    assert code == 0, said
    assert "SIMULATED" in said
    assert "Trials by held-out gain per 1,000 calls" in out
    assert max(map(len, out.splitlines())) <= 80
    data = json.loads((tmp_path / "run/tuning.json").read_text())
    page = (ROOT / "docs/tuning.md").read_text()
    explained = set(re.findall(r"`(\w+)`", page))
    assert {*data, *data["trials"][0], *data["trials"][0]["folds"][0]} <= explained
    assert "the study: at most 4 compiles, 2 in trials and 2 to confirm the best" in said
    assert data["simulated"] is True
    assert data["own"]["settings"] == {"n_actions": 8, "temperature": 0.7}
    assert 2 <= data["trials"][1]["settings"]["n_actions"] <= 8
    fold = data["trials"][1]["folds"][0]
    result = json.loads((tmp_path / "run/trials/0001/fold-0/result.json").read_text())
    assert fold["lm_calls"] == sum(result["lm_calls"].values())
    assert fold["gain"] == (0.0 if result["returned"] == "seed" else result["gain"])
    assert data["trials"][1]["value"] == pytest.approx(1000 * fold["gain"] / fold["lm_calls"])
    tuned = load_settings(tmp_path / "run/tuned.yaml")
    assert tuned.n_actions == data["best"]["settings"]["n_actions"]
    assert tuned.tune.folds == 3  # what tuned it is not in it
    assert tuned.world == "weak-base"

    code, out, said = drpo("tune", *SMALL, "--trials", "2", "--log-dir", "run", "--json", "--quiet")
    assert (code, said) == (0, "")
    assert json.loads(out)["trials"] == data["trials"]  # finished: it is shown again


@pytest.mark.slow
def test_the_best_is_confirmed(drpo: Callable[..., Any], tmp_path: Path) -> None:
    """Its settings and the config's own, here outside of what is tried, are compiled on a fresh fold; the figures stand
    under the keys that the page explains, the difference and what to do above the settings."""
    code, out, said = drpo("tune", *SMALL, "--set", "tune.space.n_actions=[9,12]", "--set", "seed=3", "--trials", "1",
                           "--log-dir", "run")  # fmt: skip
    assert code == 0, said
    data = json.loads((tmp_path / "run/tuning.json").read_text())
    confirmed, page = data["confirmed"], (ROOT / "docs/tuning.md").read_text()
    assert {*confirmed, *confirmed["best"]} <= set(re.findall(r"`(\w+)`", page))
    for name, folder in (("own", "0000"), ("best", "0001")):
        run = tmp_path / "run/confirmation/0000/fold-1/trials" / folder / "fold-0"
        assert confirmed[name]["folds"][0]["lm_calls"] == sum(
            json.loads((run / "result.json").read_text())["lm_calls"].values()
        )
        config = json.loads((run / "config.json").read_text())
        assert config["seed"] == 3 + 1
        assert config["optimizer"]["n_actions"] == (8 if name == "own" else data["best"]["settings"]["n_actions"])
    assert data["bill"]["compiles"] == 3
    above = (tmp_path / "run/tuned.yaml").read_text()
    advice = "Keep your own settings: one fold cannot tell a gain from luck."
    for text in (above, " ".join(out.split())):
        assert f"Difference, fold by fold: {confirmed['mean']:+.3f}." in text
        assert advice in text
    assert load_settings(tmp_path / "run/tuned.yaml").n_actions == data["best"]["settings"]["n_actions"]


def test_folds_hold_out_other_prompts_and_trials_the_same(tmp_path: Path) -> None:
    """A fold's held-out prompts are those of every trial, none of them is searched on, and folds differ."""
    from drpo.commands.tuning import _Work
    from drpo.metrics.reward import query_of

    work = _Work(load_settings("default"))
    folds = [[{query_of(example) for example in part} for part in work.split(fold)] for fold in (0, 1)]
    assert all(not search & held and len(held) == 60 for search, held in folds)
    assert folds[0][1] != folds[1][1]
    fixed = _Work(load_settings("default", ["data.num_val=20"]))
    assert fixed.split(0) == fixed.split(1)
    assert len(fixed.split(0)[1]) == 20


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "tune.space.dept=[1,2]"], "tune.space.dept: cannot be tuned"),
        (["--set", "tune.space.depth=[0,2]"], "depth: 0 is not allowed"),
        (["--set", "tune.folds=0"], "tune.folds"),
        (["--set", "tune.confirm=-1"], "tune.confirm"),
        (["--set", "data.limit=12"], "too few to hold out 8 in each fold"),
        (["--storage", "mysql+nothing://me:hunter2-secret@host/db"], "--storage: cannot be used"),
        (["--set", "auto=paper", "--set", "tune.space.minibatch_size=[1,2]"], "cannot be tuned in the paper's search"),
        (
            ["--set", "data.demos=builtin:demos", "--set", "optimize_demos=false", "--set", "tune.space.k=[1,99]"],
            "k=99",
        ),
    ],
)
def test_mistakes_are_told_before_the_first_call(drpo: Callable[..., Any], words: list[str], said: str) -> None:
    """Exit code 2 and one line; nothing was compiled, and no password is shown."""
    code, _, errors = drpo("tune", *words, "--log-dir", "run", "--quiet")
    assert code == 2
    assert said in errors
    assert "Traceback" not in errors
    assert "hunter2" not in errors
    assert not Path("run/trials").exists()


def test_no_password_of_a_storage_is_written(drpo: Callable[..., Any], tmp_path: Path) -> None:
    """What the URL of a storage holds stands in no file and in no message."""
    url = f"sqlite:///file:{tmp_path}/shared.db?uri=true&password=hunter2-secret"
    code, out, said = drpo("tune", *SMALL, "--trials", "1", "--log-dir", "run", "--storage", url, "--study", "mine")
    assert code == 0, said
    assert "hunter2" not in out + said
    files = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert len(files) > 5
    assert not [path for path in files if b"hunter2" in path.read_bytes()]
    assert json.loads((tmp_path / "run/tuning.json").read_text())["study"] == "mine"


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "drpo", "tune", *words]


LARGER = [
    "--set",
    "data.limit=40",
    "--set",
    "tune.folds=2",
    "--set",
    "tune.confirm=2",
    "--set",
    "depth=1",
    "--trials",
    "5",
    "--quiet",
    "--json",
]


def figures(data: dict[str, Any]) -> dict[str, Any]:
    return {name: data[name] for name in ("trials", "best", "bill", "importances", "confirmed")}


@pytest.mark.slow
def test_killed_and_started_again_ends_the_same(tmp_path: Path) -> None:
    """`kill -9` at several moments, of the confirmation too: the study ends with the table of one that was left alone,
    and no reply is paid twice."""
    whole = subprocess.run(
        command(*LARGER, "--log-dir", "whole"), cwd=tmp_path, capture_output=True, text=True, check=True
    )
    confirming = [
        f"killed/confirmation/*/fold-{fold}/trials/{one:04}/fold-0/calls.jsonl" for fold, one in ((2, 0), (3, 1))
    ]
    for moment in (3.5, 4.5, 6.0, *confirming):
        process = subprocess.Popen(
            command(*LARGER, "--log-dir", "killed"), cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        if isinstance(moment, str):
            while not list(tmp_path.glob(moment)):
                assert process.poll() is None
                time.sleep(0.02)
        else:
            time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        process.wait()
    last = subprocess.run(
        command(*LARGER, "--log-dir", "killed"), cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert figures(json.loads(last.stdout)) == figures(json.loads(whole.stdout))
    assert json.loads(last.stdout)["confirmed"] is not None
    for record in (tmp_path / "killed").rglob("calls.jsonl"):
        asked = [json.loads(line)["key"] for line in record.read_text().splitlines()]
        assert len(asked) == len(set(asked))


@pytest.mark.slow
def test_two_processes_share_a_study(tmp_path: Path) -> None:
    """Two at once make as many trials as were asked for, each trial in one of them; both end with the same figures."""
    both = [
        subprocess.Popen(command(*LARGER, "--log-dir", "shared"), cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    ended = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    data = json.loads(max(ended, key=lambda streams: len(streams[0]))[0])
    again = subprocess.run(
        command(*LARGER, "--log-dir", "shared"), cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert len(json.loads(again.stdout)["trials"]) == 5
    assert [trial["trial"] for trial in data["trials"]] == [0, 1, 2, 3, 4]
    assert len(list((tmp_path / "shared/trials").iterdir())) == 5


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_there(tmp_path: Path) -> None:
    """Exit code 130, the figures so far on disk, and what to do; the same command goes on with the open trial."""
    words = [word for word in LARGER if word not in ("--quiet", "--json")]
    process = subprocess.Popen(
        command(*words, "--log-dir", "run"), cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    said = ""
    assert process.stderr is not None
    while "trial 0, fold 1" not in said:
        said += process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=120)
    assert process.returncode == 130, said + rest
    assert "go on by the same command" in rest
    data = json.loads((tmp_path / "run/tuning.json").read_text())
    assert data["stopped"] == "interrupted"
    assert data["trials"][0]["state"] in ("running", "complete")
