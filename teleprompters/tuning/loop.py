"""Tuning: try settings, measure each by whole compiles on held-out prompts, keep the best.

for each trial, until there are enough, the time is up or a cap is near:
    settings  = the config's own in the first trial, then what the sampler suggests        (`studies.py`, `space.py`)
    for each fold:
        run   = compile with them, durable in a folder of its own                          (its caller's `compile_fold`)
        value = held-out gain per 1,000 calls, mean over the folds so far                  (`objective.py`)
        below the median of the trials before: end the trial
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import BudgetExceededError, ConfigError, JudgeError, ProgramFailureError
from ...serving.caps import CapKind
from .allowance import Bounds, bounds, exceeded, own_cap, reserved
from .objective import Fold, Objective, fold_of, mean_with_interval
from .space import Space
from .spending import spent_in
from .studies import Held, Study

CompileFold = Callable[[dict[str, Any], int, Path, Bounds], Mapping[str, Any]]
"""`(settings, fold, run directory, bounds) -> result.json` of one compile."""
FAILURES = (BudgetExceededError, ConfigError, JudgeError, ProgramFailureError)
"""What ends a trial, not the tuning; an outage or a full disk ends that, and the trial goes on with the next start."""


@dataclass(frozen=True)
class Limits:
    """When a tuning ends."""

    trials: int
    """Trials of the study, over all workers."""
    folds: int
    """Compiles per trial at most."""
    seconds: float | None = None
    """After so many this worker begins no further compile. None: no limit."""
    caps: Mapping[CapKind, float] | None = None
    """What the study may use, over all workers. None: no caps."""
    begun: float = field(default_factory=time.monotonic)
    """When it began, in seconds of the monotonic clock."""


@dataclass(frozen=True)
class Compiler:
    """How settings are compiled."""

    compile_fold: CompileFold
    """Runs one compile."""
    expected: Callable[[dict[str, Any]], int | None]
    """How many calls settings are planned to take in one compile; None: unknown."""
    own_caps: Mapping[str, Any]
    """The caps that the config gives each compile."""


def _first(number: int) -> bool:
    return number == 0


def _trial(number: int, settings: Mapping[str, Any]) -> str:
    return f"trial {number}"


class _StopError(Exception):
    """No further compile may begin; the message says why."""


def tune(
    study: Study,
    space: Space,
    *,
    objective: Objective,
    limits: Limits,
    compiler: Compiler,
    say: Callable[[str], None],
    finished: Callable[[], None] = lambda: None,
    essential: Callable[[int], bool] = _first,
    called: Callable[[int, Mapping[str, Any]], str] = _trial,
) -> str | None:
    """Work on a study until it has enough trials, and return why it ended before; None if it did not.

    Args:
        study: It; other workers may share it.
        space: What is tried.
        objective: What is to be high.
        limits: When it ends.
        compiler: Runs one compile.
        say: Told each fold and trial.
        finished: Called after each trial.
        essential: Whether the tuning ends with the error of a trial of this number; else the trial fails alone.
        called: What `say` is to call a trial of this number with these settings.

    Raises:
        DRPOError: If what is essential cannot be compiled (the config's own settings), or a run directory cannot be
            written.
        LMError: If a model cannot be reached.
    """
    worker = _Worker(study, space, objective, limits, compiler, say, essential, called)
    try:
        for held in worker.trials():
            worker.work_on(held)
            finished()
    except _StopError as reason:
        say(f"stopped: {reason}")
        return str(reason)
    return None


def folds_of(attributes: Mapping[str, Any]) -> list[Fold]:
    """Return the folds that a trial has behind it, from what is written beside it."""
    found: list[Fold] = []
    while (data := attributes.get(f"fold {len(found)}")) is not None:
        found.append(Fold(**data))
    return found


def uses_of(attributes: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """Yield what each compile of a trial took, or may still take."""
    for fold in folds_of(attributes):
        yield {**fold.as_dict(), "lm_calls": fold.lm_calls + fold.errors}
    yield from (attributes[name] for name in ("reserved", "lost") if attributes.get(name) is not None)


@dataclass
class _Worker:
    study: Study
    space: Space
    objective: Objective
    limits: Limits
    compiler: Compiler
    say: Callable[[str], None]
    essential: Callable[[int], bool]
    called: Callable[[int, Mapping[str, Any]], str]

    def trials(self) -> Iterator[Held]:
        """Yield trials to work on, one after the other."""
        while True:
            self._check_time()
            with self.study.next_trial(self.limits.trials) as held:
                if held is None:
                    return
                yield held

    def work_on(self, held: Held) -> None:
        """Measure the settings of a trial, fold by fold."""
        settings = {name: values.suggest(held.trial, name) for name, values in self.space.items()}
        name = self.called(held.number, settings)
        before = folds_of(held.trial.user_attrs)
        folds: list[Fold] = []
        for number in range(self.limits.folds):
            place = held.directory / f"fold-{number}"
            which = "" if self.limits.folds == 1 else f", fold {number + 1} of {self.limits.folds}"
            if number >= len(before):  # a compile takes its time: nobody shall wonder what is going on
                self.say(f"{name}{which}: compiling")
            try:
                fold = before[number] if number < len(before) else self._fold(held, settings, number, place)
            except FAILURES as error:
                lost = spent_in(place)
                held.note("lost", lost)
                held.note("reserved", None)
                held.fail(str(error))
                if self.essential(held.number):
                    raise
                self.say(f"{name} failed: {error}")
                return
            folds.append(fold)
            value, _ = mean_with_interval([one.value(self.objective) for one in folds])
            last = number + 1 == self.limits.folds
            worth = "value so far" if which else "value"
            self.say(f"{name}{which}: gain {fold.gain:+.3f} in {fold.lm_calls} calls; {worth} {value:+.3f}")
            if held.report(value, fold=number) and not last:
                self.say(f"{name} ends early")
                held.prune()
                return
        held.complete(value)

    def _fold(self, held: Held, settings: dict[str, Any], number: int, place: Path) -> Fold:
        self._check_time()
        given = self._reserve(held, settings)
        result = self.compiler.compile_fold(settings, number, place, given)
        if (stopped := result["stopped"]) and (kind := self._bound_by(stopped, given)):
            raise BudgetExceededError(f"needs more than the {given[kind]:g} that tune.{kind} leaves to one compile")
        fold = fold_of(result)
        if fold is None:
            raise JudgeError("no gain is known: too few held-out prompts were judged under both programs")
        held.note(f"fold {number}", fold.as_dict())
        held.note("reserved", None)
        return fold

    def _reserve(self, held: Held, settings: dict[str, Any]) -> Bounds:
        """Set aside what a compile may take at most, if there are caps."""
        caps = self.limits.caps
        if not caps:
            return {}
        folds = [use for trial in self.study.every for use in uses_of({**trial.user_attrs, "reserved": None})]
        given = bounds(caps, own=self.compiler.own_caps, expected=self.compiler.expected(settings), folds=folds)
        held.note("reserved", reserved(given))
        reason = exceeded(caps, [use for trial in self.study.every for use in uses_of(trial.user_attrs)])
        if reason is not None:
            held.note("reserved", None)
            raise _StopError(reason)
        return given

    def _bound_by(self, stopped: str, given: Bounds) -> CapKind | None:
        """Return which bound of the study ended a compile, None if it was a cap of the config's."""
        return next((kind for kind in given if stopped.startswith(f"{kind}=") and self._lower(kind, given)), None)

    def _lower(self, kind: CapKind, given: Bounds) -> bool:
        own = own_cap(self.compiler.own_caps, kind)
        return own is None or given[kind] < own

    def _check_time(self) -> None:
        limit = self.limits.seconds
        if limit is not None and time.monotonic() - self.limits.begun >= limit:
            raise _StopError(f"{limit:g} seconds are over")
