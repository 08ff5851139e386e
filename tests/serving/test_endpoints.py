"""Several endpoints: which one is asked, which one rests, and what a run makes of those that die."""

from __future__ import annotations

import itertools
import json
import threading
import time
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy import lm15
from dspy.utils.exceptions import LMError

import drpo
from drpo.serving.endpoints import FIRST_REST, LONGEST_REST, Endpoints
from drpo.serving.engine import build_lm
from drpo.serving.settings import LMSettings
from drpo.serving.simulated.faults import Faults
from drpo.serving.simulated.models import SimulatedModels
from drpo.serving.simulated.server import SimulatedServer
from drpo.serving.simulated.world import World


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def ask(endpoints: Endpoints, error: Exception | None = None) -> int:
    """Ask one endpoint, which answers or fails; return which."""
    index = -1
    try:
        with endpoints.one() as index:
            if error is not None:
                raise error
    except type(error or ValueError()):
        pass
    return index


def test_the_less_busy_one_is_asked() -> None:
    endpoints = Endpoints(3)
    with endpoints.one() as first, endpoints.one() as second, endpoints.one() as third:
        assert sorted([first, second, third]) == [0, 1, 2]
    assert [ask(endpoints) for _ in range(6)] == [0, 1, 2] * 2


@pytest.mark.parametrize(
    "error", [lm15.ServerError("down"), lm15.TransportError("gone"), lm15.TimeoutError("no reply")]
)
def test_one_that_fails_rests_longer_and_longer(error: Exception) -> None:
    """Invariant: it is asked again after each rest, and gets no call meanwhile."""
    clock = Clock()
    endpoints, asked_at = Endpoints(2, clock=clock), []
    while clock.now < 200:
        failing = ask_first(endpoints, error)
        if failing:
            asked_at.append(clock.now)
        clock.now += 0.5
    rests = [after - before for before, after in itertools.pairwise(asked_at)]
    assert rests[:6] == [FIRST_REST * 2**number for number in range(5)] + [LONGEST_REST]
    assert set(rests[5:]) == {LONGEST_REST}


def ask_first(endpoints: Endpoints, error: Exception) -> bool:
    """Ask one endpoint, of which the first fails; return whether it was that one."""
    try:
        with endpoints.one() as index:
            if index == 0:
                raise error
    except type(error):
        return True
    return False


@pytest.mark.parametrize(("told", "expected"), [(None, {0, 1}), (5.0, {1})])
def test_an_answer_ends_a_rest_but_not_one_that_was_asked_for(told: float | None, expected: set[int]) -> None:
    endpoints = Endpoints(2, clock=Clock())
    slow = endpoints.one()
    assert slow.__enter__() == 0
    assert ask(endpoints) == 1
    with endpoints.one() as busy:
        assert busy == 1
        assert ask(endpoints, lm15.RateLimitError("busy", retry_after=told)) == 0
    slow.__exit__(None, None, None)  # a call that was under way is answered
    assert {ask(endpoints) for _ in range(4)} == expected


def test_if_all_rest_the_first_to_be_up_is_asked() -> None:
    """Invariant: no request is refused here; whether to wait is said elsewhere."""
    clock = Clock()
    endpoints = Endpoints(2, clock=clock)
    errors = [lm15.RateLimitError("busy", retry_after=seconds) for seconds in (9.0, 4.0)]
    assert [ask(endpoints, error) for error in errors] == [0, 1]
    assert [error.elsewhere for error in errors] == [True, False]
    assert ask(endpoints) == 1
    clock.now = 4.5
    with endpoints.one() as one, endpoints.one() as other:
        assert (one, other) == (1, 1)
    clock.now = 9.5
    assert {ask(endpoints) for _ in range(6)} == {0, 1}


@pytest.mark.parametrize("error", [lm15.InvalidRequestError("no"), lm15.AuthError("wrong key"), ValueError("a bug")])
def test_what_says_nothing_of_the_endpoint_is_no_failure_of_it(error: Exception) -> None:
    endpoints = Endpoints(2)
    assert [ask(endpoints, error), ask(endpoints, error), ask(endpoints)] == [0, 1, 0]
    assert not hasattr(error, "elsewhere")


def test_interrupted_calls_leave_no_trace() -> None:
    endpoints = Endpoints(2)
    with pytest.raises(KeyboardInterrupt), endpoints.one():
        raise KeyboardInterrupt
    assert [state.under_way for state in endpoints._states] == [0, 0]


# --- runs over real servers --------------------------------------------------------------------------

SIZES: dict[str, Any] = {"auto": "light", "n_actions": 2, "depth": 2, "minibatch_size": 6, "optimize_demos": False}


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait long enough for three retries to outlast what was under way."""
    monkeypatch.setattr("drpo.serving.retrying.FIRST_WAIT", 0.2)
    monkeypatch.setattr("drpo.serving.retrying.LONGEST_WAIT", 0.5)


def served(faults: Faults | None = None) -> SimulatedServer:
    return SimulatedServer(SimulatedModels(World.preset("default")), faults=faults)


def compiled(bases: Any, folder: Path, *, options: dict[str, Any] | None = None, **lm: Any) -> dspy.Module:
    """Compile over endpoints, into a run directory."""
    models = {"task_lm": "base", "judge_lm": "judge", "criteria_lm": "criteria", "prompt_lm": "prompt"}
    lms = {
        role: build_lm(LMSettings(model=f"hosted_vllm/sim/{model}", api_base=bases, timeout=10.0, **lm))
        for role, model in models.items()
    }
    queries = [f"How do I write a polite note about topic {number}?" for number in range(30)]
    optimizer = drpo.DRPOTeleprompter(
        **{**SIZES, "num_threads": 8, "log_dir": folder, "display_progress": False, **lms, **(options or {})}
    )
    trainset = [dspy.Example(query=query).with_inputs("query") for query in queries]
    return optimizer.compile(drpo.Responder(), trainset=trainset)


def files(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in ("program.json", "result.json")}


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "calls.jsonl").read_text().splitlines()]


class StoppedAfter(threading.Thread):
    """Stops a server once it has given so many replies."""

    def __init__(self, server: SimulatedServer, replies: int) -> None:
        super().__init__(daemon=True)
        self._server, self._replies = server, replies
        self.at = float("inf")
        """When it was stopped."""
        self.start()

    def run(self) -> None:
        while self._server.counts.replies < self._replies:
            time.sleep(0.002)
        self._server.stop()
        self.at = time.monotonic()


@pytest.mark.slow
@pytest.mark.usefixtures("waits")
def test_one_of_two_endpoints_dies_and_nothing_is_lost(tmp_path: Path) -> None:
    """Invariant: the same program as with both, no call given up, and requests add up with those of both servers."""
    faults = Faults(latency=0.01)
    with served(faults) as one, served(faults) as other:
        compiled((one.api_base, other.api_base), tmp_path / "both")
    with served(faults) as one, served(faults) as other:
        watcher = StoppedAfter(one, 60)
        compiled((one.api_base, other.api_base), tmp_path / "killed")
        watcher.join(10)
        counts = [one.counts, other.counts]
    assert files(tmp_path / "killed") == files(tmp_path / "both")
    kept = lines(tmp_path / "killed")
    answered = [line for line in kept if "response" in line]
    assert len(answered) == len({line["key"] for line in answered}) == sum(one.replies for one in counts)
    assert counts[0].replies >= 60
    assert counts[1].replies > counts[0].replies
    # What was under way when it stopped, and what found nobody there any more. A connection that the system had taken
    # for the server, but the server not yet, is broken without having been counted.
    failed = [line["error"]["kind"] for line in kept if "error" in line]
    unanswered = sum(sum(one.requests.values()) - one.replies for one in counts)
    uncounted = len(failed) - failed.count("UnreachableError") - unanswered
    assert 0 <= uncounted <= failed.count("TransportError")
    assert 0 < len(failed) < 60
    assert not any("given_up" in line.get("error", {}) for line in kept)


@pytest.mark.slow
@pytest.mark.usefixtures("waits")
def test_all_endpoints_die_and_a_resumed_run_completes(tmp_path: Path) -> None:
    """Invariant: the run ends within its patience, and running it again asks nothing again and ends alike."""
    faults = Faults(latency=0.01)
    with served(faults) as one:
        compiled(one.api_base, tmp_path / "alone")
    patience = 2.0
    with served(faults) as one, served(faults) as other:
        watchers = [StoppedAfter(one, 60), StoppedAfter(other, 40)]
        with pytest.raises(LMError, match=r"has answered nobody for .* the run ends\. Once it is back, run again"):
            compiled((one.api_base, other.api_base), tmp_path / "killed", options={"outage_patience": patience})
        assert time.monotonic() - max(watcher.at for watcher in watchers) <= patience + 0.5
    kept = lines(tmp_path / "killed")
    before = {line["key"] for line in kept if "response" in line}
    assert len(before) >= 100
    with served(faults) as again:
        compiled(again.api_base, tmp_path / "killed", options={"outage_patience": patience})
        asked = {name.partition("|")[0] for name in again.asked}
    assert not asked & before, "asked again"
    assert files(tmp_path / "killed") == files(tmp_path / "alone")


@pytest.mark.slow
@pytest.mark.usefixtures("waits")
@pytest.mark.parametrize("address", ["http://127.0.0.1:9/v1", ("http://127.0.0.1:9/v1", "http://127.0.0.1:19/v1")])
def test_a_mistyped_address_is_reported_in_seconds(address: Any, tmp_path: Path) -> None:
    begin = time.monotonic()
    with pytest.raises(LMError, match=r"nobody listens at http://127\.0\.0\.1:9/v1.*, nor did in 9 s"):
        compiled(address, tmp_path / "run")
    assert time.monotonic() - begin < 15


@pytest.mark.slow
@pytest.mark.usefixtures("waits")
def test_the_end_of_an_outage_is_noticed(tmp_path: Path) -> None:
    """A server that comes back within the patience costs time and nothing else."""
    faults = Faults(latency=0.01)
    with served(faults) as one:
        compiled(one.api_base, tmp_path / "alone")
    first = served(faults)
    first.start()
    port = int(first.api_base.rsplit(":", 1)[1].partition("/")[0])
    second = SimulatedServer(SimulatedModels(World.preset("default")), port=port, faults=faults)

    def restart() -> None:
        while first.counts.replies < 60:
            time.sleep(0.002)
        first.stop()
        time.sleep(1.0)
        second.start()

    thread = threading.Thread(target=restart, daemon=True)
    address = first.api_base
    thread.start()
    try:
        compiled(address, tmp_path / "back", options={"outage_patience": 30.0})
    finally:
        thread.join(10)
        second.stop()
    assert files(tmp_path / "back") == files(tmp_path / "alone")
