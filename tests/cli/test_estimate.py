"""`drpo estimate`: what it asks, what it says, and that it is true.

Invariants: five calls with a probe, none without; nothing is written; equal configs give equal estimates; the world
that is billed is never rehearsed in.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from desk import Desk, play
from endpoint import Fault, Sent
from variants import slow

from drpo.commands.estimating import FIRST_WORLD, Estimate, _Work, estimate
from drpo.configs.settings import load_settings
from drpo.serving.simulated.world import World

SMALL = ["data.limit=8", "depth=1", "n_actions=2", "minibatch_size=2"]
"""A small search of the default config."""


def rehearse_less(patch: pytest.MonkeyPatch) -> None:
    """Rehearse once instead of five times: what is tested here does not depend on it."""
    patch.setattr("drpo.commands.estimating.PLACES", (0.0,))
    patch.setattr("drpo.commands.estimating.PROBED_WORLDS", 2)


@pytest.fixture(autouse=True)
def few_rehearsals(monkeypatch: pytest.MonkeyPatch) -> None:
    rehearse_less(monkeypatch)


def said(text: str) -> str:
    """Return what was printed without the line breaks of a narrow terminal."""
    return " ".join(text.split())


def figures(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def estimated(*overrides: str) -> Estimate:
    return estimate(load_settings("default", [*SMALL, *overrides]), with_probe=False)


def test_five_calls(desk: Desk) -> None:
    """The probe asks each role's model about the user's prompts: five requests, each counted and shown."""
    before = sorted(path.name for path in desk.folder.iterdir())
    config = desk.config()
    found = figures(desk.drpo("estimate", config, "--json"))
    assert Counter(sent.body["model"] for sent in desk.models.sent) == {"task": 2, "judge": 2, "prompt": 1}
    prompts = (desk.folder / "prompts.txt").read_text().splitlines()
    asked = [sent.body["messages"][-1]["content"] for sent in desk.models.sent if sent.body["model"] == "task"]
    assert set(asked) < set(prompts)
    assert [call["role"] for call in found["probe"]] == ["criteria", "task", "task", "judge", "prompt"]
    assert all((call["read"], call["written"]) == (11, 7) for call in found["probe"])
    for bill in (*found["roles"].values(), found["total"]):
        for figure in ("calls", "tokens", "seconds"):
            assert 0 < bill[figure]["low"] <= bill[figure]["expected"] <= bill[figure]["high"]
        assert bill["cost"] is None
    assert sorted(path.name for path in desk.folder.iterdir()) == sorted([*before, "config.yaml"])


def test_what_is_printed(desk: Desk) -> None:
    """A person sees each role with its model, the calls that were made, and what is not known."""
    done = desk.drpo("estimate", desk.config(max_lm_calls=9, max_tokens=10_000_000, max_cost=1.0))
    assert done.returncode == 0, done.stderr
    for word in ("task", "hosted_vllm/judge", "criteria", "unknown", "The 5 calls that were made", "minutes"):
        assert word in said(done.stdout)
    assert "max_lm_calls=9 will end the run early, or make it smaller." in said(done.stdout)
    assert "max_tokens=10000000 will not be reached." in said(done.stdout)
    assert "max_cost=1 ends the run at the first call whose price is unknown." in said(done.stdout)
    assert "Without caps: about" in said(done.stdout)
    assert "No price is known of hosted_vllm/judge, hosted_vllm/prompt, hosted_vllm/task" in said(done.stdout)
    assert "rehearsal 1" in done.stderr


def test_no_call_without_a_probe(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is asked and no key is needed; minutes are unknown, money is not if there are prices."""
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    lm = {"api_base": desk.models.api_base, "api_key_env": "NO_SUCH_KEY", "input_price": 1.0, "output_price": 4.0}
    lms = {role: {"model": f"hosted_vllm/{role}", **lm} for role in ("task", "judge", "prompt")}
    found = figures(desk.drpo("estimate", desk.config(lms=lms), "--no-probe", "--json"))
    assert desk.models.sent == []
    assert found["probe"] is None
    assert found["total"]["seconds"] is None
    assert 0 < found["total"]["cost"]["low"] < found["total"]["cost"]["high"]
    printed = desk.drpo("estimate", desk.config(lms=lms), "--no-probe")
    assert "Without a probe nothing is known of your models' speed" in said(printed.stdout)
    asked = desk.drpo("estimate", desk.config(lms=lms))
    assert (asked.returncode, "NO_SUCH_KEY" in asked.stderr) == (2, True)


@pytest.mark.parametrize(("status", "code", "word"), [(500, 1, "--no-probe"), (401, 2, "refuses the key")])
def test_a_model_that_does_not_answer(make_desk: Callable[..., Desk], status: int, code: int, word: str) -> None:
    """One line, no traceback, and no further try."""
    desk = make_desk(lambda sent: Fault(status))
    lm = {"api_base": desk.models.api_base, "num_retries": 5}
    config = desk.config(lms={role: {"model": f"hosted_vllm/{role}", **lm} for role in ("task", "judge")})
    done = desk.drpo("estimate", config, "--quiet")
    assert (done.returncode, done.stdout) == (code, "")
    assert word in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert len(desk.models.sent) == 1


@pytest.mark.parametrize("garbled", ["judge", *slow("task", "prompt")])
def test_unreadable_replies_are_not_asked_for_again(make_desk: Callable[..., Desk], garbled: str) -> None:
    """Five calls are five calls, whatever the models make of them."""

    def replies(sent: Sent) -> Any:
        return "Certainly!" if sent.body["model"] == garbled else play(sent)

    desk = make_desk(replies)
    done = desk.drpo("estimate", desk.config(), "--json")
    assert len(figures(done)["probe"]) == len(desk.models.sent) == 5


def test_a_program_that_cannot_read_its_model(make_desk: Callable[..., Desk]) -> None:
    """An adapter that the model does not follow is found out before the run."""
    desk = make_desk(lambda sent: "Certainly!")
    done = desk.drpo("estimate", desk.config(program={"adapter": "json"}))
    assert done.returncode == 1
    assert "the program cannot read its model's replies" in done.stderr


@pytest.mark.slow
def test_hours_of_a_server(desk: Desk) -> None:
    """A server by the hour costs its time on the clock, shared by its roles."""
    lm = {"api_base": desk.models.api_base, "hourly_price": 7200.0}
    lms = {role: {"model": f"hosted_vllm/{role}", **lm} for role in ("task", "judge", "prompt")}
    found = figures(desk.drpo("estimate", desk.config(lms=lms), "--json"))
    total = found["total"]
    assert total["cost"]["expected"] == pytest.approx(2 * total["seconds"]["expected"])
    assert sum(bill["cost"]["expected"] for bill in found["roles"].values()) == pytest.approx(total["cost"]["expected"])
    assert found["priceless"] == []
    capped = desk.config(lms=lms, max_cost=total["cost"]["expected"] / 50)  # the endpoint's speed varies
    held = figures(desk.drpo("estimate", capped, "--json"))
    assert held["total"]["calls"]["expected"] < total["calls"]["expected"]
    unknown = figures(desk.drpo("estimate", capped, "--json", "--no-probe"))
    assert list(unknown["caps"].values()) == ["is not known without a probe"]
    assert unknown["total"]["calls"] == unknown["uncapped"]["calls"]


@pytest.mark.slow
def test_it_comes_true(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a small run really takes lies within the range, also when a cap ends it."""
    monkeypatch.setattr("drpo.commands.estimating.PLACES", (-1.28, 1.28))
    for cap in ([], ["--set", "max_lm_calls=40"]):
        small = [text for pair in SMALL for text in ("--set", pair)] + cap
        found = figures(desk.drpo("estimate", "default", *small, "--json"))
        folder = f"run{len(cap)}"
        done = desk.drpo("compile", "default", *small, "--log-dir", folder, "--json")
        true = json.loads(done.stdout)
        for name, figure in (("lm_calls", "calls"), ("tokens", "tokens")):
            total = sum(true[name].values())
            amount = found["total"][figure]
            assert amount["low"] <= total <= amount["high"]
        assert found["simulated"]


@pytest.mark.slow
def test_equal_configs_have_equal_estimates() -> None:
    """Whatever the threads: and with another instruction or other prompts the lengths are others."""
    one = estimated()
    assert one.as_dict() == estimated().as_dict()
    threads = estimated("num_threads=1")
    assert (threads.roles, threads.total) == (one.roles, one.total)
    wordy = estimated("program.instructions=" + "Weigh what each claim rests on. " * 160)
    assert wordy.roles["task"].tokens.expected > one.roles["task"].tokens.expected + 500 * one.roles["task"].calls.low


CAPS = [
    pytest.param("max_lm_calls=30", "calls", "total", marks=pytest.mark.slow),
    ("max_lm_calls={judge: 12}", "calls", "judge"),
    pytest.param("max_tokens=40000", "tokens", "total", marks=pytest.mark.slow),
    pytest.param("max_cost=0.04", "cost", "total", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("cap", "figure", "scope"), CAPS)
def test_caps_are_kept_in_rehearsals(cap: str, figure: str, scope: str, priced: tuple[list[str], Estimate]) -> None:
    """Each kind, over all roles or one, makes the bill smaller; what the run takes without caps stays as it is."""
    prices, free = priced
    held = estimated(*prices, cap)
    assert "will end the run early" in next(iter(held.caps.values()))
    bill = held.total if scope == "total" else held.roles[scope]
    without = free.total if scope == "total" else free.roles[scope]
    assert getattr(bill, figure).expected < 0.9 * getattr(without, figure).expected
    assert held.uncapped == free.total


@pytest.fixture(scope="module")
def priced() -> tuple[list[str], Estimate]:
    """Return prices of every model, and what the run takes at these without a cap."""
    prices = [f"lms.{role}.{kind}_price=1.0" for role in ("task", "judge", "criteria", "prompt")
              for kind in ("input", "output")]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        rehearse_less(patch)
        return prices, estimated(*prices)


@pytest.mark.slow
def test_a_cap_far_away_changes_nothing(priced: tuple[list[str], Estimate]) -> None:
    """It will not be reached, and one on time is not known without a probe."""
    prices, free = priced
    assert (free.caps, free.total) == ({}, free.uncapped)
    far = estimated(*prices, "max_lm_calls=100000", "max_cost=1000")
    assert set(far.caps.values()) == {"will not be reached"}
    assert far.total == free.total
    assert set(estimated(*prices, "max_seconds=5").caps.values()) == {"is not known without a probe"}


@pytest.mark.slow
def test_a_cap_on_time_is_kept_by_calls() -> None:
    """Time passes in no rehearsal, so as many calls are rehearsed as there is time for."""
    free = estimate(load_settings("default", SMALL))
    assert free.total.seconds is not None
    limit = free.total.seconds.expected / 3
    held = estimate(load_settings("default", [*SMALL, f"max_seconds={limit}"]))
    assert held.total.calls.expected < 0.6 * free.total.calls.expected
    assert held.total.seconds is not None
    assert held.total.seconds.expected < 2 * limit
    roles = estimate(load_settings("default", [*SMALL, f"max_seconds={{task: {limit / 3}}}"]))
    assert roles.roles["task"].calls.expected < free.roles["task"].calls.expected


def test_it_never_rehearses_in_the_world_that_is_billed() -> None:
    """A simulated model's own world is left out, whichever it is."""
    settings = load_settings("default", [*SMALL, f"world=random-{FIRST_WORLD + 1}"])
    worlds = list(itertools.islice(_Work(settings, lambda text: None).worlds(), 4))
    assert World.random(FIRST_WORLD + 1) not in worlds
    assert worlds[:2] == [World.random(FIRST_WORLD), World.random(FIRST_WORLD + 2)]


@pytest.mark.slow
def test_other_configs(desk: Desk) -> None:
    """Base models, adapters, fixed criteria, several inputs and demonstrations are rehearsed as they are."""
    lm = {"api_base": desk.models.api_base}
    task = {"model": "hosted_vllm/task", "model_type": "text", "max_tokens": 20, **lm}
    lms = {"task": task, "judge": {"model": "hosted_vllm/judge", "structured_output": False, **lm}}
    config = desk.config(
        lms=lms, reward={"dynamic": False}, data={"prompts": "prompts.txt", "demos": "builtin:demos"}, k=2,
        optimize_demos=True,
    )  # fmt: skip
    found = figures(desk.drpo("estimate", config, "--no-probe", "--json"))
    assert found["roles"]["criteria"]["calls"]["high"] == 0
    rows = "".join(json.dumps({"topic": f"topic {n}", "reader": "a child"}) + "\n" for n in range(6))
    (desk.folder / "rows.jsonl").write_text(rows)
    several = desk.config(
        data={"prompts": "rows.jsonl"}, program={"signature": "topic, reader -> text", "adapter": "chat"}
    )
    assert figures(desk.drpo("estimate", several, "--no-probe", "--json"))["total"]["calls"]["low"] > 10


@pytest.mark.slow
def test_the_range_holds_the_true_bill(tmp_path: Path) -> None:
    """A small version of `benchmarks/estimates.py`: so few configs only show that the ranges are no nonsense."""
    script = Path(__file__).parents[2] / "benchmarks" / "estimates.py"
    out = tmp_path / "estimates.json"
    command = [sys.executable, str(script), "--configs", "6", "--first", "500", "--json", str(out)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=580, check=False)
    assert out.exists(), done.stdout + done.stderr
    totals = [line for line in json.loads(out.read_text())["summary"] if line["scope"] == "total"]
    assert len(totals) == 6  # calls, tokens and dollars, with a probe and without
    assert min(line["inside"] for line in totals) > 0.6, done.stdout
    assert max(line["width"] for line in totals if line["way"] == "with probe") < 2.2, done.stdout
