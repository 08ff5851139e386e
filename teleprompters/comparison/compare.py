"""The comparison: every optimizer on the same student, prompts, models, reward and number of LM calls.

    check everything -> pin the criteria of all queries -> one unit per seed and optimizer -> judge all programs on test
    queries that no optimizer saw -> figures

The criteria are chosen first and billed apart, so that each optimizer works under the same reward and none pays for it.
An optimizer that fails is a line of the result. An outage, a wrong key or a cap on the whole ends the comparison; it
goes on where it stopped, and asks nothing that is on record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dspy
from dspy.utils.exceptions import LMError

from ...errors import BudgetExceededError
from ...metrics.reward import DynamicReward
from ...programs.outages import is_given_up
from ...programs.text import counted
from ...serving.caps import CapKind
from ...serving.meter import Meter
from ...serving.simulated import world_of
from ..candidates import candidate_of
from ..result import is_simulated, usage_data, versions
from ..roles import RunLMs
from ..run import check_criteria
from ..session import Session, session
from .figures import FORMAT, Row, entrant_figures, pair_figures
from .judging import Marks, identity, judge_programs
from .lengths import length_of
from .plan import Plan, make_plan
from .units import Ended, run_unit

OPTIMIZERS = ("drpo", "miprov2", "copro", "gepa", "simba")
"""Who takes part unless somebody is named."""


@dataclass(frozen=True)
class Compared:
    """What a comparison ended with."""

    result: dict[str, Any]
    """What `comparison.json` says."""
    programs: Mapping[str, Mapping[int, dspy.Module]]
    """Entrant to seed to the program that it ended with; those that failed are missing."""


def compare(
    student: dspy.Module,
    *,
    trainset: Sequence[dspy.Example],
    testset: Sequence[dspy.Example] | None = None,
    optimizers: Sequence[str] = OPTIMIZERS,
    budget: int = 400,
    seeds: int | Sequence[int] = 3,
    num_test: int = 60,
    demos: Sequence[Mapping[str, Any]] = (),
    metric: DynamicReward | None = None,
    task_lm: dspy.BaseLM | str | None = None,
    judge_lm: dspy.BaseLM | str | None = None,
    criteria_lm: dspy.BaseLM | str | None = None,
    prompt_lm: dspy.BaseLM | str | None = None,
    max_lm_calls: int | Mapping[str, int] | None = None,
    max_tokens: int | Mapping[str, int] | None = None,
    max_cost: float | Mapping[str, float] | None = None,
    max_seconds: float | Mapping[str, float] | None = None,
    num_threads: int | None = None,
    call_timeout: float | None = 600.0,
    outage_patience: float = 300.0,
    log_dir: str | Path | None = None,
    display_progress: bool | None = None,
    run_config: dict[str, Any] | None = None,
) -> Compared:
    """Compare prompt optimizers on a student under the dynamic reward, with equal budgets.

    Beside the optimizers named, the baselines take part, which cost no call: the student as it is (`seed`), a prompt
    written by hand with fixed demonstrations (`static`), and retrieved demonstrations only (`retrieved`).

    Args:
        student: Any DSPy program with at least one predictor; it is left as it is.
        trainset: Unlabelled examples. Every optimizer sees all of them, but for those that are held out for the test.
        testset: Examples that no optimizer sees, 8 or more. None: `num_test` of the trainset are held out.
        optimizers: Who takes part: names of `ENTRANTS`.
        budget: LM calls over all roles that an optimizer may make per seed, at least 1. What it really made is counted.
        seeds: How often each optimizer runs, at least 1, as seeds 0, 1, ...; or the seeds themselves.
        num_test: How many examples are held out without a `testset`, by a hash of their text: 8 or more. At least half
            of all stay for the optimizers.
        demos: Demonstrations, mappings with the student's fields, for the baseline `retrieved`. Without any it is left
            out. No optimizer sees them.
        metric: The reward. None: a `DynamicReward`.
        task_lm: The LM that answers. None: `dspy.settings.lm`.
        judge_lm: The LM that scores. None: the metric's, else `dspy.settings.lm` with a warning.
        criteria_lm: The LM that chooses criteria. None: the metric's, else the judge.
        prompt_lm: The LM that rewrites. None: the judge.
        max_lm_calls: A cap on the whole comparison: it ends there, to be resumed with a higher one. By role, as in
            `DRPOTeleprompter`. None: no cap.
        max_tokens: The same for tokens.
        max_cost: The same for dollars.
        max_seconds: The same for seconds.
        num_threads: Calls under way at once, at least 1. None: `dspy.settings.num_threads`.
        call_timeout: Seconds after which an LM call is given up. None: no limit.
        outage_patience: Seconds without any answer of an LM after which the comparison ends, to be resumed.
        log_dir: Where it is written down, and resumed from. None: nowhere.
        display_progress: Whether steps are printed. None: if the standard error stream is a terminal.
        run_config: Further settings that `config.json` shall show.

    Raises:
        ConfigError: If something is wrong, or a budget too small for an optimizer; nothing has been paid for then.
        LMError: If an LM cannot be reached. The comparison can be resumed through its `log_dir`.
        BudgetExceededError: If a cap on the whole is reached. It can be resumed with a higher one.
        RunDirectoryError: If `log_dir` is in use, damaged, of another comparison, or cannot be written.
        JudgeError: If no test query, or no choice of criteria, could be had of the judge.
        KeyboardInterrupt: After Ctrl-C. It can be resumed likewise.

    Example:
        >>> import dspy
        >>> from drpo import Responder
        >>> from drpo.serving.simulated.engine import simulated_lm
        >>> from drpo.serving.simulated.world import World
        >>> lms = {f"{role}_lm": simulated_lm(role, World()) for role in ("task", "judge", "criteria", "prompt")}
        >>> prompts = [dspy.Example(query=f"What is {number} in Roman?").with_inputs("query") for number in range(16)]
        >>> found = compare(Responder(), trainset=prompts, optimizers=[], seeds=1, num_test=8, **lms)
        >>> found.result["entrants"]["seed"]["gain"]
        0.0
    """
    values = (max_lm_calls, max_tokens, max_cost, max_seconds)
    caps = {kind.value: value for kind, value in zip(CapKind, values, strict=True)}
    plan = make_plan(
        student, trainset, testset, optimizers=optimizers, budget=budget, seeds=seeds, num_test=num_test,
        demos=demos, num_threads=num_threads, timeout=call_timeout, patience=outage_patience,
        roles=SimpleNamespace(
            metric=metric, task_lm=task_lm, judge_lm=judge_lm, criteria_lm=criteria_lm, prompt_lm=prompt_lm, caps=caps
        ),
    )  # fmt: skip
    config = None if log_dir is None else plan.config(caps, run_config)
    with session(
        plan.course.lms, log_dir=log_dir, config=config, num_threads=num_threads, timeout=call_timeout,
        patience=outage_patience, display_progress=display_progress,
    ) as opened:  # fmt: skip
        opened.progress.say(plan.told())
        try:
            ended, result = _compared(plan, opened)
        except BudgetExceededError as error:
            raise BudgetExceededError(f"{error}, so the comparison ends; with a higher one it can be resumed") from None
    programs: dict[str, dict[int, dspy.Module]] = {}
    for one in ended:
        if one.program is not None:
            programs.setdefault(one.unit.entrant.name, {})[one.unit.seed] = one.program
    return Compared(result, programs)


def _compared(plan: Plan, opened: Session) -> tuple[list[Ended], dict[str, Any]]:
    """Return what became of the units, and the figures."""
    course, say = replace(plan.course, directory=opened.directory), opened.progress.say
    criteria = _pin_criteria(plan, opened)
    ended = []
    for number, unit in enumerate(plan.units, start=1):
        ended.append(run_unit(course, unit))
        say(f"{number} of {len(plan.units)}: {_said(ended[-1])}")
    marks, test = _judge(plan, ended, opened)
    result = _result(plan, ended, marks, criteria=criteria, test=test)
    if opened.directory is not None:
        opened.directory.write_json("comparison.json", result)  # the last file: a directory that has it is finished
    return ended, result


def _part(plan: Plan, opened: Session) -> RunLMs:
    """Return LMs whose calls are counted apart, on the comparison's own record."""
    lms = plan.course.lms
    record = None if opened.directory is None else opened.directory.calls
    return replace(lms, meter=Meter(whole=lms.meter)).metered(record, timeout=lms.timeout, patience=lms.patience)


def _pin_criteria(plan: Plan, opened: Session) -> dict[str, Any]:
    """Choose the criteria of every query, once for all; return what that used."""
    lms = _part(plan, opened)
    reward = lms.reward
    assert reward is not None  # `make_plan` made sure
    examples = [*plan.course.trainset, *plan.testset]

    def choose(example: dspy.Example) -> Any:
        try:
            return reward.criteria_of(example)
        except LMError as error:
            if not is_given_up(error):
                raise
            return None

    opened.progress.say(f"criteria of {len(examples)} prompts")
    entries = opened.pool.map("criteria", choose, examples)
    check_criteria([entry for entry in entries if entry is not None])
    for example, entry in zip(examples, entries, strict=True):
        if entry is None:  # given up once; nobody is to pay for it later
            reward.criteria_of(example)
    if opened.directory is not None:
        opened.directory.replace("ledger.json", reward.ledger.save)
    return usage_data(lms.meter)


def _judge(plan: Plan, ended: Sequence[Ended], opened: Session) -> tuple[dict[str, Marks], dict[str, Any]]:
    """Return what each program got on the test queries, by its identity, and what that used."""
    lms = _part(plan, opened)
    programs = {identity(one.program): one.program for one in ended if one.program is not None}
    opened.progress.say(f"{counted(len(programs), 'program')} on {len(plan.testset)} test prompts")
    with dspy.context(lm=lms.task):
        marks = judge_programs(programs, plan.testset, lms=lms, pool=opened.pool)
    return marks, usage_data(lms.meter)


def _result(
    plan: Plan, ended: Sequence[Ended], marks: Mapping[str, Marks], *, criteria: dict[str, Any], test: dict[str, Any]
) -> dict[str, Any]:
    """Return what `comparison.json` says; it follows from the replies alone."""
    course, num_test = plan.course, len(plan.testset)
    world, qualities = world_of(course.lms.task), {}
    rows: dict[str, list[Row]] = {}
    for one in ended:
        name = None if one.program is None else identity(one.program)
        if world is not None and one.program is not None and name not in qualities:
            qualities[name] = world.true_quality(one.program, plan.testset)
        rows.setdefault(one.unit.entrant.name, []).append(
            Row(
                seed=one.unit.seed, told=one.told, program=name, marks=None if name is None else marks[name],
                length=None if one.program is None else length_of(one.program),
                instructions=None if one.program is None else dict(candidate_of(one.program)),
                true_quality=qualities.get(name),
            )
        )  # fmt: skip
    models = course.lms.models
    return {
        "format": FORMAT,
        "budget": course.budget,
        "seeds": list(plan.seeds),
        "num_train": len(course.trainset),
        "num_test": num_test,
        "entrants": entrant_figures(
            rows, baselines=plan.baselines, budget=course.budget, num_test=num_test, bootstrap_seed=0
        ),
        "pairs": pair_figures(rows, num_test=num_test, bootstrap_seed=0),
        "criteria": criteria,
        "test": test,
        "models": models,
        "simulated": is_simulated(models),
        "versions": versions(),
    }


def _said(ended: Ended) -> str:
    name = f"{ended.unit.entrant.name}, seed {ended.unit.seed}"
    if ended.failure is not None:
        return f"{name}: failed after {ended.calls} calls ({ended.failure['kind']}: {ended.failure['message']})"
    return f"{name}: {ended.calls} calls"
