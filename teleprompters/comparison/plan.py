"""What a comparison is going to do: checked as a whole before anything is paid for, and told beforehand."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import dspy

from ...errors import ConfigError
from ...metrics.reward import DynamicReward, query_of
from ...programs.text import counted, normalise
from ..candidates import base_of, candidate_of
from ..drpo import check_examples
from ..held_out import split
from ..presets import check_number
from ..result import FEWEST_PAIRS
from ..roles import RunLMs, digest, resolve_lms
from ..run_config import run_config
from .entrants import BASELINES, ENTRANTS
from .units import Course, Unit


@dataclass(frozen=True)
class Plan:
    """A comparison, once everything is checked and nothing is paid for."""

    course: Course
    """What its units run on."""
    testset: tuple[dspy.Example, ...]
    """Examples that no optimizer sees."""
    units: tuple[Unit, ...]
    """What is to be run, in this order: seed by seed, baselines first."""
    optimizers: tuple[str, ...]
    """Who takes part beside the baselines."""
    left_out: tuple[str, ...]
    """Why a baseline does not take part, for each that does not."""
    seeds: tuple[int, ...]
    """How often."""

    @property
    def baselines(self) -> tuple[str, ...]:
        """The names of the baselines."""
        return tuple(dict.fromkeys(unit.entrant.name for unit in self.units if unit.entrant.name in BASELINES))

    def told(self) -> str:
        """Say what everybody will get, and about how many calls that makes."""
        course, count = self.course, len(self.optimizers) * len(self.seeds)
        queries = [*course.trainset, *self.testset]
        reward = course.lms.reward
        new = {query for example in queries if reward is not None and (query := query_of(example)) not in reward.ledger}
        choosing = len(new) if reward is not None and reward.dynamic else 0
        answered = len(candidate_of(course.student)) + 1
        judged = (count + len(self.baselines)) * len(self.testset) * answered
        total = choosing + count * course.budget + judged
        lines = [
            f"{counted(len(self.optimizers), 'optimizer')} x {counted(len(self.seeds), 'seed')}, {course.budget} calls "
            f"each, on {len(course.trainset)} prompts; baselines {', '.join(self.baselines)}; "
            f"{len(self.testset)} test prompts that no optimizer sees",
            f"at most about {total:,} calls: {choosing:,} for criteria, {count * course.budget:,} by optimizers, "
            f"{judged:,} for the test",
        ]
        for unit in self.units[: len(self.units) // len(self.seeds)]:
            if unit.settings:
                settings = ", ".join(f"{name}={value}" for name, value in unit.settings.items())
                lines.append(f"  {unit.entrant.name}: {settings}")
        return "\n".join([*lines, *(f"  left out: {reason}" for reason in self.left_out)])

    def config(self, caps: dict[str, Any], settings: dict[str, Any] | None) -> dict[str, Any]:
        """Return what `config.json` says."""
        course = self.course
        return {
            "command": "compare",
            **run_config(
                optimizer={
                    "class": "compare",
                    "budget": course.budget,
                    "seeds": list(self.seeds),
                    "entrants": {unit.name: unit.settings for unit in self.units},
                    "demos": digest(course.demos),
                },
                base=course.student, lms=course.lms, trainset=course.trainset, valset=self.testset, seed=0, caps=caps,
                settings=settings,
            ),
        }  # fmt: skip


def make_plan(
    student: dspy.Module,
    trainset: Sequence[dspy.Example],
    testset: Sequence[dspy.Example] | None,
    *,
    optimizers: Sequence[str],
    budget: int,
    seeds: int | Sequence[int],
    num_test: int,
    demos: Sequence[Mapping[str, Any]],
    num_threads: int | None,
    roles: Any,
    timeout: float | None,
    patience: float,
) -> Plan:
    """Check everything, and return what is to be done.

    Args: as of `compare`; `roles` has its `metric`, the four LMs and the `caps`.

    Raises:
        ConfigError: One line per problem.
    """
    names, roles.metric = _names(optimizers), _reward(roles.metric)
    for name, value in (("budget", budget), ("num_test", num_test), ("num_threads", num_threads)):
        if value is not None:
            check_number(name, value, 1)
    numbers = _seeds(seeds)
    train, test = _split(trainset, testset, num_test)
    base = base_of(student, k=None)
    candidate_of(base)  # a student without predictors is refused here
    lms = _uncached(resolve_lms(roles, student))
    threads = num_threads or dspy.settings.num_threads
    course = Course(
        base, train, replace(lms, timeout=timeout, patience=patience), budget, threads, tuple(map(dict, demos))
    )
    units: list[Unit] = []
    problems: list[str] = []
    left_out: list[str] = []
    for seed in numbers:
        for entrant in [*BASELINES.values(), *(ENTRANTS[name] for name in names)]:
            unit = Unit(entrant, seed, {})
            try:
                units.append(replace(unit, settings=entrant.settings(course.assignment(unit))))
            except ConfigError as error:  # nobody asked for a baseline that does not fit
                (left_out if entrant.name in BASELINES else problems).append(str(error))
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))
    return Plan(course, test, tuple(units), optimizers=names, left_out=tuple(dict.fromkeys(left_out)), seeds=numbers)


def _names(optimizers: Sequence[str]) -> tuple[str, ...]:
    if isinstance(optimizers, str):
        raise ConfigError(f"optimizers={optimizers!r}: give a list of names, even of one")
    problems = []
    for name in optimizers:
        if name in BASELINES:
            problems.append(f"optimizers: {name!r} is a baseline, and takes part in any case; leave it out")
        elif name not in ENTRANTS:
            near = difflib.get_close_matches(str(name).casefold(), ENTRANTS, n=1)
            meant = f"did you mean {near[0]!r}? " if near else ""
            problems.append(f"optimizers: {name!r} is unknown; {meant}there are {', '.join(ENTRANTS)}")
        elif list(optimizers).count(name) > 1:
            problems.append(f"optimizers: {name!r} is named twice; name it once")
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))
    return tuple(optimizers)


def _seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    if isinstance(seeds, Sequence) and not isinstance(seeds, str):
        for seed in seeds:
            check_number("seeds", seed, 0)
        if not seeds or len(set(seeds)) < len(seeds):
            raise ConfigError(f"seeds={list(seeds)!r}: give one or more, each once")
        return tuple(seeds)
    check_number("seeds", seeds, 1)
    return tuple(range(seeds))


def _split(
    trainset: Sequence[dspy.Example], testset: Sequence[dspy.Example] | None, num_test: int
) -> tuple[tuple[dspy.Example, ...], tuple[dspy.Example, ...]]:
    check_examples(trainset, name="trainset")
    if testset is None:
        train, test = split(trainset, num_val=num_test, num_search=len(trainset))
        if len(test) < FEWEST_PAIRS:
            raise ConfigError(
                f"num_test={num_test}: of {len(trainset)} prompts {len(test)} could be held out, and fewer than "
                f"{FEWEST_PAIRS} test nothing; give {2 * FEWEST_PAIRS} prompts or more, and num_test={FEWEST_PAIRS} "
                "or more"
            )
        return tuple(train), tuple(test)
    check_examples(testset, name="testset")
    if len(testset) < FEWEST_PAIRS:
        raise ConfigError(f"testset: {len(testset)} examples test nothing; give {FEWEST_PAIRS} or more")
    seen = {normalise(query_of(example)) for example in trainset}
    if both := [example for example in testset if normalise(query_of(example)) in seen]:
        raise ConfigError(
            f"testset: {counted(len(both), 'query')} of it stand in the trainset too, the first is "
            f"{query_of(both[0])[:60]!r}; take them out of one of them"
        )
    return tuple(trainset), tuple(testset)


def _reward(metric: Any) -> DynamicReward:
    if metric is not None and not isinstance(metric, DynamicReward):
        raise ConfigError(
            f"metric={metric!r}: give a DynamicReward, or None; what a comparison pins and judges by is its criteria"
        )
    return DynamicReward() if metric is None else metric


def _uncached(lms: RunLMs) -> RunLMs:
    """Return LMs without DSPy's cache: what one optimizer asked before would be free for the next."""

    def without(lm: Any) -> Any:
        return lm.copy(cache=False) if isinstance(lm, dspy.LM) else lm

    return replace(
        lms, task=without(lms.task), judge=without(lms.judge), criteria=without(lms.criteria),
        prompt=without(lms.prompt),
    )  # fmt: skip
