"""Paper mode: the official search over the real student, and the comparison after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dspy

from ..errors import BudgetExceededError, ConfigError
from ..metrics.judgement import to_unit
from ..metrics.ledger import Entry
from ..metrics.statistics import mean_reward, paired_difference
from ..programs.demo_rewriter import DemonstrationRewriter
from ..serving.roles import Role
from .beam import Evaluation, Level, Node, beam_search
from .budget import Budget, times, together
from .candidates import Candidate, instruct
from .demo_pool import given_demonstrations, with_demos
from .demonstrations import Climb, improve
from .evaluation import EASY, Judged
from .plan import held_out_calls
from .presets import PaperSettings
from .proposal import Proposals
from .result import Comparison
from .run import Outcome, Run, check_criteria
from .trace import finals_data, trace_data, trace_markdown

PAPER_DEMO_ITERS = 5
"""Rewrites per demonstration in the official stage 1 (algorithm, section 2.6)."""


def paper_mode(run: Run, settings: PaperSettings, *, demo_iters: int = 0) -> Outcome:
    """Search until the end, or until a cap is reached: the best so far is the result then.

    Args:
        run: The run.
        settings: The search's.
        demo_iters: Rewrites per demonstration of the student's before the search, by the official hill climb; 0: none.

    Raises:
        BudgetExceededError: If a cap is reached before even the student was judged.
        LMError, ProgramFailureError, JudgeError: If there is nothing to judge by.
    """
    if demo_iters:
        _improve_demonstrations(run, demo_iters)
    levels = _search(run, settings)
    best = levels[-1].best
    comparison, final = _compare(run, best.candidate)
    if final is not None:
        run.write_trace(lambda: trace_data(levels, final=final), trace_markdown)
    return Outcome(
        optimizer="drpo-paper",
        program=instruct(run.base, best.candidate),
        decision=comparison.decision if comparison else None,
        comparison=comparison,
        search_value=to_unit(best.value) if best.value else None,
        candidates=_candidates(run, levels[-1]),
        num_train=len(run.trainset),
        num_val=len(run.valset),
    )


def _improve_demonstrations(run: Run, iterations: int) -> None:
    """Let the student's demonstrations climb, as stage 1 of the official code does, labels or not."""
    if run.lms.reward is None:
        raise ConfigError("optimize_demos=True: a metric of your own cannot judge demonstrations; give a DynamicReward")
    given = given_demonstrations(run.base)
    flat = [one for pool in given.values() for one in pool]
    improved = improve(
        flat, reward=run.lms.reward, rewriter=DemonstrationRewriter(), lm=run.lms.prompt, pool=run.pool,
        iterations=iterations, climb=Climb.LATEST, rewrite_given=True,
    )  # fmt: skip
    left = iter(improved)
    run.rebase(with_demos(run.base, {name: [next(left).demo() for _ in pool] for name, pool in given.items()}))


def _search(run: Run, settings: PaperSettings) -> list[Level[Candidate]]:
    found: list[Level[Candidate]] = []
    ahead = _CriteriaAhead(run)
    ahead.reach(settings.depth)
    levels = beam_search(
        run.root,
        num_queries=len(run.trainset),
        propose=Proposals(run.writer, n_actions=settings.n_actions),
        evaluate=lambda candidates, number: _evaluate(run, ahead, candidates, number),
        beam_size=settings.beam_size,
        depth=settings.depth,
        max_depth_increase=settings.max_depth_increase,
    )
    try:
        for level in levels:
            found.append(level)
            ahead.reach(level.depth)
            run.progress.level(level)
            run.write_trace(lambda: trace_data(found), trace_markdown)
            if run.valset and not _affordable(run, settings, nodes=len(level.beam)):
                break
    except BudgetExceededError as error:
        if not found:
            raise
        run.pool.settle()
        run.progress.say(f"stopped: {error}; the best program so far is returned")
    else:
        run.writer.check()
    run.check()
    return found


def _affordable(run: Run, settings: PaperSettings, *, nodes: int) -> bool:
    evaluation, rewrites = run.evaluation_calls, nodes * settings.n_actions
    level = together({Role.PROMPT: rewrites, Role.CRITERIA: 1}, times(rewrites, evaluation))
    return run.affords(level, final=times(len(run.valset), held_out_calls(evaluation)))


def _compare(run: Run, best: Candidate) -> tuple[Comparison | None, dict[str, Any] | None]:
    """Return the comparison of student and result on the held-out queries, and what the trace says of it.

    Equal ones are judged once. Nothing comes back if nothing is held out, or the caps leave nothing for it.
    """
    number = int(min(len(run.valset), Budget(run.lms.meter).fits(held_out_calls(run.evaluation_calls))))
    candidates = [run.root] if best == run.root else [run.root, best]
    programs = [instruct(run.working, candidate) for candidate in candidates]
    rewards: list[tuple[float | None, float | None]] = []
    answers: list[list[Evaluation]] = [[] for _ in programs]
    # A cap that is reached all the same costs the whole part: then the others are better than nothing.
    parts = 4 if run.lms.meter.caps else 1
    for part in range(parts if number else 0):
        examples = run.valset[number * part // parts : number * (part + 1) // parts]
        tasks = [(program, example) for program in programs for example in examples]
        try:
            judged = run.pool.map("held-out judge" + f" {part}" * (parts > 1), run.judge, tasks)
        except BudgetExceededError as error:
            run.progress.say(f"stopped: {error}; the comparison is on {len(rewards)} held-out queries")
            break
        found = [None if one.reward is None else to_unit(one.reward) for one in judged]
        rewards += zip(found[: len(examples)], found[-len(examples) :], strict=True) if examples else []
        for place, some in enumerate(answers):
            part_of = judged[place * len(examples) : (place + 1) * len(examples)]
            some += [Evaluation(one.reward, detail=one) for one in part_of]
    if not rewards:
        return None, None
    first, second = zip(*rewards, strict=True)
    comparison = Comparison(mean_reward(first), mean_reward(second), paired_difference(first, second, seed=run.seed))
    names = ("seed", "instruction")
    final = [(part, dict(one), some) for part, one, some in zip(names, candidates, answers, strict=False)]
    return comparison, finals_data(final, winner=len(final) - 1)


def _candidates(run: Run, last: Level[Candidate]) -> list[dict[str, Any]]:
    """Return the distinct candidates of the last beam, best first, as DSPy's optimizers do."""
    distinct: dict[Candidate, Node[Candidate]] = {}
    for node in last.beam:  # ties stay in the beam's order, so the first is the program returned
        distinct.setdefault(node.candidate, node)
    return [
        run.described(node.candidate, to_unit(node.value) if node.count else 0.0)
        for node in sorted(distinct.values(), key=lambda node: node.value, reverse=True)
    ]


def _evaluate(run: Run, ahead: _CriteriaAhead, candidates: Sequence[Candidate], number: int) -> list[Evaluation]:
    """Judge the candidates of a level on one query, and fetch criteria ahead meanwhile."""
    example = run.trainset[number]
    tasks: list[Any] = [(instruct(run.working, candidate), example) for candidate in candidates]

    def judge_or_fetch(task: Any) -> Judged | Entry | None:
        return run.criteria_of(task) if isinstance(task, dspy.Example) else run.judge(task)

    done = run.pool.map(f"level {number} judge", judge_or_fetch, [*tasks, *ahead.due()])
    check_criteria([entry for entry in done if isinstance(entry, Entry)])
    return [
        Evaluation(judged.reward, easy=judged.reward is not None and judged.reward > EASY, detail=judged)
        for judged in done
        if isinstance(judged, Judged)
    ]


class _CriteriaAhead:
    """Fetches the criteria of queries before they are needed, but only of those that the search reaches in any case."""

    def __init__(self, run: Run) -> None:
        self._examples = run.trainset if run.lms.reward is not None else ()
        self._fetched = self._certain = 0

    def reach(self, depth: int) -> None:
        """Say that the search will use this many queries, if there are so many."""
        self._certain = min(depth, len(self._examples))

    def due(self) -> Sequence[dspy.Example]:
        """Return the examples to fetch now, each once."""
        ahead = self._examples[self._fetched : self._certain]
        self._fetched = max(self._fetched, self._certain)
        return ahead
