"""A run when calls fail for good: which failures cost one judgement, and which end it."""

from __future__ import annotations

import json
import logging
import threading
import time
from pathlib import Path
from typing import Any

import dspy
import pytest
from contract_programs import Swallowing, examples
from contract_world import World
from dspy import lm15
from dspy.utils.exceptions import LMAuthError, LMServerError
from variants import slow

from drpo.serving.scripted import Prompt

MODES = {
    "default": {"auto": "light", "n_actions": 2, "depth": 1, "max_depth_increase": None, "minibatch_size": 3},
    "paper": {"auto": "paper", "depth": 3},
}
THREADS = pytest.mark.parametrize("num_threads", [8, *slow(1)])


def compiled(world: World, mode: str, folder: Path, *, student: dspy.Module | None = None, **options: Any) -> Any:
    both = examples(13)
    optimizer = world.optimizer(log_dir=folder, **{**MODES[mode], "outage_patience": 0.5, **options})
    program = optimizer.compile(student or dspy.Predict("question -> answer"), trainset=both[:5], valset=both[5:])
    return program.drpo_result


@THREADS
@pytest.mark.parametrize("mode", MODES)
def test_one_prompt_that_the_judge_cannot_answer_is_missing(mode: str, num_threads: int, tmp_path: Path) -> None:
    """Invariant: a server that fails on one prompt, however often it is asked, costs that judgement and not the run."""
    asked: list[Prompt] = []

    def before(role: str, prompt: Prompt) -> None:
        if role == "judge" and "What is 2?" in prompt.last and prompt in (asked[:1] or [prompt]):
            asked.append(prompt)
            raise lm15.ServerError("the grammar cannot be compiled", status=500)

    result = compiled(World(before=before, num_retries=1), mode, tmp_path / "run", num_threads=num_threads)
    assert result["missing_judgements"] == 1
    bill = result["bill"]["roles"]["judge"]
    assert (bill["given_up"], bill["errors"]) == (1, len(asked))
    assert bill["waited"] > 0
    lines = [json.loads(line) for line in (tmp_path / "run/calls.jsonl").read_text().splitlines()]
    assert sum("error" in line for line in lines) == len(asked) > 1


@pytest.mark.slow
@THREADS
def test_an_outage_in_the_middle_ends_the_run_in_time(num_threads: int, tmp_path: Path) -> None:
    """Invariant: also where the program hides it; and resumed, the run ends as if nothing had been."""
    down, calls, lock = threading.Event(), [0], threading.Lock()

    def before(role: str, prompt: Prompt) -> None:
        with lock:
            calls[0] += 1
        if calls[0] > 20 or down.is_set():
            down.set()
            time.sleep(0.05)  # the last answers are there before the first failure, else they tell of no outage
            raise lm15.ServerError("unavailable", status=503)

    begin = time.monotonic()
    with pytest.raises(LMServerError, match="has answered nobody for"):
        compiled(
            World(before=before, num_retries=2), "default", tmp_path / "run", num_threads=num_threads,
            student=Swallowing(),
        )  # fmt: skip
    assert 0.4 < time.monotonic() - begin < 5
    resumed = World(num_retries=2)
    result = compiled(resumed, "default", tmp_path / "run", num_threads=num_threads, student=Swallowing())
    alone = compiled(World(), "default", tmp_path / "alone", num_threads=num_threads, student=Swallowing())
    assert {**result, "bill": None} == {**alone, "bill": None}
    answered = sum(result["lm_calls"].values())
    assert resumed.num_calls <= answered - 20 + num_threads


@THREADS
def test_a_wrong_key_in_the_middle_stops_all_roles_at_once(num_threads: int, tmp_path: Path) -> None:
    """Invariant: what is under way may end, and nothing more is sent, also where the program hides the error."""
    sent: list[str] = []
    revoked = threading.Event()

    def before(role: str, prompt: Prompt) -> None:
        sent.append(role)
        time.sleep(0.002)
        if role == "judge" and len(sent) > 15:
            if not revoked.is_set():
                revoked.set()
                sent.clear()
            raise lm15.AuthError("the key was revoked", status=401)

    with pytest.raises(LMAuthError, match="revoked"):
        compiled(
            World(before=before, num_retries=3), "default", tmp_path / "run", num_threads=num_threads,
            student=Swallowing(),
        )  # fmt: skip
    assert len(sent) <= 2 * num_threads


@pytest.mark.slow
@pytest.mark.parametrize("shown", [True, False])
def test_a_run_that_waits_says_so(shown: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """An outage is waited for in minutes: the terminal shows why nothing happens, and the log keeps it."""
    failures = [0]

    def before(role: str, prompt: Prompt) -> None:
        if role == "judge" and failures[0] < 3:
            failures[0] += 1
            raise lm15.ServerError("unavailable", status=503)

    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    try:
        compiled(
            World(before=before, num_retries=1), "default", tmp_path / "run", num_threads=1, display_progress=shown
        )
    finally:
        root.handlers = handlers
    said = "gives no answer to the judge LM; it is asked again for 0.5 s: ServerError: unavailable"
    assert (said in capfd.readouterr().err) is shown
    assert said in (tmp_path / "run/log.txt").read_text()
    assert "answers again, after 0 s" in (tmp_path / "run/log.txt").read_text()
