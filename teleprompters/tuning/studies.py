"""The study that the workers of a tuning share: its storage, its trials, and who works on which.

A worker is one process. Several on this or other machines may share a study through its storage (SQLite by default,
else any database that Optuna takes). Each trial belongs to one worker at a time:

    same folder          a lock beside the trial's runs, which the system frees when its process dies; the next worker
                         of the folder goes on with the trial, and its record of calls pays for nothing twice
    another machine      a heartbeat in the storage; without one for `GRACE` seconds the trial is marked as failed and
                         its settings are tried again

A trial's settings follow from the seed, its number and the trials finished before it, so a tuning by one worker that
was killed and started again ends as one that was not.
"""

from __future__ import annotations

import fcntl
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ...errors import ConfigError, MissingDependencyError
from ...serving.secrets import remember, without_secrets
from .sampler import STARTUP, seeded_sampler
from .silence import quiet

if TYPE_CHECKING:
    import optuna

HEARTBEAT, GRACE = 20, 120
"""Seconds between two heartbeats of a trial, and seconds without one after which its worker counts as dead."""
OPENINGS = 5
"""How often a storage is opened whose tables another worker is making."""
_DRIVERS = {"psycopg": "psycopg[binary]", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}
"""Module of a database's driver to the package that brings it, where their names differ."""
_BESIDE = ", confirmation of "
"""What stands between a study's name and the label of one beside it."""


class Pruner(StrEnum):
    """How a trial is ended before all of its folds."""

    MEDIAN = "median"
    """Its mean so far is below the median of those of the others after as many folds."""
    HYPERBAND = "hyperband"
    """Of each bracket the best third goes on to three times as many folds."""
    NONE = "none"
    """It is not."""


class Study:
    """A study in its storage, and the folder of this worker's trials.

    Args:
        url: Of the storage, as SQLAlchemy writes it. A password in it is never shown.
        name: The study's; it is made if there is none.
        identity: What all workers must agree on, as plain data.
        directory: Where this worker keeps its trials' runs; several workers may share it.
        given: Settings of the first trials; those of the others are drawn.
        seed: Seed of the sampler.
        pruner: How trials are ended early.
        folds: Folds of a trial.
        root: The study with which this one shares its caps and its bill. None: it stands alone.

    Raises:
        ConfigError: If the storage cannot be used, or the study is of another config.
        MissingDependencyError: If the database's driver is not installed.
    """

    def __init__(
        self,
        url: str,
        name: str,
        *,
        identity: dict[str, Any],
        directory: Path,
        given: Sequence[Mapping[str, Any]],
        seed: int,
        pruner: Pruner,
        folds: int,
        root: str | None = None,
    ) -> None:
        import optuna

        self.directory = directory
        self._url, self._root, self._identity, self._given = url, root or name, identity, given
        directory.mkdir(parents=True, exist_ok=True)
        remember({"storage": url})
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with quiet():
            self._storage = _storage(url)
            self._study = optuna.create_study(
                storage=self._storage,
                study_name=name,
                sampler=seeded_sampler(seed, self._given_to),
                pruner=_pruner(pruner, folds),
                direction="maximize",
                load_if_exists=True,
            )
        self._claim(name, identity)

    @property
    def trials(self) -> list[optuna.trial.FrozenTrial]:
        """All trials that count, as they are in the storage now, in the order in which they began."""
        return [trial for trial in self._study.get_trials(deepcopy=False) if _counts(trial)]

    @property
    def every(self) -> list[optuna.trial.FrozenTrial]:
        """The same with those begun anew, and those of the studies beside it: they all cost something."""
        import optuna

        with quiet():
            names = optuna.get_all_study_names(self._storage)
            return [
                trial
                for name in names
                if name == self._root or name.startswith(f"{self._root}{_BESIDE}")
                for trial in optuna.load_study(study_name=name, storage=self._storage).get_trials(deepcopy=False)
            ]

    @property
    def best(self) -> optuna.trial.FrozenTrial | None:
        """The trial of the highest value that has all of its folds, of equals the first; None if there is none yet."""
        complete = [trial for trial in self.trials if trial.state.name == "COMPLETE"]
        return max(complete, key=lambda trial: (trial.values[0], -number_of(trial)), default=None)

    def has_all(self, limit: int) -> bool:
        """Tell whether it has its trials, and nobody works on one any longer."""
        states = [trial.state.name for trial in self.trials]
        return len(states) >= limit and not {"RUNNING", "WAITING"} & set(states)

    def beside(self, label: str, *, given: Sequence[Mapping[str, Any]], directory: Path, about: Any) -> Study:
        """Open a study of given settings in the same storage; both keep the same caps, and have one bill.

        Args:
            label: Its name beside this one's.
            given: What is tried, in one fold each.
            directory: Where this worker keeps its runs.
            about: What it is about, as plain data that all its workers must agree on.
        """
        return Study(
            self._url, self._named(label), identity={**self._identity, "about": about}, directory=directory,
            given=given, seed=0, pruner=Pruner.NONE, folds=1, root=self._root,
        )  # fmt: skip

    def trials_beside(self, label: str) -> list[optuna.trial.FrozenTrial]:
        """Return the trials that count of a study beside this one; none if nobody opened it yet."""
        import optuna

        with quiet():
            try:
                study = optuna.load_study(study_name=self._named(label), storage=self._storage)
            except KeyError:
                return []
            return [trial for trial in study.get_trials(deepcopy=False) if _counts(trial)]

    @contextmanager
    def next_trial(self, limit: int) -> Iterator[Held | None]:
        """Hold a trial: one whose worker died, else a new one; None if there are as many as there shall be.

        Args:
            limit: How many trials the study shall have.
        """
        with ExitStack() as stack:
            with quiet(), self._turn():
                held = self._adopted(stack) or self._asked(stack, limit)
            if held is not None:
                stack.enter_context(_heartbeats(self._storage, held.trial._trial_id))
            yield held

    def importances(self) -> dict[str, float] | None:
        """Return each setting's share in what makes good trials good; None while that cannot be told.

        Source:
            PED-ANOVA (Watanabe et al. 2023, 2304.10255), Optuna's own, without scikit-learn.
        """
        import optuna

        values = [trial.value for trial in self.trials if trial.state.name == "COMPLETE"]
        if len(values) < STARTUP or len(set(values)) < 3:
            return None
        with quiet(), suppress(ValueError, RuntimeError):
            # Against the whole space: the sampler itself keeps to where trials are good.
            evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=0.25, evaluate_on_local=False)
            return {
                name: round(share, 4)
                for name, share in optuna.importance.get_param_importances(self._study, evaluator=evaluator).items()
            }
        return None

    def _adopted(self, stack: ExitStack) -> Held | None:
        """Return a trial of this folder that nobody works on any longer."""
        import optuna

        for trial in self._study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            folder = self._folder(trial)
            if (folder / ".lock").exists() and (lock := _locked(folder)) is not None:
                stack.enter_context(lock)
                return Held(self._study, optuna.trial.Trial(self._study, trial._trial_id), folder)
        return None

    def _asked(self, stack: ExitStack, limit: int) -> Held | None:
        import optuna

        optuna.storages.fail_stale_trials(self._study)
        if self._taken() >= limit:
            return None
        trial = self._study.ask()
        if self._taken(before=trial.number) >= limit:  # another machine was faster
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
            return None
        folder = self._folder(trial)
        lock = _locked(folder)
        if lock is None:
            raise ConfigError(f"{folder}: in use; give this worker a --log-dir of its own, or the study another name")
        stack.enter_context(lock)
        return Held(self._study, trial, folder)

    def _given_to(self, trial: optuna.trial.FrozenTrial) -> Mapping[str, Any] | None:
        """Return the settings given to a trial; None: they are drawn. Trials begun anew push the others back."""
        if not self._given:
            return None
        place = sum(one.number < number_of(trial) and "continues" not in one.user_attrs
                    for one in self._study.get_trials(deepcopy=False))  # fmt: skip
        return self._given[place] if place < len(self._given) else None

    def _named(self, label: str) -> str:
        return f"{self._root}{_BESIDE}{label}"

    def _taken(self, before: int | None = None) -> int:
        """Return how many trials there are; those that wait for a worker are still to be taken."""
        return sum(trial.state.name != "WAITING" and (before is None or trial.number < before) for trial in self.trials)

    def _folder(self, trial: optuna.trial.FrozenTrial | optuna.Trial) -> Path:
        return self.directory / "trials" / f"{number_of(trial):04}"

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Let one worker of the folder at a time take a trial."""
        with open(self.directory / ".lock", "a", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _claim(self, name: str, identity: dict[str, Any]) -> None:
        if "identity" not in self._study.user_attrs:
            self._study.set_user_attr("identity", identity)
        before = self._study.user_attrs["identity"]
        different = sorted(key for key in before.keys() | identity.keys() if before.get(key) != identity.get(key))
        if different:
            raise ConfigError(
                f"study {name!r} is of another config ({', '.join(different)} differ); give --study another name, or "
                "leave it out"
            )


class Held:
    """A trial that this worker holds.

    Args:
        study: Its study.
        trial: It.
        directory: Where its runs are kept.
    """

    def __init__(self, study: optuna.Study, trial: optuna.Trial, directory: Path) -> None:
        self._study, self.trial, self.directory = study, trial, directory
        self.number = number_of(trial)

    def note(self, name: str, value: Any) -> None:
        """Write something down beside the trial, for all workers to see."""
        self.trial.set_user_attr(name, value)

    def report(self, value: float, *, fold: int) -> bool:
        """Say what it is worth after a fold, and return whether it should end now."""
        with quiet():
            self.trial.report(value, step=fold)
            return self.number > 0 and self.trial.should_prune()  # the first is what the others are compared with

    def complete(self, value: float) -> None:
        """End it with its value."""
        self._study.tell(self.trial, value)

    def prune(self) -> None:
        """End it early."""
        import optuna

        self._study.tell(self.trial, state=optuna.trial.TrialState.PRUNED)

    def fail(self, reason: str) -> None:
        """End it without a value."""
        import optuna

        self.note("reason", reason)
        self._study.tell(self.trial, state=optuna.trial.TrialState.FAIL)


def number_of(trial: optuna.trial.FrozenTrial | optuna.Trial) -> int:
    """Return a trial's number; that of the one whose settings it tries again, if its worker died."""
    return int(trial.user_attrs.get("continues", trial.number))


def _counts(trial: optuna.trial.FrozenTrial) -> bool:
    """Tell whether a trial is one of those that were asked for: not one that died, nor one too many."""
    return trial.state.name != "FAIL" or "reason" in trial.user_attrs


def _storage(url: str) -> optuna.storages.RDBStorage:
    try:
        return _opened(url)
    except ImportError as error:
        module = getattr(error.__cause__ or error, "name", None) or "unknown"
        raise MissingDependencyError(
            f"--storage: the driver of this database, the Python module {module!r}, is not installed; install it "
            f"beside drpo: pip install {_DRIVERS.get(module, module)!r}"
        ) from None
    except Exception as error:  # SQLAlchemy's, the driver's, Optuna's: each says what is wrong with the database
        said = without_secrets(str(error)).strip().splitlines()[0]
        raise ConfigError(
            f"--storage: cannot be used ({said}); give sqlite:///file.db, or the URL of a database that runs"
        ) from None


def _opened(url: str) -> optuna.storages.RDBStorage:
    """Open a storage; several workers that begin at once may make its tables at the same time, and all but one fail."""
    import optuna
    from sqlalchemy.pool import NullPool

    # A file's connections are cheap to make, and nobody would close those of a pool.
    local = {"connect_args": {"timeout": 60}, "poolclass": NullPool}
    for left in reversed(range(OPENINGS)):
        try:
            return optuna.storages.RDBStorage(
                url,
                engine_kwargs=local if url.startswith("sqlite") else {"pool_pre_ping": True},
                heartbeat_interval=HEARTBEAT,
                grace_period=GRACE,
                failed_trial_callback=_begin_anew,
            )
        except Exception as error:  # each driver has its own
            if not left or not re.search(r"already exists|unique|duplicate", str(error), re.IGNORECASE):
                raise
            time.sleep(0.3)
    raise AssertionError("the last opening returns or raises")


def _begin_anew(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
    """Try the settings of a trial whose worker died again; its folder is the same, should there be one."""
    study.enqueue_trial(trial.params, user_attrs={"continues": number_of(trial)})


def _pruner(pruner: Pruner, folds: int) -> optuna.pruners.BasePruner:
    import optuna

    if pruner is Pruner.MEDIAN:
        return optuna.pruners.MedianPruner(n_startup_trials=4)
    if pruner is Pruner.HYPERBAND:
        return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=folds)
    return optuna.pruners.NopPruner()


def _locked(folder: Path) -> IO[str] | None:
    """Return the lock of a trial's folder, None if another worker has it."""
    folder.mkdir(parents=True, exist_ok=True)
    file = open(folder / ".lock", "a", encoding="utf-8")  # noqa: SIM115  # whoever holds the trial closes it
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


@contextmanager
def _heartbeats(storage: optuna.storages.RDBStorage, trial_id: int) -> Iterator[None]:
    """Tell the workers on other machines that a trial is worked on."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(HEARTBEAT):
            with suppress(Exception):  # a storage that is away for a moment; who finishes the trial will be told
                storage.record_heartbeat(trial_id)

    storage.record_heartbeat(trial_id)
    thread = threading.Thread(target=beat, name="drpo-heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
