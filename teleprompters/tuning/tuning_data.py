"""The outcome of a tuning under fixed keys: what `tuning.json` says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..result import versions
from .confirmation import Confirmation
from .loop import folds_of, uses_of
from .objective import Fold, Objective, mean_with_interval
from .space import Space
from .studies import Study, number_of

if TYPE_CHECKING:
    import optuna

_STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running", "WAITING": "waiting"}


def tuning_data(
    study: Study, confirmation: Confirmation, *, space: Space, simulated: bool, stopped: str | None
) -> dict[str, Any]:
    """Return the figures of a study.

    Args:
        study: It.
        confirmation: Of its best trial.
        space: What was tried.
        simulated: Whether any model is a simulated one.
        stopped: Why the tuning ended early. None: it did not.
    """
    objective, found = confirmation.objective, study.best
    trials = [_trial(trial, objective) for trial in study.trials]
    complete = {trial["trial"]: trial for trial in trials if trial["state"] == "complete"}
    best = None if found is None else complete.get(number_of(found))
    own = None if confirmation.own is None else complete.get(0)
    confirmed = confirmation.data()
    return {
        "simulated": simulated,
        "objective": {"name": objective.value, "formula": objective.formula, "unit": objective.unit},
        "best": best,
        "own": own,
        "difference": _difference(best, own, objective),
        "confirmed": confirmed,
        "unconfirmed": confirmation.missing(stopped) if confirmed is None else None,
        "trials": trials,
        "states": dict(Counter(trial["state"] for trial in trials)),
        "importances": study.importances(),
        "space": {name: values.plain() for name, values in space.items()},
        "folds": confirmation.folds,
        "bill": _bill([use for trial in study.every for use in uses_of({**trial.user_attrs, "reserved": None})]),
        "stopped": stopped,
        "versions": {**versions(), "optuna": _optuna_version()},
    }


def _trial(trial: optuna.trial.FrozenTrial, objective: Objective) -> dict[str, Any]:
    folds = folds_of(trial.user_attrs)
    value, interval = mean_with_interval([fold.value(objective) for fold in folds]) if folds else (None, None)
    state = _STATES[trial.state.name]
    return {
        "trial": number_of(trial),
        "state": state,
        "value": None if state == "failed" else value,
        "interval": None if state == "failed" else interval,
        "gain": _mean([fold.gain for fold in folds]),
        "lm_calls": _mean([fold.lm_calls for fold in folds]),
        "true_gain": _mean([fold.true_gain for fold in folds if fold.true_gain is not None]),
        "settings": dict(sorted(trial.params.items())),
        "folds": [fold.as_dict() for fold in folds],
        "reason": trial.user_attrs.get("reason"),
    }


def _difference(
    best: Mapping[str, Any] | None, own: Mapping[str, Any] | None, objective: Objective
) -> dict[str, Any] | None:
    """Return what the best is better by than the config's own settings, fold by fold; None if there are not both."""
    if best is None or own is None or best["settings"] == own["settings"]:
        return None
    pairs = zip(best["folds"], own["folds"], strict=True)
    mean, interval = mean_with_interval(
        [Fold(**one).value(objective) - Fold(**two).value(objective) for one, two in pairs]
    )
    return {"mean": mean, "interval": interval}


def _bill(uses: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what all compiles of the study took, those that came to nothing too."""
    costs = [use["cost"] for use in uses]
    return {
        "compiles": len(uses),
        "lm_calls": sum(use["lm_calls"] for use in uses),
        "tokens": sum(use["tokens"] for use in uses),
        "cost": None if None in costs else round(sum(costs), 12),
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _optuna_version() -> str:
    import optuna

    return str(optuna.__version__)
