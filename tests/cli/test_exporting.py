"""`drpo export` and `drpo diff` as they are typed."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from desk import Desk

from drpo import Responder
from drpo.cli.exporting import export_command

DEMOS = [{"query": f"Question {number}?", "response": f"Answer {number}."} for number in range(4)]


@pytest.fixture
def program(desk: Desk) -> Path:
    path = desk.folder / "aligned.json"
    Responder(instructions="Answer\x1b[2J {briefly}.", demos=DEMOS, k=2).save(path)
    return path


@pytest.fixture
def run(desk: Desk) -> Path:
    done = desk.drpo("compile", desk.config(), "--log-dir", "run", "--quiet", "--json")
    assert done.returncode == 0, done.stderr
    return desk.folder / "run"


def edited(run: Path, name: str, before: str, after: str) -> None:
    text = (run / name).read_text()
    assert before in text
    (run / name).write_text(text.replace(before, after))


def test_a_file_gets_the_bytes_and_a_pipe_too(desk: Desk, program: Path) -> None:
    """What is written and what is printed are the same bytes, control characters included."""
    written = desk.drpo("export", program, "--model-type", "text", "--out", "prompt.txt")
    printed = desk.drpo("export", program, "--model-type", "text")
    assert written.returncode == printed.returncode == 0
    assert (desk.folder / "prompt.txt").read_bytes() == printed.stdout.encode()
    assert printed.stdout.startswith("Answer\x1b[2J {briefly}.\n\n# Query\nQuestion 0?")
    assert printed.stdout.endswith("# Query\n{{query}}\n\n# Answer\n<START>\n")


def test_a_terminal_is_not_obeyed(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal a model's control characters are left out, and the last line is ended."""
    terminal = _Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    export_command(program, model_type="text")
    assert terminal.getvalue().startswith("Answer[2J {briefly}.\n")
    assert terminal.getvalue().endswith("# Answer\n<START>\n")


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_run_says_its_model(desk: Desk, run: Path) -> None:
    """Beside a run's config the request has the run's model; --model and --config have the last word."""
    assert json.loads(desk.drpo("export", "run", "-f", "openai").stdout)["model"] == "task"
    other = desk.drpo("export", "run/program.json", "-f", "openai", "--model", "openai/gpt-4o-mini")
    assert json.loads(other.stdout)["model"] == "gpt-4o-mini"
    config = desk.config(lms={"task": {"model": "hosted_vllm/base", "model_type": "text", "temperature": 0.5}})
    body = json.loads(desk.drpo("export", "run", "-f", "openai", "--config", config, "--query", "Why?").stdout)
    assert (body["model"], body["temperature"]) == ("base", 0.5)
    assert body["prompt"].endswith("# Query\nWhy?\n\n# Answer\n<START>\n")


def test_a_lock_holds_until_something_changes(desk: Desk, run: Path) -> None:
    """Unchanged: exit 0. A changed instruction, model, ledger or figure: exit 1, with what changed."""
    assert desk.drpo("export", "run", "--lock", "prompt.lock.json").stdout == ""
    locked = json.loads((desk.folder / "prompt.lock.json").read_text())
    assert locked["models"]["judge"]["model"] == "hosted_vllm/judge"
    assert locked["run"]["decision"] is None
    assert desk.models.api_base not in json.dumps(locked)
    same = desk.drpo("export", "--check", "prompt.lock.json")
    assert (same.returncode, same.stdout) == (0, "")
    for name, before, after, said in (
        ("program.json", "Answer well", "Answer ill", "prompt.respond.instruction: changed"),
        ("config.json", "hosted_vllm/judge", "hosted_vllm/other", "models.judge.model: was 'hosted_vllm/judge'"),
        ("ledger.json", "Clarity", "Depth", "reward.ledger: changed"),
        ("result.json", '"seed": 0', '"seed": 1', "run.seed: was 0, is 1"),
    ):
        whole = (run / name).read_text()
        edited(run, name, before, after)
        found = desk.drpo("export", "--check", "prompt.lock.json")
        assert (found.returncode, said in found.stdout) == (1, True), (name, found.stdout, found.stderr)
        (run / name).write_text(whole)


def test_a_lock_travels_with_its_program(desk: Desk, run: Path) -> None:
    """Without the run directory the texts are compared and the rest is named, also for a base model's program."""
    (desk.folder / "kept").mkdir()
    shutil.copy(run / "program.json", desk.folder / "kept/program.json")
    desk.drpo("export", "run", "--lock", "kept/lock.json", "--model-type", "text")
    moved = desk.drpo("export", "kept/program.json", "--check", "kept/lock.json")
    assert moved.returncode == 0
    assert "not compared, as the run directory is not beside the program: models, data" in moved.stderr
    edited(desk.folder / "kept", "program.json", "Answer well", "Answer ill")
    assert desk.drpo("export", "kept", "--check", "kept/lock.json").returncode == 1


def test_two_runs_are_compared(desk: Desk, run: Path) -> None:
    """Exit codes as of diff; settings and figures of the runs are told; --json is for scripts."""
    assert desk.drpo("diff", "run", "run").returncode == 0
    done = desk.drpo("compile", desk.config(beam_size=1), "--log-dir", "other", "--quiet")
    assert done.returncode == 0, done.stderr
    found = desk.drpo("diff", "run", "other")
    assert found.returncode == 1
    assert "optimizer.beam_size" in found.stdout
    assert "lm_calls.task" in found.stdout
    data = json.loads(desk.drpo("diff", "run", "other", "--json").stdout)
    assert data["settings"]["optimizer.beam_size"] == [2, 1]
    assert desk.drpo("diff", "run", "nowhere.json").returncode == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give PROGRAM"),
        (["aligned.json", "--format", "yaml"], "choose one of text, openai, json, langchain, dspy"),
        (["aligned.json", "--model-type", "chatty"], "choose chat or text"),
        (["aligned.json", "--config", "openai", "--model", "x/y"], "not both"),
        (["aligned.json", "--out", "nowhere/prompt.txt"], "in a folder that exists"),
        (["--check", "aligned.json"], "no prompt lock of this version"),
        (["--check", "missing.json"], "cannot be read"),
        (["aligned.json", "--check", "x.json", "--format", "text"], "it only compares"),
        (["nowhere.json"], "cannot be read"),
        (["."], "there is no program.json"),
    ],
)
def test_mistakes_are_one_line(desk: Desk, program: Path, arguments: list[str], said: str) -> None:
    """A user's mistake exits with 2 and a line that says what to do."""
    done = desk.drpo("export", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_several_inputs_come_as_json(make_desk: Callable[..., Desk]) -> None:
    """A program with two inputs takes a JSON object as its query, and says so."""
    desk = make_desk()
    Responder("topic, mood -> poem").save(desk.folder / "poem.json")
    wrong = desk.drpo("export", "poem.json", "--query", "sea")
    assert (wrong.returncode, "as a JSON object" in wrong.stderr) == (2, True)
    right = desk.drpo("export", "poem.json", "--query", '{"topic": "sea", "mood": "calm"}')
    assert right.stdout.endswith("topic: sea\nmood: calm\n")


@pytest.mark.parametrize("arguments", [["--no-color", "diff"], ["diff", "--no-color"]])
def test_colours_are_off_when_asked(
    arguments: list[str], desk: Desk, program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--no-color` is taken before and after a command's name; what follows `--` is left to the command."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR")
    Responder(instructions="Another.").save(desk.folder / "other.json")
    assert "\x1b[31" in desk.drpo("diff", "aligned.json", "other.json").stdout
    plain = desk.drpo(*arguments, "aligned.json", "other.json")
    assert (plain.returncode, "\x1b[31" in plain.stdout) == (1, False)
    monkeypatch.delenv("NO_COLOR")
    assert "'--no-color': programs are read" in desk.drpo("diff", "--", "--no-color", "aligned.json").stderr
