"""The loop of a tuning over compiles that are arithmetic."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tuning_bench import OWN, SPACE, Bench

from drpo.errors import ConfigError, JudgeError, MissingDependencyError
from drpo.serving.caps import CapKind
from drpo.teleprompters.tuning.studies import Pruner, Study


def test_a_study(bench: Bench) -> None:
    """The first trial has the config's own settings, the best the highest value; the bill is that of all compiles."""
    assert bench.tune() is None
    data = bench.data()
    assert data["own"]["settings"] == OWN
    assert [trial["trial"] for trial in data["trials"]] == [0, 1, 2, 3]
    assert data["best"]["value"] == max(trial["value"] for trial in data["trials"])
    first = data["trials"][0]
    assert first["value"] == pytest.approx((0.1 - 0.014 + 0.005) * 10)
    assert first["interval"][0] < first["value"] < first["interval"][1]
    assert data["bill"] == {"compiles": 8, "lm_calls": 800, "tokens": 40_000, "cost": 2.0}
    assert all(values.has(trial["settings"][name]) for trial in data["trials"] for name, values in SPACE.items())


@pytest.mark.slow
def test_a_study_that_was_interrupted_ends_as_one_that_was_not(
    bench: Bench, make_bench: Callable[[str], Bench]
) -> None:
    """At whichever compile a worker dies, the next one goes on with its trial and ends with the same table."""
    whole = make_bench("whole")
    whole.tune()
    expected = whole.data()
    dies_at = iter([(0, 0), (0, 1), (2, 1), (3, 0)])
    point: list[Any] = [next(dies_at)]

    def before(number: int, fold: int) -> None:
        if (number, fold) == point[0]:
            point[0] = next(dies_at, None)
            raise KeyboardInterrupt

    bench.before = before
    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            bench.tune()
    assert bench.tune() is None
    assert bench.data() == expected
    assert [one[:2] for one in bench.made] == [one[:2] for one in whole.made]  # no fold was compiled twice
    assert bench.tune() is None
    assert len(bench.made) == 8  # finished: nothing is asked


@pytest.mark.slow
def test_more_trials_later(bench: Bench) -> None:
    """A finished study goes on when it shall have more trials, with settings that are new."""
    bench.tune(trials=2)
    bench.tune(trials=5)
    settings = [str(trial["settings"]) for trial in bench.data()["trials"]]
    assert len(settings) == len(set(settings)) == 5


def test_a_trial_has_one_worker(bench: Bench) -> None:
    """Two workers of one folder never hold the same trial; one that was given up is taken by the next worker."""
    first, second = bench.study(), bench.study()
    with first.next_trial(4) as one, second.next_trial(4) as two:
        assert one is not None
        assert two is not None
        assert (one.number, two.number) == (0, 1)
        with bench.study().next_trial(2) as none:
            assert none is None  # both are taken
    with second.next_trial(4) as again:
        assert again is not None
        assert again.number == 0


@pytest.mark.slow
def test_a_worker_on_another_machine_dies(bench: Bench, tmp_path: Path) -> None:
    """Without a heartbeat its trial is begun anew with the same settings; it counts once, and what it cost is kept."""
    far = Bench(tmp_path / "far")
    url = f"sqlite:///{bench.folder / 'study.db'}"
    study = Study(
        url, "s", identity={"config": 1}, directory=far.folder, given=[OWN], seed=0, pruner=Pruner.NONE, folds=2
    )

    def before(number: int, fold: int) -> None:
        if fold == 1:
            raise KeyboardInterrupt

    far.before = before
    with pytest.raises(KeyboardInterrupt):
        far.tune(study)
    with sqlite3.connect(bench.folder / "study.db") as database:
        database.execute("UPDATE trial_heartbeats SET heartbeat = datetime('now', '-1 hour')")
    database.close()
    assert bench.tune(trials=2) is None
    data = bench.data()
    assert [trial["trial"] for trial in data["trials"]] == [0, 2]  # Optuna numbers what is begun anew as well
    assert data["own"]["settings"] == OWN
    assert data["bill"]["compiles"] == 1 + 4


def test_the_caps_hold(bench: Bench) -> None:
    """No compile begins that could exceed what the study may use; what it could use is its own cap."""
    said: list[str] = []
    reason = bench.tune(caps={CapKind.LM_CALLS: 500}, said=said)
    assert reason == "tune.max_lm_calls=500 leaves no room for another compile"
    assert len(bench.made) == 4  # 400, and another may take 150
    assert bench.bounds[0] == {CapKind.LM_CALLS: 150}
    assert bench.data()["bill"]["lm_calls"] == 400
    assert bench.tune(caps={CapKind.LM_CALLS: 10_000}) is None  # given more, it goes on where it was
    assert len(bench.made) == 8


def test_a_cap_in_dollars_learns_from_the_compiles_before(bench: Bench) -> None:
    """The first may take a quarter of it, another twice the dearest so far."""
    reason = bench.tune(caps={CapKind.COST: 1.6})
    assert reason == "tune.max_cost=1.6 leaves no room for another compile"
    assert [one[CapKind.COST] for one in bench.bounds] == [0.4, 0.5, 0.5, 0.5, 0.5]
    assert bench.data()["bill"]["cost"] == 1.25


@pytest.mark.slow
def test_a_compile_that_needs_more_than_it_may_has_no_value(bench: Bench) -> None:
    """One that was cut short by the study's cap is no measurement of its settings."""

    def before(number: int, fold: int) -> None:
        bench.stopped = "max_lm_calls=150 is reached" if number == 1 else None

    bench.before = before
    bench.tune(caps={CapKind.LM_CALLS: 5000}, trials=3)
    failed = bench.data()["trials"][1]
    assert (failed["state"], failed["value"]) == ("failed", None)
    assert "needs more than the 150 that tune.max_lm_calls leaves" in failed["reason"]


@pytest.mark.slow
def test_settings_that_cannot_be_compiled(make_bench: Callable[[str], Bench]) -> None:
    """A trial that fails has a reason and no value, and the study goes on; if the config's own fail, it ends."""

    def before(number: int, fold: int) -> None:
        if number == failing:
            (bench.folder / f"trials/{number:04}/fold-{fold}").mkdir(parents=True)
            lines = b'{"response": {"usage": {"input_tokens": 5}}, "cost": 0.5}\n{"error": {}, "cost": null}\n{"torn'
            (bench.folder / f"trials/{number:04}/fold-{fold}/calls.jsonl").write_bytes(lines)
            raise JudgeError("most judgements cannot be read")

    failing = 2
    bench = make_bench("bench")
    bench.before = before
    bench.tune()
    data = bench.data()
    assert data["trials"][2]["reason"] == "most judgements cannot be read"
    assert data["states"] == {"complete": 3, "failed": 1}
    assert data["bill"]["lm_calls"] == 603  # what it cost is in the bill
    failing = 0
    other = make_bench("other")
    other.before = before
    shutil.rmtree(bench.folder / "trials")
    with pytest.raises(JudgeError):
        other.tune()


def test_what_falls_behind_is_pruned(bench: Bench) -> None:
    """A trial below the median of those before ends after its fold; the config's own settings never do."""
    bench.tune(bench.study(pruner=Pruner.MEDIAN), trials=9)
    trials = bench.data()["trials"]
    pruned = [trial for trial in trials if trial["state"] == "pruned"]
    assert pruned
    assert all(len(trial["folds"]) == 1 for trial in pruned)
    complete = [trial["folds"][0]["gain"] for trial in trials if trial["state"] == "complete"]
    assert min(trial["folds"][0]["gain"] for trial in pruned) < max(complete)
    assert trials[0]["state"] == "complete"


def test_time_is_up(bench: Bench) -> None:
    """No compile begins after the timeout; the next start goes on."""
    assert bench.tune(seconds=0.0) == "0 seconds are over"
    assert bench.made == []


@pytest.mark.slow
def test_importances_need_enough_trials(bench: Bench) -> None:
    """They are told once there are enough; what decides the value leads them."""
    bench.tune(trials=4, folds=1)
    assert bench.data()["importances"] is None
    bench.tune(trials=12, folds=1)
    importances = bench.data()["importances"]
    assert max(importances, key=importances.__getitem__) == "depth"


def test_another_config_is_refused(bench: Bench) -> None:
    """A study holds trials of one config only."""
    bench.study()
    with pytest.raises(ConfigError, match=r"study 's' is of another config \(config differ"):
        bench.study(identity={"config": 2})


@pytest.mark.parametrize(
    ("url", "error", "said"),
    [
        ("nonsense", ConfigError, "--storage: cannot be used"),
        ("sqlite:////nowhere/at/all.db", ConfigError, "--storage: cannot be used"),
        (
            "postgresql://me:hunter2-secret@host/db",
            MissingDependencyError,
            "pip install '(psycopg.binary.|psycopg2-binary)'",
        ),
        ("mysql://me:hunter2-secret@host/db", MissingDependencyError, "'MySQLdb', is not installed.* 'mysqlclient'"),
        ("mysql+pymysql://me:hunter2-secret@host/db", MissingDependencyError, "pip install 'pymysql'"),
    ],
)
def test_storages_that_cannot_be_used(
    bench: Bench, url: str, error: type[Exception], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says what is wrong and what to do, and shows no password."""
    for driver in ("psycopg", "psycopg2", "MySQLdb", "pymysql"):
        monkeypatch.setitem(sys.modules, driver, None)  # as if it were not installed
    with pytest.raises(error, match=said) as raised:
        Study(url, "s", identity={}, directory=bench.folder, given=(), seed=0, pruner=Pruner.NONE, folds=1)
    assert "hunter2" not in str(raised.value)


def test_no_connection_to_a_file_stays_open(bench: Bench) -> None:
    """Between its operations a study holds no file of its storage open: nobody would close it."""
    study = bench.study()
    assert bench.tune(study, trials=2) is None
    assert not [link for link in map(os.path.realpath, Path("/proc/self/fd").iterdir()) if "study.db" in link]
