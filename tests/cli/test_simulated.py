"""The offline default: whole runs with simulated models, in this process and over HTTP."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from typing import Any

import pytest


def without_times(result: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in result.items() if key != "bill"}


@pytest.mark.parametrize(
    "size", [pytest.param(["--set", "data.limit=48"], id="part"), pytest.param([], id="whole", marks=pytest.mark.slow)]
)
def test_default_needs_nothing_and_repeats(size: list[str], desk: Any) -> None:
    """With no config and no key a run ends with a banner and a true gain; the same run twice differs in times only."""
    done = desk.drpo("compile", *size, "--log-dir", "one")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("SIMULATED: ")
    assert "True gain" in done.stdout
    assert "What each part gains" in done.stdout
    assert desk.drpo("compile", *size, "--log-dir", "two", "--set", "num_threads=1").returncode == 0
    one, two = (json.loads((desk.folder / name / "result.json").read_text()) for name in ("one", "two"))
    assert one["simulated"]
    assert one["optimizer"] == "drpo"
    assert one["true_gain"] > 0.03
    assert without_times(one) == without_times(two)
    for name in ("program.json", "trace.json", "trace.md", "ledger.json"):
        assert (desk.folder / "one" / name).read_bytes() == (desk.folder / "two" / name).read_bytes()


@pytest.mark.slow
def test_worlds_by_name(desk: Any) -> None:
    """A world is a preset or a seed; another name is refused, and so is a world without simulated models."""
    small = ["--set", "depth=1", "--set", "data.limit=12"]
    assert desk.drpo("compile", *small, "--set", "world=random-3", "--log-dir", "random").returncode == 0
    done = desk.drpo("compile", "--set", "world=nowhere")
    assert (done.returncode, "noisy-judge" in done.stderr) == (2, True)
    done = desk.drpo("compile", desk.config(world="instruct"))
    assert (done.returncode, "without a simulated model" in done.stderr) == (2, True)


@pytest.mark.slow
def test_a_tight_cap_is_told_and_kept(desk: Any) -> None:
    """A run that max_lm_calls makes smaller says so before, stays below it, and still ends with what it knows."""
    done = desk.drpo("compile", "--set", "max_lm_calls=60", "--log-dir", "run")
    assert done.returncode == 0, done.stderr
    assert "max_lm_calls=60 allows fewer of all" in done.stderr
    result = json.loads((desk.folder / "run/result.json").read_text())
    assert sum(result["lm_calls"].values()) <= 60
    assert result["returned"] in ("seed", "instruction", "demonstrations", "both")


@pytest.mark.slow
def test_paper_mode_on_the_default_config(desk: Any) -> None:
    """The paper's search is one word away, and compares on held-out prompts if told to hold some out."""
    done = desk.drpo(
        "compile", "--set", "auto=paper", "--set", "depth=3", "--set", "data.num_val=5", "--log-dir", "run"
    )
    assert done.returncode == 0, done.stderr
    result = json.loads((desk.folder / "run/result.json").read_text())
    assert (result["optimizer"], result["num_train"], result["num_val"]) == ("drpo-paper", 175, 5)
    assert result["decision"] in ("improved", "no_gain")


@pytest.mark.parametrize("fault", ["nonsense", "rate_limited=2", "gremlins=0.1"])
def test_wrong_faults(desk: Any, fault: str) -> None:
    """A fault that does not exist, or whose share is none, is refused before anything is served."""
    done = desk.drpo("simulate", "--port", "0", "--fault", fault)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_served_models_compile_with_faults(desk: Any) -> None:
    """`drpo simulate` in a process of its own serves a whole run over HTTP, retries included, and ends on Ctrl-C."""
    command = [
        sys.executable,
        "-m",
        "drpo",
        "simulate",
        "--port",
        "0",
        "--world",
        "weak-base",
        "--fault",
        "server_error=0.03",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            said = ""
            while not (address := re.search(r"http://127\.0\.0\.1:\d+/v1", said)):
                line = server.stderr.readline()
                assert line, said
                said += line
            lms = {
                role: {"model": f"hosted_vllm/sim/{model}", "api_base": address.group(0), "num_retries": 5}
                for role, model in (("task", "base"), ("judge", "judge"), ("prompt", "prompt"))
            }
            done = desk.drpo("compile", desk.config(lms=lms), "--log-dir", "run")
            assert done.returncode == 0, done.stderr
        finally:
            server.send_signal(signal.SIGINT)
        assert server.wait(timeout=20) == 0
    result = json.loads((desk.folder / "run/result.json").read_text())
    assert result["simulated"]
    assert result["true_gain"] is None
