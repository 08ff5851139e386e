"""`drpo resume DIR`: the run goes on as it was meant, pays nothing twice, and follows nothing that is not its user's."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from desk import play
from endpoint import Fault, Sent

from drpo.commands.resuming import resumed_settings, signed
from drpo.configs.settings import load_settings
from drpo.errors import ConfigError, RunDirectoryError

LIGHT = {"auto": "light", "n_actions": 2, "depth": 1, "max_depth_increase": None, "minibatch_size": 2}
MODES = pytest.mark.parametrize(
    "mode", [pytest.param(LIGHT, id="default"), pytest.param({}, id="paper", marks=pytest.mark.slow)]
)


@pytest.fixture
def dying(make_desk: Callable[..., Any]) -> Any:
    """A desk whose endpoint is down from a call on, which `left` counts down to."""
    left = {"calls": 10}

    def replies(sent: Sent) -> Any:
        left["calls"] -= 1
        return Fault(503) if left["calls"] < 0 else play(sent)

    desk = make_desk(replies)
    desk.left = left
    (desk.folder / "many.txt").write_text("".join(f"What is the number {number} good for?\n" for number in range(24)))
    return desk


@pytest.mark.slow
@MODES
def test_an_outage_is_resumed(mode: dict[str, Any], dying: Any) -> None:
    """After an outage `resume` ends as a run without one, asks only what is not on record, and a third time nothing."""
    config = dying.config(**mode, data={"prompts": "many.txt", "limit": 12})
    failed = dying.drpo("compile", config, "--log-dir", "run")
    assert failed.returncode == 1
    assert "drpo resume DIR" in failed.stderr
    kept = [json.loads(line) for line in (dying.folder / "run/calls.jsonl").read_text().splitlines()]
    answered = sum("response" in line for line in kept)
    assert answered == 10
    config.unlink()  # it is not needed: the run directory has it all
    dying.left["calls"] = 10_000

    before = len(dying.models.sent)
    done = dying.drpo("resume", "run", "--out", "out.json")
    assert done.returncode == 0, done.stderr
    resumed = len(dying.models.sent) - before
    config = dying.config(**mode, data={"prompts": "many.txt", "limit": 12})
    assert dying.drpo("compile", config, "--log-dir", "whole").returncode == 0
    assert resumed == len(dying.models.sent) - before - resumed - answered
    for name in ("program.json", "trace.json"):
        assert (dying.folder / "run" / name).read_bytes() == (dying.folder / "whole" / name).read_bytes(), name
    results = [json.loads((dying.folder / name / "result.json").read_text()) for name in ("run", "whole")]
    assert [result.pop("seconds").keys() for result in results] == [{"task", "judge", "criteria", "prompt"}] * 2
    assert results[0] == results[1]
    bill = json.loads((dying.folder / "run/bill.json").read_text())
    assert sum(role["errors"] for role in bill["roles"].values()) == len(kept) - answered

    asked = len(dying.models.sent)
    again = dying.drpo("resume", "run", "--out", "again.json")
    assert (again.returncode, len(dying.models.sent)) == (0, asked)
    assert "this run is finished, nothing is asked" in again.stderr
    assert again.stdout == done.stdout
    assert (dying.folder / "again.json").read_bytes() == (dying.folder / "out.json").read_bytes()
    figures = json.loads(dying.drpo("resume", "run", "--json", "--quiet").stdout)
    assert figures == {**json.loads((dying.folder / "run/result.json").read_text()), "bill": bill}


def test_a_cap_is_raised(desk: Any) -> None:
    """A run that its cap ended says how to go on, and goes on with a higher one; a lower seed is no such thing."""
    config = desk.config()
    assert desk.drpo("compile", config, "--log-dir", "run", "--set", "max_lm_calls=15").returncode == 0
    stopped = desk.drpo("resume", "run")
    assert (stopped.returncode, len(desk.models.sent)) == (0, 15)
    assert "max_lm_calls=15 is reached: raise it by --set to go on" in stopped.stderr
    refused = desk.drpo("resume", "run", "--set", "seed=1")
    assert refused.returncode == 2
    assert "--set 'seed': the outcome depends on it" in refused.stderr
    done = desk.drpo("resume", "run", "--set", "max_lm_calls=1000", "--set", "num_threads=2")
    assert done.returncode == 0, done.stderr
    whole = len(desk.models.sent)
    assert desk.drpo("compile", config, "--log-dir", "other").returncode == 0
    assert len(desk.models.sent) == 2 * whole
    assert (desk.folder / "run/program.json").read_bytes() == (desk.folder / "other/program.json").read_bytes()


@pytest.mark.slow
@MODES
def test_changed_prompts_are_refused(mode: dict[str, Any], dying: Any) -> None:
    """A prompts file that was edited meanwhile is named as what differs, before any call; the same one elsewhere is not."""
    config = dying.config(**mode, data={"prompts": "many.txt", "limit": 12})
    assert dying.drpo("compile", config, "--log-dir", "run").returncode == 1
    asked = len(dying.models.sent)
    text = (dying.folder / "many.txt").read_text()
    (dying.folder / "many.txt").write_text(text.replace("number 3", "number three"))
    done = dying.drpo("resume", "run")
    assert done.returncode == 2
    assert "another configuration (data: the prompts of the search changed)" in done.stderr
    assert len(dying.models.sent) == asked
    (dying.folder / "moved.txt").write_text(text)
    dying.left["calls"] = 10_000
    done = dying.drpo("resume", "run", "--set", f"data.prompts={dying.folder / 'moved.txt'}")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_simulated_models_are_resumed(desk: Any, tmp_path: Path) -> None:
    """Killed and resumed without a config of one's own: the same program and result as without the kill."""
    small = [word for pair in ("n_actions=2", "depth=1", "num_threads=1", "data.limit=24") for word in ("--set", pair)]
    arguments = ["compile", *small, "--quiet", "--log-dir"]
    assert desk.drpo(*arguments, "whole").returncode == 0
    command = [sys.executable, "-m", "drpo", *arguments, "run"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    record = tmp_path / "run/calls.jsonl"
    while not record.exists() or record.read_bytes().count(b"\n") < 20:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert not (tmp_path / "run/result.json").exists()
    done = desk.drpo("resume", "run", "--set", "num_threads=4")
    assert done.returncode == 0, done.stderr
    for name in ("result.json", "program.json"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on(make_desk: Callable[..., Any]) -> None:
    """Ctrl-C: exit code 130, one line with the command that goes on, no traceback; every call sent is on record."""

    seconds = [0.05]

    def slow(sent: Sent) -> Any:
        time.sleep(seconds[0])
        return play(sent)

    desk = make_desk(slow)
    command = [sys.executable, "-m", "drpo", "compile", str(desk.config()), "--log-dir", "my runs/one"]
    process = subprocess.Popen(command, cwd=desk.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while len(desk.models.sent) < 5:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert said.splitlines()[-1] == "drpo: interrupted; go on with: drpo resume 'my runs/one'"
    assert "Traceback" not in said
    kept = (desk.folder / "my runs/one/calls.jsonl").read_text().splitlines()
    assert len(kept) == len(desk.models.sent)
    seconds[0] = 0.0
    assert desk.drpo("resume", "my runs/one").returncode == 0


@pytest.mark.slow
def test_ctrl_c_twice_ends_the_process(make_desk: Callable[..., Any]) -> None:
    """The second Ctrl-C does not wait for replies, nor for threads."""
    desk = make_desk(lambda sent: Fault(503, delay=20))
    command = [sys.executable, "-m", "drpo", "compile", str(desk.config(call_timeout=None)), "--log-dir", "run"]
    process = subprocess.Popen(command, cwd=desk.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while len(desk.models.sent) < 1:
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=15)
    assert time.monotonic() - begin < 5
    assert (process.returncode, "Traceback" in said) == (130, False)
    assert "drpo resume run" in said


# --- what is not followed -------------------------------------------------------------------------


def run_directory(folder: Path, **settings: Any) -> Path:
    """Write what a run directory begins with."""
    run = folder / "run"
    run.mkdir(exist_ok=True)
    (run / "config.json").write_text(json.dumps({"student": {"instructions": {}}, "settings": settings}))
    return run


ELSEWHERE = {"auto": "light", "lms": {"task": {"model": "hosted_vllm/x", "api_base": "http://elsewhere.example/v1"}}}


@pytest.fixture
def own_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "own"))
    return tmp_path / "own/drpo/key"


def settings_of(tmp_path: Path, *overrides: str, **data: Any) -> Any:
    (tmp_path / "config.yaml").write_text(json.dumps(data))
    return load_settings(tmp_path / "config.yaml", overrides)


def test_somebody_elses_endpoint_is_not_followed(own_key: Path, tmp_path: Path) -> None:
    """An endpoint or a server of a directory that this user did not start, or that was edited, is named and refused."""
    mine = signed(settings_of(tmp_path, **ELSEWHERE))
    assert resumed_settings(run_directory(tmp_path, **mine)).lms.task.api_base == "http://elsewhere.example/v1"
    assert stat.S_IMODE(own_key.stat().st_mode) == 0o600
    edited = json.loads(json.dumps(mine).replace("elsewhere", "attacker"))
    unsigned = {key: value for key, value in mine.items() if key != "signed"}
    served = {"lms": {"task": "hosted_vllm/x"}, "serve": {"evil": {"model": "m/x", "python": "/bin/evil"}}}
    for data, named in ((edited, "attacker.example"), (unsigned, "elsewhere.example"), (served, "serve.evil")):
        run = run_directory(tmp_path, **data)
        with pytest.raises(RunDirectoryError, match=rf"{named}.*--trust"):
            resumed_settings(run)
        with pytest.raises(RunDirectoryError, match=rf"{named}.*--trust"):
            resumed_settings(run, ["num_threads=2"])
    assert resumed_settings(run_directory(tmp_path, **unsigned), trust=True)
    own_key.unlink()
    with pytest.raises(RunDirectoryError, match="--trust"):
        resumed_settings(run_directory(tmp_path, **mine))


def test_a_home_that_cannot_be_written_asks_for_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a place for the key a run starts all the same."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    mine = signed(settings_of(tmp_path, **ELSEWHERE))
    with pytest.raises(RunDirectoryError, match="--trust"):
        resumed_settings(run_directory(tmp_path, **mine))
    assert resumed_settings(run_directory(tmp_path, **mine), trust=True).lms.task.model == "hosted_vllm/x"


def test_hidden_secrets_are_asked_for(own_key: Path, tmp_path: Path) -> None:
    """What `config.json` hides is named with the way to give it anew; nothing is sent with "(hidden)" in it."""
    secret = {**ELSEWHERE, "lms": {"task": {"model": "hosted_vllm/x", "api_base": "http://me:pass1234@elsewhere/v1"}},
              "serve": {"one": {"model": "m/x", "environment": {"HF_TOKEN": "hf_abcdefgh"}}}}  # fmt: skip
    mine = signed(settings_of(tmp_path, **secret))
    assert "pass1234" not in json.dumps(mine)
    assert "hf_abcdefgh" not in json.dumps(mine)
    run = run_directory(tmp_path, **mine)
    with pytest.raises(ConfigError) as refused:
        resumed_settings(run)
    assert "lms.task.api_base: config.json hides it" in str(refused.value)
    assert "serve.one.environment.HF_TOKEN: config.json hides it" in str(refused.value)
    given = resumed_settings(
        run, ["lms.task.api_base=http://me:pass1234@elsewhere/v1", "serve.one.environment.HF_TOKEN=hf_abcdefgh"]
    )
    assert given == settings_of(tmp_path, **secret)


@pytest.mark.parametrize("preset", ["default", "paper", "openai", "vllm", "smollm2"])
def test_every_setting_survives(preset: str, own_key: Path, tmp_path: Path) -> None:
    """What `config.json` keeps of a config is the config."""
    settings = load_settings(preset, ["reward.criteria=[Clarity, {name: Own, definition: It is mine.}]"])
    assert resumed_settings(run_directory(tmp_path, **json.loads(json.dumps(signed(settings))))) == settings


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "is no run directory"),
        ("{", "cannot be read"),
        ("[]", "holds no mapping"),
        ('{"settings": null, "student": {}}', "started from Python"),
        ('{"settings": {"lms": 5}, "student": {}}', "lms"),
    ],
)
def test_what_is_no_run_is_one_clear_line(content: str | None, said: str, desk: Any) -> None:
    """A folder without a run, a damaged config and a run from Python are told apart, without a traceback."""
    (desk.folder / "run").mkdir()
    if content is not None:
        (desk.folder / "run/config.json").write_text(content)
    done = desk.drpo("resume", "run")
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert os.listdir(desk.folder / "run") == ([] if content is None else ["config.json"])
