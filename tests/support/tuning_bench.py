"""A tuning whose compiles are arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from drpo.serving.caps import CapKind
from drpo.teleprompters.tuning.confirmation import Confirmation
from drpo.teleprompters.tuning.loop import Compiler, Limits, tune
from drpo.teleprompters.tuning.objective import Objective
from drpo.teleprompters.tuning.space import Choices, Range
from drpo.teleprompters.tuning.studies import Pruner, Study
from drpo.teleprompters.tuning.tuning_data import tuning_data

SPACE = {"depth": Range(1, 4), "temperature": Range(0.2, 1.0, whole=False), "select": Choices(("beam", "mc"))}
OWN = {"depth": 2, "temperature": 0.7, "select": "beam"}


class Bench:
    """Compiles whose gain is a formula: the deeper, the better, and every fold has its own luck."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made: list[tuple[int, int, dict[str, Any]]] = []
        self.bounds: list[dict[CapKind, float]] = []
        self.before: Callable[[int, int], None] = lambda number, fold: None
        self.stopped: str | None = None

    def gain(self, settings: dict[str, Any], fold: int) -> float:
        return 0.05 * settings["depth"] - 0.02 * settings["temperature"] + 0.01 * fold

    def compile_fold(self, settings: dict[str, Any], fold: int, place: Path, bounds: Any) -> dict[str, Any]:
        number = int(place.parent.name)
        self.before(number, fold)
        self.made.append((number, fold, settings))
        self.bounds.append(dict(bounds))
        gain = self.gain({**OWN, **settings}, fold)
        return {
            "gain": gain, "gain_ci": [gain - 0.05, gain + 0.05], "decision": "improved", "returned": "both",
            "lm_calls": {"task": 100}, "tokens": {"task": 5000}, "cost": {"task": 0.25}, "seconds": {"task": 9.0}, "true_gain": None,
            "stopped": self.stopped, "bill": {"roles": {"task": {"errors": 0}}},
        }  # fmt: skip

    def study(self, **changes: Any) -> Study:
        options: dict[str, Any] = {
            "identity": {"config": 1}, "directory": self.folder, "given": [OWN], "seed": 0, "pruner": Pruner.NONE, "folds": 2,
        }  # fmt: skip
        return Study(f"sqlite:///{self.folder / 'study.db'}", "s", **{**options, **changes})

    def tune(self, study: Study | None = None, *, said: list[str] | None = None, **limits: Any) -> str | None:
        return tune(
            study or self.study(),
            SPACE,
            objective=Objective.GAIN_PER_CALL,
            limits=Limits(**{"trials": 4, "folds": 2, **limits}),
            compiler=self.compiler,
            say=([] if said is None else said).append,
        )

    @property
    def compiler(self) -> Compiler:
        return Compiler(self.compile_fold, lambda settings: 100, {})

    def confirmation(self, study: Study | None = None, *, fresh: int = 2) -> Confirmation:
        return Confirmation(study or self.study(), Objective.GAIN_PER_CALL, 2, fresh, OWN)

    def confirm(
        self, study: Study | None = None, *, fresh: int = 2, said: list[str] | None = None, **limits: Any
    ) -> str | None:
        """Work on trials, then on the confirmation, as the command does."""
        study = study or self.study()
        if stopped := self.tune(study, said=said, **limits):
            return stopped
        return self.confirmation(study, fresh=fresh).run(
            limits=Limits(**{"trials": 4, "folds": 2, **limits}), compiler=self.compiler,
            say=([] if said is None else said).append, finished=lambda: None,
        )  # fmt: skip

    def data(self, study: Study | None = None, *, fresh: int = 2, stopped: str | None = None) -> dict[str, Any]:
        study = study or self.study()
        return tuning_data(study, self.confirmation(study, fresh=fresh), space=SPACE, simulated=True, stopped=stopped)
