"""An evaluation: one or two programs in, their marks by a suite out, and how they differ.

    queries -> answers -> marks (one judgement per answer) -> means with intervals
                       -> both programs' answers in both orders -> win rate
                       -> paired differences, and the same at equal length

Everything is a function of the LMs' replies, which are on record before they are used: in the same directory the same
evaluation goes on where it stopped, and pays for no reply twice.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dspy
from dspy.utils.exceptions import LMError

from ...errors import ConfigError
from ...metrics.ledger import Entry, Ledger
from ...metrics.pairwise import Duel
from ...metrics.reward import DynamicReward
from ...programs.outages import is_given_up
from ...serving.caps import CapKind, CapValue
from ...serving.roles import Role
from ...teleprompters.presets import check_number
from ...teleprompters.result import is_simulated, versions
from ...teleprompters.run import check_criteria
from ...teleprompters.run_directory import FORMAT as DIRECTORY_FORMAT
from ...teleprompters.session import Session, session
from .earlier import FORMAT, Earlier
from .marking import Answer, Marks, duels, mark
from .result import bill, comparison, figures, used, write
from .suites import SourceOfRows, Suite, SuiteName
from .work import measure, prepared


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
        >>> from drpo import Responder
        >>> from drpo.serving.simulated.engine import simulated_lm
        >>> from drpo.serving.simulated.world import World
        >>> lms = {f"{role}_lm": simulated_lm(role, World()) for role in ("task", "judge")}
        >>> result = evaluate(Responder(), data=["Why is the sky blue?", "How do I prune roses?"], **lms)
        >>> result["lm_calls"]["task"], result["programs"][0]["aspects"]["Clarity"]["n"]
        (2, 2)
    """
    check_number("outage_patience", outage_patience, 0, whole=False)
    for argument, value in (("num_threads", num_threads), ("max_errors", max_errors)):
        if value is not None:
            check_number(argument, value, 1)
    if call_timeout is not None and call_timeout <= 0:
        raise ConfigError(f"call_timeout={call_timeout!r}: give seconds, more than 0, or None for no limit")
    caps = dict(zip(map(str, CapKind), (max_lm_calls, max_tokens, max_cost, max_seconds), strict=True))
    work = prepared(
        program, other, data=data, suite=suite, task_lm=task_lm, judge_lm=judge_lm, criteria_lm=criteria_lm,
        reward=reward, ledger=ledger, column=column, against=against, pairwise=pairwise, limit=limit, seed=seed,
        caps=caps,
    )  # fmt: skip
    programs, questions, lms, earlier, plan = work.programs, work.suite, work.lms, work.earlier, work.plan
    begun = _begun(log_dir)
    max_errors = max_errors or dspy.settings.max_errors
    config = {
        "format": DIRECTORY_FORMAT,
        "command": "evaluate",
        **measure(questions, lms),
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
            **measure(questions, running.lms),
            "date": begun,
            "task": running.lms.described.get(Role.TASK.value),
            "criteria": running.lms.described.get(Role.CRITERIA.value),
            "programs": [figures(one, done, questions, lms) for one, done in zip(programs, marks, strict=True)],
            "comparison": comparison(programs, marks, earlier, fought, seed=seed),
            **used(running.lms.meter),
            "simulated": is_simulated(lms.models),
            "seed": seed,
            "limit": limit,
            "versions": versions(),
        }
        write(running, questions, programs, marks, fought, result)
    return {**result, "bill": bill(running.lms)}


def _begun(log_dir: Path | str | None) -> str:
    """Return the day on which the evaluation in a directory was begun, else today."""
    if log_dir is not None:
        try:
            return str(json.loads((Path(log_dir) / "config.json").read_text(encoding="utf-8"))["settings"]["begun"])
        except (OSError, ValueError, LookupError, TypeError):
            pass
    return datetime.now(UTC).date().isoformat()


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
