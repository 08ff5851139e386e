"""The optimizer contract, items 31 to 33: what is DRPO's own: resuming, caps, counts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dspy
import pytest
from contract_programs import ADAPTERS, Mixed, Swallowing, examples
from contract_world import KILLS, World, killed_run, requests_of
from dspy import lm15
from dspy.utils.exceptions import LMError

from drpo.errors import BudgetExceededError
from drpo.serving.scripted import Prompt, ScriptedEngine, scripted_lm

ROLES = ("task", "judge", "criteria", "prompt")


def figures(program: dspy.Module) -> dict[str, Any]:
    """Return a result's record apart from how long it took."""
    return {key: value for key, value in program.drpo_result.items() if key != "bill"}


# --- 31: kill and resume --------------------------------------------------------------------------


@pytest.fixture
def killed(adapter: dspy.Adapter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directories of runs that were killed in their middle, in a process of their own under each adapter."""
    if type(adapter) not in _KILLED:
        import contract_world

        name = next(name for name, kind in ADAPTERS.items() if type(adapter) is kind)
        folder = _KILLED[type(adapter)] = tmp_path_factory.mktemp("killed")
        subprocess.run(
            [sys.executable, contract_world.__file__, str(folder), name], check=True, timeout=120,
            env={**os.environ, "PYTHONPATH": str(Path(contract_world.__file__).parent)},
        )  # fmt: skip
    return _KILLED[type(adapter)]


_KILLED: dict[type, Path] = {}


@pytest.fixture
def straight(adapter: dspy.Adapter, tmp_path_factory: pytest.TempPathFactory) -> Straight:
    """The run that was never stopped, made once under each adapter."""
    if type(adapter) not in _STRAIGHT:
        world, folder = World(structured_output=True), tmp_path_factory.mktemp("straight")
        program = killed_run(world, folder)
        _STRAIGHT[type(adapter)] = Straight(world.num_calls, folder, figures(program), world.rendered(program))
    return _STRAIGHT[type(adapter)]


@dataclass(frozen=True)
class Straight:
    num_calls: int
    folder: Path
    figures: dict[str, Any]
    rendered: Any


_STRAIGHT: dict[type, Straight] = {}


@pytest.mark.parametrize("calls", KILLS)
def test_31_killed_and_resumed(calls: int, adapter: dspy.Adapter, killed: Path, straight: Straight) -> None:
    """Item 31: after `kill -9` and a second start everything is as if the run had never stopped, and no reply on
    record was asked for again.
    """
    folder = killed / str(calls)
    lines = (folder / "calls.jsonl").read_bytes().split(b"\n")
    on_record = [json.loads(line)["key"] for line in lines[:-1]]
    assert len(on_record) >= calls
    assert not (folder / "result.json").exists(), "it was killed too late"

    resumed = World(structured_output=True)
    program = killed_run(resumed, folder)

    assert resumed.num_calls == straight.num_calls - len(on_record)
    keys = [json.loads(line)["key"] for line in (folder / "calls.jsonl").read_text().splitlines()]
    assert keys[: len(on_record)] == on_record
    assert len(set(keys)) == len(keys) == straight.num_calls
    for file in ("program.json", "ledger.json", "trace.json", "trace.md", "config.json"):
        assert (folder / file).read_text() == (straight.folder / file).read_text(), file
    assert (folder / "result.json").read_bytes() == (straight.folder / "result.json").read_bytes()
    assert figures(program) == straight.figures
    assert resumed.rendered(program) == straight.rendered


def test_31_resuming_a_finished_run_asks_nothing(adapter: dspy.Adapter, straight: Straight) -> None:
    """Item 31: a run that was finished is given again without a single call."""
    world = World(structured_output=True)
    assert figures(killed_run(world, straight.folder)) == straight.figures
    assert world.num_calls == 0


@pytest.mark.parametrize("cache", [False, True])
def test_31_an_outage_is_resumed(cache: bool, adapter: dspy.Adapter, straight: Straight, tmp_path: Path) -> None:
    """Item 31: so is a run that an outage ended, with another number of threads, each reply paid for once; what DSPy's
    cache remembers of the first part is counted all the same.
    """
    left = [17]

    def dies(role: str, prompt: Prompt) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise lm15.ServerError("gone", status=503)

    failing = World(before=dies, structured_output=True, cache=cache)
    resumed = World(structured_output=True, cache=cache)
    with pytest.raises(LMError, match="gone"):
        killed_run(failing, tmp_path / "run", num_threads=7)
    lines = [json.loads(line) for line in (tmp_path / "run" / "calls.jsonl").read_text().splitlines()]
    on_record = sum("response" in line for line in lines)
    assert on_record == 17
    failed = len(lines) - on_record
    program = killed_run(resumed, tmp_path / "run", num_threads=2)
    assert resumed.num_calls == straight.num_calls - on_record
    found = program.drpo_result
    assert figures(program) == straight.figures
    roles = found["bill"]["roles"].values()
    assert sum(role["errors"] for role in roles) == failed  # also those of the first part
    assert sum(role["replayed"] for role in roles) == on_record


# --- 32: caps -------------------------------------------------------------------------------------


def capped(world: World, **options: Any) -> dspy.Module | None:
    """Return the program of a capped run, None if the cap did not even allow the first judgement."""
    try:
        return world.optimizer(depth=3, **options).compile(
            dspy.Predict("question -> answer"), trainset=examples(4), valset=examples(6)[4:]
        )
    except BudgetExceededError:
        return None


def test_32_calls_are_never_exceeded(adapter: dspy.Adapter) -> None:
    """Item 32: over all budgets no engine sees one call more, at any number of threads; an ample one changes nothing."""
    free = World()
    program = capped(free)
    for budget in (1, 2, 3, 7, 12, 20, free.num_calls - 1, free.num_calls, 2 * free.num_calls):
        world = World()
        found = capped(world, max_lm_calls=budget, num_threads=1 + budget % 5)
        assert world.num_calls <= budget
        if budget >= 2 * free.num_calls:
            assert figures(found)["instructions"] == figures(program)["instructions"]
            assert found.drpo_result["stopped"] is None
        elif found is not None:  # one that just suffices may be kept back in part for the comparison
            assert found.drpo_result["stopped"] or budget >= free.num_calls
            assert requests_of(found) == world.calls


def test_32_a_capped_run_does_not_hang_on_threads() -> None:
    """Item 32: what was finished when the cap was reached is the same at any number of threads."""
    for budget in (9, 20):
        found = [capped(World(), max_lm_calls=budget, num_threads=num_threads) for num_threads in (1, 16)]
        first, second = (
            {key: program.drpo_result[key] for key in ("instructions", "search_value", "decision")} for program in found
        )
        assert first == second


@pytest.mark.parametrize("num_threads", [1, 4])
def test_32_refused_calls_are_no_answers(num_threads: int, tmp_path: Path) -> None:
    """Item 32: a program that hides errors is not judged by the apologies that it makes once no call is allowed."""
    for cap in (4, 6, 8, 10):
        world, folder = World(), tmp_path / str(cap)
        options = {"metric": lambda *_: 0.5, "max_lm_calls": cap, "num_threads": num_threads, "log_dir": folder}
        program = world.compile(Swallowing(), depth=3, **options)
        assert program.drpo_result["stopped"]
        nodes = json.loads((folder / "trace.json").read_text())["nodes"]
        assert all("Sorry." not in node["answer"] for node in nodes)


def test_32_retries_count() -> None:
    """Item 32: a request that fails and is sent again counts each time."""

    def flaky(role: str, prompt: Prompt) -> None:
        if prompt not in seen:
            seen.append(prompt)
            raise lm15.RateLimitError("slow down", retry_after=0.0)

    for budget in (1, 4, 16, 40):
        seen: list[Prompt] = []
        world = World(before=flaky, num_retries=2)
        found = capped(world, max_lm_calls=budget, num_threads=3)
        assert world.num_calls <= budget
        if found is not None:
            assert requests_of(found) == world.calls


@pytest.mark.parametrize("num_threads", [1, 4])
def test_32_tokens(num_threads: int) -> None:
    """Item 32: once the tokens are used no request is sent; only what was under way then may come on top."""
    for cap in (1, 1500, 4000):
        world = World()
        found = capped(world, max_tokens=cap, num_threads=num_threads)
        used = [usage for role in ROLES for usage in tokens_of(getattr(world, role).engine)]
        assert sum(sorted(used)[:-num_threads]) < cap
        assert found is None or found.drpo_result["stopped"] or sum(used) <= cap


class Priced(ScriptedEngine):
    """Asks a cent per reply."""

    def price(self, response: lm15.Response) -> float:
        return 0.01


@pytest.mark.parametrize("num_threads", [1, 4])
def test_32_money(num_threads: int) -> None:
    """Item 32: the same with dollars; where a price is unknown the cap cannot be kept, so the run ends at once."""
    for cents in (1, 5, 12):
        world = World()
        lms = {
            f"{role}_lm": dspy.LM(f"world/{role}", engine=Priced(getattr(world, role).engine._reply), cache=False)
            for role in ROLES
        }
        found = capped(world, max_cost=cents / 100, num_threads=num_threads, **lms)
        assert world.num_calls < cents + num_threads
        if found is not None:
            assert sum(found.drpo_result["cost"].values()) == pytest.approx(world.num_calls / 100)
    world = World()
    with pytest.raises(BudgetExceededError, match="price"):
        world.compile(Mixed(), max_cost=1.0, num_threads=1)
    assert world.num_calls == 1


def tokens_of(engine: ScriptedEngine) -> list[int]:
    """Return the tokens that a scripted engine counts for each request, the reply's left out."""
    return [len(prompt.text.split()) for prompt in engine.prompts]


# --- 33: counts -----------------------------------------------------------------------------------


def assert_counted(world: World, program: dspy.Module) -> None:
    assert requests_of(program) == world.calls
    roles = program.drpo_result["bill"]["roles"]
    assert {role: used["calls"] for role, used in roles.items()} == program.drpo_result["lm_calls"]


@pytest.mark.parametrize("num_threads", [1, 4])
def test_33_calls_per_role(num_threads: int, adapter: dspy.Adapter) -> None:
    """Item 33: reported calls and tokens are those that the engines saw."""
    world = World()
    program = capped(world, num_threads=num_threads)
    assert_counted(world, program)
    prompts = {role: sum(tokens_of(getattr(world, role).engine)) for role in ROLES}
    assert all(program.drpo_result["tokens"][role] > prompts[role] > 0 for role in ROLES)


def test_33_roles_that_share_an_lm() -> None:
    """Item 33: one LM object in all roles is still counted role by role."""
    world = World()

    def reply(prompt: Prompt) -> str:
        for field, role in (("judgement_1", "judge"), ("new_instruction", "prompt"), ("criteria", "criteria")):
            if f"`{field}`" in prompt.last:
                return getattr(world, role).engine._reply(prompt)
        return world.task.engine._reply(prompt)

    one = scripted_lm(reply, name="one/model")
    dspy.configure(lm=one)
    with pytest.warns(UserWarning, match="judge"):
        program = world.compile(Mixed(), task_lm=None, judge_lm=None, criteria_lm=None, prompt_lm=None)
    assert_counted(world, program)
    assert all(count > 0 for count in world.calls.values())


def test_33_failed_retried_and_repeated_requests(adapter: dspy.Adapter) -> None:
    """Item 33: so are requests that failed, were retried, or were asked again in another format."""
    failed: list[Prompt] = []

    def flaky(role: str, prompt: Prompt) -> None:
        if prompt not in failed and len(failed) < 5:
            failed.append(prompt)
            raise lm15.RateLimitError("slow down", retry_after=0.0)

    world = World(before=flaky, num_retries=3)
    answer, asked = world._answer, []

    def sloppy(prompt: Prompt) -> str:
        asked.append(prompt)
        return "no format at all" if len(asked) == 3 else answer(prompt)

    world._answer = sloppy
    program = world.compile(Mixed(), num_threads=2)
    assert_counted(world, program)
    assert sum(role["errors"] for role in program.drpo_result["bill"]["roles"].values()) == len(failed) == 5


def test_33_several_generations_and_own_lms(adapter: dspy.Adapter) -> None:
    """Item 33: `n=2` is two requests; a predictor's own LM counts as the task's."""
    world = World()
    student = Mixed()
    student.answer.config = {"n": 2, "temperature": 1.0}
    student.think.predict.lm = world.task.copy(temperature=0.5)
    program = world.compile(student)
    assert_counted(world, program)
    assert world.calls["task"] == 3 * program.drpo_result["lm_calls"]["judge"]


def test_33_what_a_cache_answers_is_no_call() -> None:
    """Item 33: a second run over DSPy's cache is reported as what it was: no calls."""
    world = World(cache=True)
    first = world.compile(Mixed(), num_threads=1)
    asked = dict(world.calls)
    second = world.compile(Mixed(), num_threads=1)
    assert first.drpo_result["lm_calls"] == asked
    assert world.calls == asked
    assert set(second.drpo_result["lm_calls"].values()) == {0}
    assert second.drpo_result["instructions"] == first.drpo_result["instructions"]
