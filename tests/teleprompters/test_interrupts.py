"""Ctrl-C: what is under way ends and is kept, nothing new is sent, nothing hangs, and the run goes on later."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import interrupted
import pytest
from contract_world import World
from interrupted import interrupted_run

from drpo.serving.meter import Meter
from drpo.serving.roles import Role
from drpo.teleprompters.interrupts import interruptible


class Interrupted:
    """A run in a process of its own."""

    def __init__(self, folder: Path, mode: str, num_threads: int, seconds: float, *timeout: float) -> None:
        self.folder = folder
        arguments = [str(folder), mode, num_threads, seconds, *timeout]
        self.process = subprocess.Popen(
            [sys.executable, interrupted.__file__, *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": str(Path(interrupted.__file__).parent)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.lines: list[str] = []

    def until(self, line: str) -> None:
        """Read until the run says something."""
        assert self.process.stdout is not None
        for said in self.process.stdout:
            self.lines.append(said.strip())
            if said.startswith(line):
                return
        pytest.fail(f"it never said {line!r}: {self.lines} {self.process.stderr and self.process.stderr.read()}")

    def interrupt(self) -> float:
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        return time.monotonic()

    def rest(self) -> str:
        """Wait for the end, and return what was said on the standard error stream."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.lines += self.process.stdout.read().split("\n")
        said = self.process.stderr.read()
        self.process.wait(20)
        for stream in (self.process.stdout, self.process.stderr):
            stream.close()
        return said

    def count(self, word: str) -> int:
        return sum(line.startswith(word) for line in self.lines)

    @property
    def kept(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "calls.jsonl").read_bytes().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize(("num_threads", "mode"), [(4, "default"), (1, "paper"), (1, "default"), (4, "paper")])
def test_the_first_lets_calls_end_and_keeps_them(num_threads: int, mode: str, tmp_path: Path) -> None:
    """After it nothing new is sent; what was is on record; the run goes on and ends as one without Ctrl-C."""
    run = Interrupted(tmp_path / "run", mode, num_threads, 0.3)
    run.until("asked 6")
    run.interrupt()
    asked = 6
    said = run.rest()
    assert "waiting for the calls under way" in said
    assert "Traceback" not in said
    assert run.count("ended KeyboardInterrupt 1") == 1, run.lines  # the main thread is left, no other one
    assert asked <= run.count("asked") <= asked + 2 * num_threads  # those that began while the signal was sent
    assert run.count("answered") == run.count("asked") == len(run.kept)
    assert all("response" in line for line in run.kept)
    assert not (run.folder / "result.json").exists()
    assert "halted after" in (run.folder / "log.txt").read_text()

    resumed, straight = World(), World()
    interrupted_run(resumed, run.folder, mode)
    interrupted_run(straight, tmp_path / "straight", mode)
    assert resumed.num_calls == straight.num_calls - run.count("asked")
    for name in ("result.json", "program.json", "trace.json"):
        assert (run.folder / name).read_bytes() == (tmp_path / "straight" / name).read_bytes(), name


@pytest.mark.slow
@pytest.mark.parametrize("num_threads", [1, 4])
def test_the_second_stops_at_once(num_threads: int, tmp_path: Path) -> None:
    """Calls of a minute are not waited for: neither by `compile` nor by the end of the process."""
    run = Interrupted(tmp_path / "run", "default", num_threads, 60)
    run.until(f"asked {min(num_threads, 4)}")
    run.interrupt()
    time.sleep(0.3)
    assert run.process.poll() is None
    begin = run.interrupt()
    said = run.rest()
    assert time.monotonic() - begin < 5
    assert run.count("ended KeyboardInterrupt") == 1, run.lines
    assert "Traceback" not in said
    assert run.kept == []


def test_a_call_that_fails_meanwhile_is_not_tried_again(tmp_path: Path) -> None:
    """In a wait between two tries, or in a call that then fails, the end is a KeyboardInterrupt, not an outage."""
    meter = Meter()

    def interrupted_in_a_wait() -> None:
        with interruptible(meter, shown=False):
            os.kill(os.getpid(), signal.SIGINT)
            with pytest.raises(KeyboardInterrupt):
                meter.admit(Role.TASK)

    with pytest.raises(KeyboardInterrupt):
        interrupted_in_a_wait()
    assert meter.usage[Role.TASK].calls == 0
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_second_abandons_the_calls_under_way() -> None:
    """The first only halts the run; at the second nobody waits any longer, and the main thread is free at once."""
    meter, at = Meter(), []
    with pytest.raises(KeyboardInterrupt), interruptible(meter, shown=False):  # noqa: PT012
        os.kill(os.getpid(), signal.SIGINT)
        at.append((isinstance(meter.halted, KeyboardInterrupt), meter.abandoned.done()))
        os.kill(os.getpid(), signal.SIGINT)
        at.append("never")
    assert at == [(True, False)]
    assert meter.abandoned.done()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_elsewhere_signals_are_left_alone() -> None:
    """In a thread, and where somebody handles SIGINT, nothing is changed."""
    handlers = []

    def work() -> None:
        with interruptible(Meter(), shown=False):
            handlers.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [signal.default_int_handler]

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible(Meter(), shown=False):
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("mode", ["default", "paper"])
def test_without_a_handler_nothing_new_is_sent_either(mode: str, tmp_path: Path) -> None:
    """A KeyboardInterrupt from anywhere, the metric for example, ends the other tasks after the call they are at."""
    asked, thrown = [], threading.Event()

    def metric(example: Any, prediction: Any, trace: Any = None) -> float:
        thrown.set()
        raise KeyboardInterrupt

    def note(role: str, prompt: object) -> None:
        asked.append(thrown.is_set())
        time.sleep(0.02)

    world = World(before=note)
    with pytest.raises(KeyboardInterrupt):
        interrupted_run(world, tmp_path, mode, num_threads=3, metric=metric)
    assert sum(asked) <= 3
