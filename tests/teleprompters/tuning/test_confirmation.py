"""Confirmation of the best trial on folds that no trial saw, over compiles that are arithmetic."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from tuning_bench import OWN, Bench

from drpo.errors import JudgeError
from drpo.serving.caps import CapKind

Made = list[tuple[int, str]]


def confirming(bench: Bench) -> Made:
    """Return the folds and the settings of the compiles that confirmed something."""
    return [(fold, "best" if settings else "own") for _, fold, settings in bench.made if fold > 1]


def lucky(settings: dict[str, Any], fold: int) -> float:
    """A gain that depends on the settings in the folds of trials alone; a fresh fold is worth less of it than the one before."""
    return 0.1 * settings["depth"] if fold < 2 else 0.1 + (0.01 * fold if settings["depth"] > 2 else 0)


@pytest.mark.slow
def test_luck_of_the_trials_is_not_confirmed(bench: Bench) -> None:
    """Best and own settings are compared on fresh folds alone, pairwise; the bill has these compiles as well."""
    bench.gain = lucky  # type: ignore[method-assign]
    assert bench.confirm() is None
    data = bench.data()
    best, found = data["best"], data["confirmed"]
    assert best["settings"]["depth"] > OWN["depth"]
    assert data["difference"]["mean"] == pytest.approx(best["settings"]["depth"] - 2)
    assert confirming(bench) == [(2, "own"), (2, "best"), (3, "own"), (3, "best")]
    assert all(settings in ({}, best["settings"]) for _, fold, settings in bench.made if fold > 1)
    assert found["trial"] == best["trial"]
    assert found["best"]["values"] == pytest.approx([1.2, 1.3])
    assert found["own"]["values"] == pytest.approx([1.0, 1.0])
    assert found["mean"] == pytest.approx(0.25)
    assert found["interval"] == pytest.approx([0.25 - 12.7062 * 0.05, 0.25 + 12.7062 * 0.05], abs=1e-4)
    assert data["unconfirmed"] is None
    assert data["bill"]["compiles"] == 12

    assert bench.confirm(fresh=3) is None  # more folds are wanted later: what is compiled counts
    assert confirming(bench)[4:] == [(4, "own"), (4, "best")]
    assert bench.data(fresh=3)["confirmed"]["mean"] == pytest.approx(0.3)
    assert bench.data() == {**data, "bill": bench.data()["bill"]}  # and fewer are the first of them


@pytest.mark.slow
def test_interrupted_and_continued_it_ends_as_a_straight_one(bench: Bench, make_bench: Callable[[str], Bench]) -> None:
    """Killed at any compile it compiles none twice; later trials are those of a study without it; a new best is
    confirmed anew, the same one is not."""
    straight = make_bench("straight")
    straight.tune(trials=9)
    whole = make_bench("whole")
    whole.confirm()
    kills = [(2, 0), (2, 1), (3, 1)]

    def before(number: int, fold: int) -> None:
        if kills and (fold, number) == kills[0]:
            del kills[0]
            raise KeyboardInterrupt

    bench.before = before
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            bench.confirm()
    assert bench.data()["confirmed"] is None
    assert "still under way" in bench.data()["unconfirmed"]
    assert bench.confirm() is None
    assert bench.data() == whole.data()
    assert bench.made == whole.made

    bench.confirm(trials=9)
    data, first = bench.data(), whole.data()["best"]["trial"]
    assert data["trials"] == straight.data()["trials"]
    assert data["best"]["trial"] != first  # else this test shows less than it says
    assert data["confirmed"]["trial"] == data["best"]["trial"]
    assert len(confirming(bench)) == 8
    bench.confirm(trials=9)
    assert len(bench.made) == 9 * 2 + 8


@pytest.mark.slow
def test_caps_hold_over_trials_and_confirmation(bench: Bench) -> None:
    """A cap leaves the rest of a confirmation undone and says so; with more it goes on where it was."""
    assert bench.confirm(caps={CapKind.LM_CALLS: 1100}) == "tune.max_lm_calls=1100 leaves no room for another compile"
    data = bench.data(stopped="tune.max_lm_calls=1100 leaves no room for another compile")
    assert data["bill"]["lm_calls"] == 1000  # 800 of trials; another compile may take 150
    assert data["confirmed"] is None
    assert data["unconfirmed"].startswith("the study ended early (tune.max_lm_calls=1100")
    assert bench.confirm(seconds=0.0, caps={CapKind.LM_CALLS: 2000}) == "0 seconds are over"
    assert bench.confirm(caps={CapKind.LM_CALLS: 2000}) is None
    assert bench.data()["confirmed"]["trial"] == bench.data()["best"]["trial"]
    assert bench.data()["bill"]["lm_calls"] == 1200


@pytest.mark.slow
def test_a_compile_that_fails_confirms_nothing(bench: Bench) -> None:
    """The tuning ends without an error and with the reason; nothing more is paid for, now or at the next start."""

    def before(number: int, fold: int) -> None:
        if fold > 1:
            raise JudgeError("most judgements cannot be read")

    bench.before = before
    for _ in range(2):
        assert bench.confirm() is None
        data = bench.data()
        assert data["confirmed"] is None
        assert data["unconfirmed"] == "the config's own settings on fresh fold 1 of 2: most judgements cannot be read"
        bench.before = lambda number, fold: None
    assert confirming(bench) == []
    assert data["bill"]["compiles"] == 9


@pytest.mark.slow
def test_what_needs_no_confirmation_has_none(make_bench: Callable[[str], Bench]) -> None:
    """Nothing is compiled where the config's own settings are the best, nothing gained, or none is wanted."""
    for name, gain, said in (
        ("own", lambda settings, fold: 0.2 if settings == OWN else 0.1, "the best settings are the config's own"),
        ("none", lambda settings, fold: -0.1 if settings == OWN else 0.0, "no settings gained anything"),
    ):
        bench = make_bench(name)
        bench.gain = gain  # type: ignore[method-assign]
        assert bench.confirm(trials=2) is None
        assert (bench.data()["confirmed"], bench.data()["unconfirmed"]) == (None, said)
        assert confirming(bench) == []
    bench = make_bench("unwanted")
    bench.confirm(fresh=0, trials=2)
    assert bench.data(fresh=0)["unconfirmed"] == "tune.confirm is 0"
    assert len(bench.made) == 4


@pytest.mark.slow
def test_the_last_worker_confirms(bench: Bench) -> None:
    """While another worker holds a trial nothing is confirmed; two that confirm at once share the compiles."""
    study, said = bench.study(), list[str]()
    bench.confirm(study, trials=2, fresh=0)
    with bench.study().next_trial(3) as held:
        assert held is not None
        assert bench.confirm(study, trials=3, said=said) is None
        assert said[-1].startswith("other processes still work on trials; the last of them confirms the best (if they")
        assert confirming(bench) == []
    other = Bench(bench.folder)
    other.gain = bench.gain = lucky  # type: ignore[method-assign]

    def before(number: int, fold: int) -> None:
        if (fold, number) == (2, 0):  # while the first one compiles, the other takes all that is left
            assert other.confirm(trials=3) is None

    bench.before = before
    assert bench.confirm(trials=3) is None
    assert confirming(bench) == [(2, "own")]
    assert confirming(other) == [(2, "best"), (3, "own"), (3, "best")]
    assert bench.data()["confirmed"] == other.data()["confirmed"] is not None


@pytest.mark.slow
def test_a_worker_on_another_machine_dies_confirming(bench: Bench) -> None:
    """Its compile is begun anew with whose settings it had, and the pair is whole."""
    bench.tune()

    def before(number: int, fold: int) -> None:
        if fold > 1:
            raise KeyboardInterrupt

    bench.before = before
    with pytest.raises(KeyboardInterrupt):
        bench.confirm()
    shutil.rmtree(bench.folder / "confirmation")  # it was in a folder that this worker does not see
    with sqlite3.connect(bench.folder / "study.db") as database:
        database.execute("UPDATE trial_heartbeats SET heartbeat = datetime('now', '-1 hour')")
    database.close()
    bench.before = lambda number, fold: None
    assert bench.confirm() is None
    assert confirming(bench) == [(2, "own"), (2, "best"), (3, "own"), (3, "best")]
    assert bench.data()["confirmed"] is not None
