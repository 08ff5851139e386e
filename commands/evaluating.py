"""What `drpo evaluate` does: one or two programs in, their marks by a suite out, and how they differ.

    queries -> answers -> marks (one judgement per answer) -> means with intervals
                       -> both programs' answers in both orders -> win rate
                       -> paired differences, and the same at equal length

Everything is a function of the LMs' replies, which are on record before they are used: in the same directory the same
evaluation goes on where it stopped, and pays for no reply twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dspy
from dspy.utils.exceptions import LMError

from ..configs.settings import RunSettings
from ..errors import ConfigError
from ..metrics.ledger import Entry, Ledger
from ..metrics.pairwise import Duel
from ..metrics.reward import DynamicReward
from ..programs.loading import load
from ..programs.outages import is_given_up
from ..programs.responder import Responder
from ..serving.caps import CapKind, CapValue, caps_of
from ..serving.engine import build_lm
from ..serving.meter import Meter
from ..serving.roles import Role, as_lm
from ..serving.simulated.world import World
from ..teleprompters.candidates import candidate_of
from ..teleprompters.presets import check_number
from ..teleprompters.result import versions
from ..teleprompters.roles import RunLMs, digest
from ..teleprompters.run import check_criteria
from ..teleprompters.run_directory import FORMAT as DIRECTORY_FORMAT
from ..teleprompters.run_directory import saved_state
from ..teleprompters.session import Session, session
from .compiling import reward_of
from .earlier import COMPARED, FORMAT, Earlier, read_earlier
from .evaluation_plan import Plan
from .evaluation_result import Given, bill, comparison, figures, is_simulated, used, write
from .marking import Answer, Marks, duels, mark
from .servers import Say, servers_of
from .suites import SourceOfRows, Suite, SuiteName, dynamic, just_eval, suite_name

BARE = "builtin:responder"
"""The name of a `Responder` as it is before any compile, to compare with."""


def evaluate(
    program: dspy.Module | Path | str,
    other: dspy.Module | Path | str | None = None,
    *,
    data: SourceOfRows,
    suite: str = SuiteName.JUST_EVAL,
    task_lm: dspy.BaseLM | str | None = None,
    judge_lm: dspy.BaseLM | str | None = None,
    criteria_lm: dspy.BaseLM | str | None = None,
    reward: DynamicReward | None = None,
    ledger: Ledger | Path | str | None = None,
    column: str | None = None,
    against: Path | str | None = None,
    pairwise: bool = True,
    limit: int | None = None,
    seed: int = 0,
    max_lm_calls: CapValue = None,
    max_tokens: CapValue = None,
    max_cost: CapValue = None,
    max_seconds: CapValue = None,
    num_threads: int | None = None,
    max_errors: int | None = None,
    call_timeout: float | None = 600.0,
    outage_patience: float = 300.0,
    log_dir: Path | str | None = None,
    display_progress: bool | None = None,
) -> dict[str, Any]:
    """Mark one program's answers, or compare two programs, by a judge that need not be the one they were trained by.

    Args:
        program: A program, the file that it was saved in, or `builtin:responder`; with a second one, the baseline.
        other: A second program; differences are its marks minus the first one's.
        data: The suite's queries: rows with `instruction`, `category`, `dataset` and `id` for just-eval; whatever
            `drpo compile` takes as prompts for the dynamic reward.
        suite: `just-eval` (five aspects from 1 to 5, safety on safety queries) or `dynamic` (the dynamic reward).
        task_lm: Answers. None: `dspy.settings.lm`.
        judge_lm: Marks, and says which of two answers is better; it must be named.
        criteria_lm: Chooses criteria under `dynamic`. None: the judge.
        reward: The dynamic reward, under `dynamic`. None: the default one.
        ledger: Criteria by query, under `dynamic`: a run's `ledger.json` pins them. None: they are chosen anew.
        column: The column of the prompts, under `dynamic`. None: guessed.
        against: An earlier `evaluation.json` as the baseline, in place of `other`.
        pairwise: Whether two programs' answers are also compared with each other, in both orders.
        limit: How many queries are drawn, of each category and data set in proportion, at least 1. None: all.
        seed: Draws the sample and the resamples, 0 or more.
        max_lm_calls: Cap on LM calls; a number, or numbers by role. None: none. Likewise the three others.
        max_tokens: Cap on tokens.
        max_cost: Cap on dollars.
        max_seconds: Cap on seconds.
        num_threads: Calls under way at once, at least 1. None: `dspy.settings.num_threads`.
        max_errors: Failures of a program, or unreadable judgements, after which it ends. None: as `dspy.settings` says.
        call_timeout: Seconds after which a call is given up. None: never.
        outage_patience: Seconds that an outage is waited for.
        log_dir: A directory for the answers, the result and the record of calls; the same evaluation is resumed in it.
        display_progress: Whether steps are printed. None: on a terminal.

    Returns:
        What `evaluation.json` says (docs/evaluating.md), and the bill under `bill`.

    Raises:
        ConfigError: If an argument is wrong, or `against` was measured otherwise; nothing has been paid for then.
        DataError: If the queries cannot be used.
        BudgetExceededError: If a cap is reached; with a `log_dir` the evaluation can be resumed under a higher one.
        LMError: If an LM cannot be reached; likewise.

    Example:
        >>> from drpo.serving.simulated.engine import simulated_lm
        >>> from drpo.serving.simulated.world import World
        >>> lms = {f"{role}_lm": simulated_lm(role, World()) for role in ("task", "judge")}
        >>> result = evaluate(Responder(), data=["Why is the sky blue?", "How do I prune roses?"], **lms)
        >>> result["lm_calls"]["task"], result["programs"][0]["aspects"]["Clarity"]["n"]
        (2, 2)
    """
    if other is not None and against is not None:
        raise ConfigError("other and against: give a second program or an earlier result, not both")
    for argument, value, lowest in (
        ("limit", limit, 1), ("seed", seed, 0), ("num_threads", num_threads, 1), ("max_errors", max_errors, 1),
    ):  # fmt: skip
        if value is not None:
            check_number(argument, value, lowest)
    check_number("outage_patience", outage_patience, 0, whole=False)
    if call_timeout is not None and call_timeout <= 0:
        raise ConfigError(f"call_timeout={call_timeout!r}: give seconds, more than 0, or None for no limit")
    programs = [_program(one) for one in (program, other) if one is not None]
    questions = _suite(suite, programs, data, reward=reward, ledger=ledger, column=column, limit=limit, seed=seed)
    caps = dict(zip(map(str, CapKind), (max_lm_calls, max_tokens, max_cost, max_seconds), strict=True))
    lms = _lms(programs, questions, task_lm, judge_lm, criteria_lm, caps)
    begun = _begun(log_dir)
    measure = _measure(questions, lms)
    if against is not None and measure["suite_version"]["rubric"] is None:
        raise ConfigError(
            f"against={str(against)!r}: give ledger=..., the ledger.json beside it, so that criteria agree"
        )
    earlier = None if against is None else read_earlier(against, now=measure)
    plan = Plan.of(questions, [one.module for one in programs], pairwise and (other is not None or earlier is not None))
    plan.check(caps_of(caps))
    max_errors = max_errors or dspy.settings.max_errors
    config = {
        "format": DIRECTORY_FORMAT,
        "command": "evaluate",
        **measure,
        "lms": lms.described,
        "programs": [one.digest for one in programs],
        "against": earlier and earlier.digest,
        "pairwise": plan.pairs > 0,
        "seed": seed,
        "max_errors": max_errors,
        "call_timeout": call_timeout,
        "caps": caps,
        "settings": {"begun": begun},
        "versions": versions(),
    }
    with session(
        lms, log_dir=log_dir, config=config, num_threads=num_threads, timeout=call_timeout, patience=outage_patience,
        display_progress=display_progress,
    ) as running:  # fmt: skip
        running.progress.say(str(plan))
        _pin(questions, running)
        marks = [
            mark(questions, one.module, name=f"program {number}", session=running, max_errors=max_errors)
            for number, one in enumerate(programs, start=1)
        ]
        fought = _fought(questions, marks, earlier, session=running) if plan.pairs else None
        running.lms.meter.check()
        result = {
            "format": FORMAT,
            **_measure(questions, running.lms),
            "date": begun,
            "task": running.lms.described.get(Role.TASK.value),
            "criteria": running.lms.described.get(Role.CRITERIA.value),
            "programs": [figures(one, done, questions, lms) for one, done in zip(programs, marks, strict=True)],
            "comparison": comparison(programs, marks, earlier, fought, seed=seed),
            **used(running.lms.meter),
            "simulated": any(is_simulated(model) for model in lms.models.values()),
            "seed": seed,
            "limit": limit,
            "versions": versions(),
        }
        write(running, questions, programs, marks, fought, result)
    return {**result, "bill": bill(running.lms)}


def evaluate_by_config(
    settings: RunSettings, program: Path | str, other: Path | str | None = None, *, data: str | None, suite: str,
    log_dir: Path, say: Say, display_progress: bool, ledger: Path | None = None, column: str | None = None,
    against: Path | None = None, pairwise: bool = True, limit: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Evaluate saved programs as a config says, starting and stopping the servers that its LMs need.

    Args:
        settings: The config: `lms.task` answers, `lms.judge` marks, `lms.criteria` chooses criteria; its caps, `seed`,
            `num_threads` and, under `dynamic`, `reward` and `data` hold too.
        program: See `evaluate`, as for all that follow.
        other: A second program.
        data: The suite's queries. None: the config's own, under `dynamic`.
        suite: The suite.
        log_dir: The directory.
        say: Told which servers are started.
        display_progress: Whether steps are printed.
        ledger: Criteria by query.
        column: The column of the prompts.
        against: An earlier result.
        pairwise: Whether answers are compared with each other.
        limit: How many queries are drawn.

    Raises:
        DRPOError: If something is wrong; what can be checked is checked before the first call.
    """
    settings.check_environment()
    is_dynamic = suite_name(suite) is SuiteName.DYNAMIC
    if data is None and not is_dynamic:
        raise ConfigError(
            "--data is not given: name the queries, such as just_eval_instruct.jsonl of Re-Align/just-eval (not "
            "shipped) or builtin:prompts; its columns are instruction, category (regular or safety), dataset and id"
        )
    if settings.lms.judge is None:
        raise ConfigError("lms.judge is not set: name a judge by --judge, best one that the program was not trained by")
    lms = {"task": settings.lms.task, "judge": settings.lms.judge}
    if is_dynamic and settings.lms.criteria is not None:
        lms["criteria"] = settings.lms.criteria
    world = None if settings.world is None else World.named(settings.world)
    with servers_of(settings, lms, log_dir=log_dir, say=say) as reached:
        return evaluate(
            program,
            other,
            data=data or settings.data.prompts,
            suite=suite,
            **{f"{role}_lm": build_lm(lm, world=world) for role, lm in reached.items()},
            reward=reward_of(settings) if is_dynamic else None,
            ledger=ledger,
            column=column or (settings.data.column if is_dynamic and data is None else None),
            against=against,
            pairwise=pairwise,
            limit=limit,
            **{name: getattr(settings, name) for name in _ARGUMENTS},
            log_dir=log_dir,
            display_progress=display_progress,
        )


_ARGUMENTS = (
    "seed", "max_lm_calls", "max_tokens", "max_cost", "max_seconds", "num_threads", "max_errors", "call_timeout",
    "outage_patience",
)  # fmt: skip
"""The arguments that stand at the top level of a config."""


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


def _begun(log_dir: Path | str | None) -> str:
    """Return the day on which the evaluation in a directory was begun, else today."""
    if log_dir is not None:
        try:
            return str(json.loads((Path(log_dir) / "config.json").read_text(encoding="utf-8"))["settings"]["begun"])
        except (OSError, ValueError, LookupError, TypeError):
            pass
    return datetime.now(UTC).date().isoformat()


def _measure(suite: Suite, lms: RunLMs) -> dict[str, Any]:
    """Return what two results must agree in: the keys of `COMPARED`."""
    return dict(zip(COMPARED, (suite.name.value, suite.version, lms.described[Role.JUDGE.value]), strict=True))


def _pin(suite: Suite, session: Session) -> None:
    """Choose what queries are marked on, where it is not settled: before any answer, so that none has a say in it."""
    reward = session.lms.reward
    if suite.is_pinned or reward is None:
        return

    def chosen(example: dspy.Example) -> Entry | None:
        try:
            return reward.criteria_of(example)
        except LMError as error:
            if not is_given_up(error):
                raise
            return None  # asked again when the answer is judged

    check_criteria([entry for entry in session.pool.map("criteria", chosen, suite.examples) if entry is not None])


def _fought(suite: Suite, marks: Sequence[Marks], earlier: Earlier | None, *, session: Session) -> list[Duel]:
    """Return the duels of the later program's answers with the baseline's."""

    def text(answer: Answer) -> str | None:
        return answer.text if answer.text or not answer.error else None

    later = [text(answer) for answer in marks[-1].answers]
    if earlier is not None:
        baseline = [earlier.answers.get(query.id) for query in suite.queries]
    else:
        baseline = [text(answer) for answer in marks[0].answers]
    return duels(suite, list(zip(later, baseline, strict=True)), session=session)
