"""What `drpo tune` does: choose the settings of a config's search by trying them, and write a config with the best.

DIR/study.db            the study, unless --storage names another place
DIR/trials/N/fold-F/    one compile of trial N, a run directory
DIR/confirmation/N/     compiles with the settings of trial N and the config's own, on folds that no trial saw
DIR/tuning.json         the figures, under fixed keys
DIR/tuned.yaml          the config with the best settings

Every trial is measured on the same folds: each has its own seed and its own held-out prompts (or those of
`data.num_val`, if the config holds out some itself).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import dspy
import yaml
from pydantic import ValidationError

from ..configs.problems import problems
from ..configs.prompts import load_prompts
from ..configs.redaction import HIDDEN, redacted
from ..configs.settings import RunSettings
from ..errors import ConfigError
from ..metrics.reward import query_of
from ..reports.tuning import header
from ..serving.engine import build_lm
from ..serving.settings import LMSettings
from ..serving.simulated.world import World
from ..teleprompters.drpo import DRPOTeleprompter
from ..teleprompters.plan import expected_calls
from ..teleprompters.presets import MinibatchSettings, search_settings
from ..teleprompters.result import FEWEST_PAIRS
from ..teleprompters.roles import digest
from ..teleprompters.run_directory import saved_state
from ..teleprompters.tuning.allowance import KINDS, Bounds, with_bounds
from ..teleprompters.tuning.confirmation import Confirmation
from ..teleprompters.tuning.loop import Compiler, Limits, tune
from ..teleprompters.tuning.objective import Objective
from ..teleprompters.tuning.space import Range, Space, space_of
from ..teleprompters.tuning.studies import Pruner, Study
from ..teleprompters.tuning.tuning_data import tuning_data
from .compiling import ARGUMENTS, responder_of, reward_of
from .resuming import signed
from .servers import Say, servers_of

SETTINGS = ("beam_size", "n_actions", "depth", "max_depth_increase", "minibatch_size", "temperature", "k", "demo_iters")
"""What makes the settings of a search."""
HELD_OUT_OF_PAPER = 60
"""Prompts held out per fold for the paper's search, which has no such setting."""
_ELSEWHERE = frozenset(
    {"tune", "serve", "data", "num_threads", "outage_patience", "seed", "lms", *map(str, KINDS), "max_seconds"}
)


@dataclass(frozen=True)
class Tuned:
    """What `drpo tune` found."""

    data: dict[str, Any]
    """What `tuning.json` says."""
    directory: Path
    """Where it lies."""


def tuning(settings: RunSettings, *, log_dir: Path | None, storage: str | None, study: str | None, say: Say) -> Tuned:
    """Tune the search of a config; the same call goes on with a tuning that was interrupted.

    Args:
        settings: The config; `tune:` says what is tried.
        log_dir: Where trials and results are kept. None: `runs/` and the study's name.
        storage: URL of the study's storage. None: a SQLite file in `log_dir`.
        study: The study's name. None: from the config.
        say: Told each fold.

    Raises:
        DRPOError: If something is wrong; what can be checked is checked before the first call.
        KeyboardInterrupt: After Ctrl-C; the results so far are written.
    """
    settings.check_environment()
    work = _Work(settings)
    name = study or f"drpo-{digest(work.identity)[:12]}"
    directory = log_dir or Path("runs") / name
    say(f"study {name}: {len(work.space)} settings, {work.folds} folds, {settings.tune.trials} trials at most")
    for line in work.plan():
        say(line)
    opened = Study(
        storage or f"sqlite:///{(directory / 'study.db').absolute()}",
        name,
        identity=work.identity,
        directory=directory,
        given=() if work.own is None else (work.own,),
        seed=settings.seed,
        pruner=Pruner(settings.tune.pruner),
        folds=work.folds,
    )
    if work.own is None:
        say("the config's own settings are outside of tune.space, so no trial has them")
    confirmation = Confirmation(opened, work.objective, work.folds, settings.tune.confirm, work.own)
    reason: str | None = "interrupted"
    data: dict[str, Any] = {}

    def write(stopped: str | None = None) -> None:
        data.clear()
        data.update(work.data(opened, confirmation, name=name, stopped=stopped))
        _write(directory / "tuning.json", _json(data))
        if data["best"] is not None:
            _write(directory / "tuned.yaml", work.tuned(data))

    world = None if settings.world is None else World.named(settings.world)
    try:
        with servers_of(settings, dict(settings.lms.roles()), log_dir=directory, say=say) as lms:
            limits, compiler = work.limits(), work.compiler(lms, world)
            stopped = tune(opened, work.space, objective=work.objective, limits=limits, compiler=compiler, say=say,
                           finished=write)  # fmt: skip
            if stopped is None:
                stopped = confirmation.run(limits=limits, compiler=compiler, say=say, finished=write)
            reason = stopped
    finally:
        write(reason)
    return Tuned(data, directory)


class _Work:
    """One tuning under way: the config, its prompts and what is tried."""

    def __init__(self, settings: RunSettings) -> None:
        self._settings, self._tune = settings, settings.tune
        data, program = settings.data, settings.program
        prompts = load_prompts(data.prompts, column=data.column, limit=data.limit, fields=program.input_fields)
        self._examples, self._valset = prompts.split(data.num_val)
        self._student = responder_of(settings)
        self._search = search_settings(settings.auto, {name: getattr(settings, name) for name in SETTINGS})
        self.folds, self.objective = self._tune.folds, Objective(self._tune.objective)
        self.space = self._space()
        own = {name: getattr(self._search, name, getattr(settings, name)) for name in self.space}
        own = {name: value or "beam" if name == "select" else value for name, value in own.items()}
        self.own = own if all(values.has(own[name]) for name, values in self.space.items()) else None
        self._caps = {kind: cap for kind in KINDS if (cap := getattr(self._tune, kind.value)) is not None}
        held = len(self._valset) or len(self.split(0)[1])
        if held < FEWEST_PAIRS:
            raise ConfigError(
                f"data.prompts: {len(self._examples)} prompts are too few to hold out {FEWEST_PAIRS} in each fold, and "
                "without so many no gain can be told; give more"
            )
        self._check_corners()

    @property
    def identity(self) -> dict[str, Any]:
        """What all processes of a study must agree on: all that a trial's value depends on."""
        told = self._settings.as_dict()
        models = {role: {"model": lm["model"], "temperature": lm["temperature"]} if lm else None
                  for role, lm in told["lms"].items()}  # fmt: skip
        return {
            **{name: value for name, value in told.items() if name not in _ELSEWHERE},
            "caps": {kind.value: told[kind.value] for kind in KINDS},
            "seed": self._settings.seed,
            "models": models,
            "prompts": digest([query_of(example) for example in [*self._examples, *self._valset]]),
            "held_out": len(self._valset),
            "student": digest(saved_state(self._student)),
            "space": {name: values.plain() for name, values in self.space.items()},
            "objective": self.objective.value,
            "folds": self.folds,
        }

    def plan(self) -> tuple[str, str]:
        """Say what a compile is about to take, and what the whole study."""
        search, held = self.split(0)
        calls, trials, fresh = self.expected({}), self._tune.trials * self.folds, 2 * self._tune.confirm
        each = "" if calls is None else f"; about {calls} calls with the config's own settings"
        every = "" if calls is None else f", about {calls * (trials + fresh):,} calls at that rate"
        return (
            f"each compile: {len(search)} prompts for the search, {len(held)} held out{each}",
            f"the study: at most {trials + fresh} compiles, {trials} in trials and {fresh} to confirm the best{every}",
        )

    def limits(self) -> Limits:
        """Return when the tuning ends; its time begins now."""
        return Limits(self._tune.trials, self.folds, self._tune.timeout, self._caps)

    def compiler(self, lms: Mapping[str, LMSettings], world: World | None) -> Compiler:
        """Return what compiles tried settings with these models."""
        own_caps = {kind.value: getattr(self._settings, kind.value) for kind in KINDS}
        return Compiler(partial(self.compile_fold, lms, world), self.expected, own_caps)

    def split(self, fold: int) -> tuple[list[dspy.Example], list[dspy.Example]]:
        """Return the prompts of a fold: those of the search, in their order, and those held out.

        Which are held out depends on the fold and each text alone, so that no trial sees others.
        """
        if self._valset:
            return list(self._examples), list(self._valset)
        size = self._search.num_val if isinstance(self._search, MinibatchSettings) else HELD_OUT_OF_PAPER
        drawn = sorted(range(len(self._examples)), key=lambda place: _draw(fold, query_of(self._examples[place])))
        held = set(drawn[: min(size, len(drawn) // 2)])
        return (
            [example for place, example in enumerate(self._examples) if place not in held],
            [example for place, example in enumerate(self._examples) if place in held],
        )

    def expected(self, tried: Mapping[str, Any]) -> int | None:
        """Return about how many calls a compile makes with some settings; None for the paper's search."""
        search = search_settings(
            self._settings.auto,
            {name: getattr(self._settings, name) for name in SETTINGS}
            | {name: value for name, value in tried.items() if name in SETTINGS},
        )
        if not isinstance(search, MinibatchSettings):
            return None
        queries, held = self.split(0)
        demos = self._settings.optimize_demos is not False and search.k > 0
        return expected_calls(search, num_train=len(queries), num_val=len(held), optimize_demos=demos)

    def compile_fold(
        self,
        lms: Mapping[str, LMSettings],
        world: World | None,
        tried: dict[str, Any],
        fold: int,
        directory: Path,
        bounds: Bounds,
    ) -> dict[str, Any]:
        """Compile with some settings, and return what `result.json` and `bill.json` say."""
        settings = self._with(tried)
        trainset, valset = self.split(fold)
        arguments = {name: getattr(settings, name) for name in ARGUMENTS}
        optimizer = DRPOTeleprompter(
            reward_of(settings),
            **{f"{role}_lm": build_lm(lm, world=world) for role, lm in lms.items()},
            **with_bounds(arguments, bounds) | {"seed": (settings.seed + fold) % 2**32},
            log_dir=directory,
            display_progress=False,
            run_config=signed(settings),
        )
        program = optimizer.compile(responder_of(settings), trainset=trainset, valset=valset)
        return dict(program.drpo_result)

    def data(self, study: Study, confirmation: Confirmation, *, name: str, stopped: str | None) -> dict[str, Any]:
        """Return what `tuning.json` says."""
        simulated = self._settings.is_simulated
        return {
            "study": name,
            **tuning_data(study, confirmation, space=self.space, simulated=simulated, stopped=stopped),
            "caps": {kind.value: cap for kind, cap in self._caps.items()},
            "seed": self._settings.seed,
        }

    def tuned(self, data: Mapping[str, Any]) -> str:
        """Return the config with the best settings, as YAML."""
        best = self._with(data["best"]["settings"])
        kept = redacted({"auto": best.auto} | best.model_dump(mode="json", exclude_defaults=True, exclude={"tune"}))
        text = yaml.safe_dump(kept, sort_keys=False, allow_unicode=True, width=110)
        lines = header(data)
        if HIDDEN in text:
            lines.append(f"{HIDDEN}: a secret, which is written nowhere. Put it back, or give it by --set.")
        return "".join(f"# {line}\n" for line in lines) + text

    def _space(self) -> Space:
        paper = not isinstance(self._search, MinibatchSettings)
        given = {name: getattr(self._settings, name) for name in (*SETTINGS, "select")}
        space = dict(
            space_of(
                paper=paper,
                optimize_demos=self._settings.optimize_demos is not False or self._settings.data.demos is not None,
                given=given,
                narrowed=self._tune.space,
            )
        )
        count = len(self._student.respond.pool) if self._settings.data.demos is not None else None
        if count is not None and "k" in space and "k" not in self._tune.space:
            space["k"] = Range(1, min(5, count))
        return space

    def _check_corners(self) -> None:
        """Refuse ranges with a value that a compile would refuse, before anything is paid for."""
        for name, values in self.space.items():
            for value in values.plain():
                tried = self._with({name: value})
                if name == "k":
                    responder_of(tried)

    def _with(self, tried: Mapping[str, Any]) -> RunSettings:
        given = {**self._settings.model_dump(mode="json"), **tried}
        try:
            return RunSettings.model_validate(given)
        except ValidationError as error:
            lines = [f"tune.space: {line}" for line in problems(error, RunSettings, given)]
            raise ConfigError("\n".join(lines)) from None


def _draw(fold: int, text: str) -> bytes:
    return hashlib.sha256(f"{fold} {text}".encode("utf-8", "surrogatepass")).digest()


def _json(data: Mapping[str, Any]) -> str:
    return json.dumps(data, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def _write(target: Path, text: str) -> None:
    """Write a file whole or not at all; several processes may."""
    partial_ = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        partial_.write_text(text, encoding="utf-8", errors="backslashreplace")
        os.replace(partial_, target)
    except OSError as error:
        raise ConfigError(f"{target}: cannot be written ({error.strerror}); free some room and go on") from error
