"""Confirmation: what the best trial of a study is worth on folds that no trial saw.

The best of many noisy trials was chosen for its luck too, so it looks better than it is. Its settings and the config's
own are therefore compiled again, on folds numbered after those of the trials:

    for each fresh fold, once the study has all of its trials:
        compile with the config's own settings, then with those of the best trial
    difference = mean over the fresh folds of value(best) - value(own); interval: Student's t over them, 95 %

Each fresh fold is a study of two given trials in the storage of the tuning's. So a confirmation is shared, interrupted
and capped as trials are, leaves alone what the sampler draws, and goes on when it shall have more folds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from .loop import FAILURES, Compiler, Limits, folds_of, tune
from .objective import Fold, Objective, mean_with_interval
from .space import Choices
from .studies import GRACE, Study, number_of

if TYPE_CHECKING:
    import optuna

OWN, BEST = "own", "best"
"""Whose settings are compiled."""


@dataclass(frozen=True)
class Confirmation:
    """Whether the best trial of a study is better than the config's own settings on fresh folds."""

    study: Study
    """The study; others may work on it."""
    objective: Objective
    """What is to be high."""
    folds: int
    """Folds of a trial; fresh ones are numbered after them."""
    fresh: int
    """Fresh folds, at least 0. 0: nothing is confirmed."""
    own: Mapping[str, Any] | None
    """The config's own settings. None: they are outside of what is tried."""

    def run(
        self, *, limits: Limits, compiler: Compiler, say: Callable[[str], None], finished: Callable[[], None]
    ) -> str | None:
        """Compile on the fresh folds what is not compiled yet, and return why that ended early; None if it did not.

        A compile that fails ends the confirmation, not the tuning; `missing` tells why.

        Args:
            limits: Those of the tuning, trials and confirmation together.
            compiler: Runs one compile.
            say: Told each compile.
            finished: Called after each.

        Raises:
            DRPOError: If a run directory cannot be written.
            LMError: If a model cannot be reached.
        """
        if self.fresh and not self.study.has_all(limits.trials):
            say(
                "other processes still work on trials; the last of them confirms the best (if they are dead: the same "
                f"command goes on for them, after {GRACE} s where they ran on another machine)"
            )
            return None
        best, _ = self._best()
        if best is None:
            return None
        settings: dict[str, dict[str, Any]] = {OWN: {}, BEST: dict(best.params)}
        for fold in self._fresh_folds():
            if self._failure(best):
                break
            try:
                stopped = tune(
                    self._opened(best, fold),
                    {"settings": Choices((OWN, BEST))},
                    objective=self.objective,
                    limits=replace(limits, trials=2, folds=1),
                    compiler=_of_fold(compiler, settings, fold),
                    say=say,
                    finished=finished,
                    essential=lambda number: True,
                    called=partial(self._called, number_of(best), fold),
                )
            except FAILURES:
                if not self._failure(best):
                    raise
                break
            if stopped is not None:
                return stopped
        return None

    def data(self) -> dict[str, Any] | None:
        """Return the confirmed difference of the best trial as it is now; None if it is not confirmed."""
        best, _ = self._best()
        if best is None:
            return None
        found = [self._compiled(best, fold) for fold in self._fresh_folds()]
        folds = {one: [both[one] for both in found if one in both] for one in (BEST, OWN)}
        if any(len(of) < self.fresh for of in folds.values()):
            return None
        values = {one: [fold.value(self.objective) for fold in of] for one, of in folds.items()}
        mean, interval = mean_with_interval([a - b for a, b in zip(values[BEST], values[OWN], strict=True)])
        means = {one: mean_with_interval(of) for one, of in values.items()}
        return {
            "trial": number_of(best),
            "mean": mean,
            "interval": interval,
            **{
                one: {
                    "value": means[one][0],
                    "interval": means[one][1],
                    "values": values[one],
                    "folds": [fold.as_dict() for fold in folds[one]],
                }
                for one in (BEST, OWN)
            },
        }

    def missing(self, stopped: str | None) -> str:
        """Say why the best trial is not confirmed.

        Args:
            stopped: Why the tuning ended early. None: it did not.
        """
        if self.fresh and stopped is not None:
            return f"the study ended early ({stopped})"
        best, reason = self._best()
        if best is None:
            return reason
        return self._failure(best) or "trials, or compiles of the confirmation, are still under way"

    def _best(self) -> tuple[optuna.trial.FrozenTrial | None, str]:
        """Return the trial to confirm, or None and why there is none."""
        if not self.fresh:
            return None, "tune.confirm is 0"
        best = self.study.best
        if best is None:
            return None, "no trial has all of its folds"
        if self.own is not None and best.params == self.own:
            return None, "the best settings are the config's own"
        if best.values[0] <= 0:
            return None, "no settings gained anything"
        return best, ""

    def _fresh_folds(self) -> range:
        return range(self.folds, self.folds + self.fresh)

    def _opened(self, best: optuna.trial.FrozenTrial, fold: int) -> Study:
        return self.study.beside(
            _label(best, fold),
            given=({"settings": OWN}, {"settings": BEST}),
            directory=self.study.directory / "confirmation" / f"{number_of(best):04}" / f"fold-{fold}",
            about={"settings": dict(best.params), "fold": fold},
        )

    def _compiled(self, best: optuna.trial.FrozenTrial, fold: int) -> dict[str, Fold]:
        """Return what the compiles of a fresh fold came to."""
        return {
            trial.params["settings"]: folds_of(trial.user_attrs)[0]
            for trial in self.study.trials_beside(_label(best, fold))
            if trial.state.name == "COMPLETE"
        }

    def _failure(self, best: optuna.trial.FrozenTrial) -> str | None:
        """Say which compile failed, and why."""
        for fold in self._fresh_folds():
            for trial in self.study.trials_beside(_label(best, fold)):
                if trial.state.name == "FAIL":
                    return f"{self._called(number_of(best), fold, 0, trial.params)}: {trial.user_attrs['reason']}"
        return None

    def _called(self, best: int, fold: int, number: int, settings: Mapping[str, Any]) -> str:
        whose = "the config's own settings" if settings["settings"] == OWN else f"the settings of trial {best}"
        return f"{whose} on fresh fold {fold - self.folds + 1} of {self.fresh}"


def _label(best: optuna.trial.FrozenTrial, fold: int) -> str:
    return f"trial {number_of(best)}, fold {fold}"


def _of_fold(compiler: Compiler, settings: Mapping[str, dict[str, Any]], fold: int) -> Compiler:
    """Return what compiles own or best settings on one fold."""
    return Compiler(
        lambda tried, _, place, given: compiler.compile_fold(settings[tried["settings"]], fold, place, given),
        lambda tried: compiler.expected(settings[tried["settings"]]),
        compiler.own_caps,
    )
