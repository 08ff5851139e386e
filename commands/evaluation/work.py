"""What an evaluation is asked to do, checked as a whole before anything is started or paid for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dspy

from ...errors import ConfigError
from ...metrics.ledger import Ledger
from ...metrics.reward import DynamicReward
from ...programs.loading import load
from ...programs.responder import Responder
from ...serving.caps import CapValue, caps_of
from ...serving.meter import Meter
from ...serving.roles import Role, as_lm
from ...teleprompters.candidates import candidate_of
from ...teleprompters.presets import check_number
from ...teleprompters.roles import RunLMs, digest
from ...teleprompters.run_directory import saved_state
from .earlier import COMPARED, Earlier, read_earlier
from .plan import Plan
from .result import Given
from .suites import SourceOfRows, Suite, SuiteName, dynamic, just_eval, suite_name

BARE = "builtin:responder"
"""The name of a `Responder` as it is before any compile, to compare with."""


@dataclass(frozen=True)
class Work:
    """An evaluation that is checked and not begun."""

    programs: tuple[Given, ...]
    """One or two."""
    suite: Suite
    """What they are asked and marked on."""
    lms: RunLMs
    """Who answers and who marks, not counted yet."""
    earlier: Earlier | None
    """The baseline, where it is an earlier result."""
    plan: Plan
    """How many calls it takes."""


def prepared(
    program: dspy.Module | Path | str, other: dspy.Module | Path | str | None, *, data: SourceOfRows, suite: str,
    judge_lm: Any, task_lm: Any = None, criteria_lm: Any = None, reward: DynamicReward | None,
    ledger: Ledger | Path | str | None, column: str | None, against: Path | str | None, pairwise: bool,
    limit: int | None, seed: int, caps: Mapping[str, CapValue],
) -> Work:  # fmt: skip
    """Return what is to be done, with everything checked that can be checked without a call.

    Args are those of `evaluate`; `caps` are its four caps by name.

    Raises:
        ConfigError, DataError, ProgramFileError: What is wrong.
    """
    if other is not None and against is not None:
        raise ConfigError("other and against: give a second program or an earlier result, not both")
    check_number("seed", seed, 0)
    if limit is not None:
        check_number("limit", limit, 1)
    programs = tuple(_program(one) for one in (program, other) if one is not None)
    questions = _suite(suite, programs, data, reward=reward, ledger=ledger, column=column, limit=limit, seed=seed)
    lms = _lms(programs, questions, task_lm, judge_lm, criteria_lm, caps)
    if against is not None and not questions.is_pinned:
        raise ConfigError(
            f"against={str(against)!r}: give ledger=..., the ledger.json beside it, so that criteria agree"
        )
    earlier = None if against is None else read_earlier(against, now=measure(questions, lms))
    plan = Plan.of(questions, [one.module for one in programs], pairwise and (other is not None or earlier is not None))
    plan.check(caps_of(caps))
    return Work(programs, questions, lms, earlier, plan)


def measure(suite: Suite, lms: RunLMs) -> dict[str, Any]:
    """Return what two results must agree in: the keys of `COMPARED`."""
    return dict(zip(COMPARED, (suite.name.value, suite.version, lms.described[Role.JUDGE.value]), strict=True))


def _program(given: dspy.Module | Path | str) -> Given:
    if isinstance(given, dspy.Module):
        name, module, judge = type(given).__name__, given, None
    elif str(given) == BARE:
        name, module, judge = BARE, Responder(), None
    else:
        name, module, judge = str(given), load(Path(given)), _training_judge(Path(given).parent)
    state = saved_state(module)
    state.pop("metadata", None)
    candidate_of(module)  # refused here if it has no predictor
    return Given(name, module, digest(state), judge)


def _training_judge(folder: Path) -> str | None:
    """Return the judge of a compile that wrote its program into a folder, None if there is none that says so."""
    try:
        return str(json.loads((folder / "result.json").read_text(encoding="utf-8"))["models"][Role.JUDGE.value])
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _suite(
    name: str, programs: Sequence[Given], data: SourceOfRows, *, reward: DynamicReward | None,
    ledger: Ledger | Path | str | None, column: str | None, limit: int | None, seed: int,
) -> Suite:  # fmt: skip
    fields = {tuple(one.module.predictors()[0].signature.input_fields) for one in programs}
    if len(fields) > 1:
        raise ConfigError(f"the programs have different input fields, {sorted(fields)!r}; they cannot be compared")
    inputs = next(iter(fields))
    if suite_name(name) is SuiteName.JUST_EVAL:
        for argument, value in (("ledger", ledger), ("reward", reward), ("column", column)):
            if value is not None:
                raise ConfigError(f"{argument}={value!r}: just-eval has aspects and columns of its own; leave it out")
        if len(inputs) > 1:
            raise ConfigError(f"suite='just-eval': its queries are one text, and the program has the inputs {inputs!r}")
        return just_eval(data, input_field=inputs[0], limit=limit, seed=seed)
    found = reward or DynamicReward()
    if ledger is not None:
        pinned = ledger if isinstance(ledger, Ledger) else Ledger.load(ledger)
        found = found.bound(judge_lm=found.judge_lm, criteria_lm=found.criteria_lm)
        found.ledger = Ledger({entry.query: entry for entry in pinned})
    return dynamic(data, reward=found, input_fields=inputs, column=column, limit=limit, seed=seed)


def _lms(
    programs: Sequence[Given], suite: Suite, task_lm: Any, judge_lm: Any, criteria_lm: Any, caps: Mapping[str, CapValue]
) -> RunLMs:
    task = as_lm(task_lm, name="task_lm") or dspy.settings.lm
    if task is None and any(predictor.lm is None for one in programs for predictor in one.module.predictors()):
        raise ConfigError("task_lm=None and no LM is configured: give task_lm=... or call dspy.configure(lm=...)")
    judge = as_lm(judge_lm, name="judge_lm") or suite.reward.judge_lm
    if judge is None:
        raise ConfigError(
            "judge_lm=None: name the judge, best one that the program was not trained by; the task LM would be lenient "
            "with itself"
        )
    criteria = None
    if not suite.is_pinned:
        criteria = as_lm(criteria_lm, name="criteria_lm") or suite.reward.criteria_lm or judge
    reward = suite.reward.bound(judge_lm=judge, criteria_lm=criteria or judge)
    return RunLMs(task, judge, criteria, judge, reward, Meter(caps_of(caps)))
