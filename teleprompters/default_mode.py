"""The default mode: the minibatch search over the real student, demonstrations, and the final selection.

split off held-out queries                                        (`held_out.py`)
search instructions on the others                                 (`minibatch.py`)
collect the best answers as demonstrations, improve some          (`demo_pool.py`, `demonstrations.py`)
finalists: both, instruction only, demonstrations only; the seed is the control
return the winner if it is better than the seed beyond doubt, else the seed
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

import dspy

from ..errors import BudgetExceededError
from ..metrics.ledger import Entry
from ..programs.demo_rewriter import DemonstrationRewriter
from ..programs.rules import words
from .batches import Batches
from .beam import Evaluation
from .board import Board, Member
from .budget import Budget
from .candidates import Candidate, candidate_of, instruct
from .demo_pool import Demonstrations, bootstrapped, given_demonstrations, good, with_demonstrations
from .demonstrations import Demonstration, improve
from .held_out import Finalist, Part, Selected, select_finalist, split
from .minibatch import Round, minibatch_search
from .minibatch_proposals import Credit, MinibatchProposals
from .pool import Task
from .presets import MinibatchSettings, expected_calls, level_calls
from .result import Decision
from .run import Outcome, Run, check_criteria
from .screening import Screen
from .selection import Select
from .trace import rounds_data, rounds_markdown


class OnNoGain(StrEnum):
    """What is returned if the held-out comparison shows no significant gain."""

    SEED = "seed"
    """The student as it was given."""
    BEST = "best"
    """The best finalist all the same."""


@dataclass(frozen=True)
class Choices:
    """What the user decides beside the numbers of `MinibatchSettings`."""

    select: Select
    """Which members go on from level to level."""
    credit: Credit
    """Which predictors a level rewrites."""
    on_no_gain: OnNoGain
    """What is returned without a gain."""
    optimize_demos: bool
    """Whether demonstrations are collected and improved."""
    rewrite_given_demos: bool
    """Whether demonstrations that the student has may be rewritten."""


def default_mode(run: Run, settings: MinibatchSettings, choices: Choices) -> Outcome:
    """Search, select on held-out queries, and say what came of it.

    Raises:
        BudgetExceededError: If a cap is reached before even the student was judged.
        LMError, ProgramFailureError, JudgeError: If there is nothing to judge by.
    """
    return _DefaultMode(run, settings, choices).outcome()


class _DefaultMode:
    def __init__(self, run: Run, settings: MinibatchSettings, choices: Choices) -> None:
        self._run, self._choices = run, choices
        self._queries, self._held = (
            (list(run.trainset), list(run.valset)) if run.valset else split(run.trainset, num_val=settings.num_val)
        )
        self._predictors = len(run.root)
        self._budget = Budget(run.lms.meter)
        self._settings = self._fitting(settings)
        if not run.valset:
            self._held = self._held[: self._settings.num_val]
        self._board: Board[Candidate] = Board()
        longest = max(len(words(text)) for _, text in run.root)
        self._proposals = MinibatchProposals(
            run.writer,
            n_actions=settings.n_actions,
            screen=Screen(
                [text for example in self._queries for text in map(str, example.inputs().toDict().values())],
                max_words=max(settings.max_words, longest * 3 // 2),
            ),
            max_rules=settings.max_rules,
            credit=choices.credit,
        )
        self._programs: dict[int, dspy.Module] = {}
        self._ahead: list[Task[Entry | None]] = []
        self._rounds: list[Round[Candidate]] = []

    def outcome(self) -> Outcome:
        """Return what the whole run ends with."""
        run = self._run
        leader = self._search()
        demonstrations = self._demonstrations(leader)
        finalists = self._finalists(leader, demonstrations)
        selected = self._select(finalists)
        run.check()
        comparison = selected.comparison if selected else None
        best = selected.winner if selected else finalists[0] if finalists else self._seed
        improved = comparison is not None and comparison.decision is Decision.IMPROVED
        unproven = comparison is not None and not improved
        returned = self._seed if unproven and self._choices.on_no_gain is OnNoGain.SEED else best
        return Outcome(
            optimizer="drpo",
            program=returned.program,
            comparison=comparison,
            search_value=best.search_gain,
            candidates=self._candidates(),
            num_train=len(self._queries),
            num_val=len(self._held),
            details={
                "returned": returned.part.value,
                "winner_curse": _winner_curse(finalists, selected),
                "ablation": _ablation(selected),
                "num_demos": {name: len(demos) for name, demos in demonstrations.items()},
                "refused_proposals": {reason.value: count for reason, count in sorted(self._proposals.refused.items())},
            },
        )

    def _fitting(self, settings: MinibatchSettings) -> MinibatchSettings:
        """Return the settings with sample sizes that fit the cap on calls, in proportion."""
        expected = expected_calls(
            settings, num_train=len(self._queries), num_val=min(settings.num_val, len(self._held)),
            predictors=self._predictors, optimize_demos=self._choices.optimize_demos,
        )  # fmt: skip
        share = self._budget.share(expected)
        return replace(
            settings,
            first_size=max(min(3, len(self._queries)), int(settings.first_size * share)),
            num_val=int(min(settings.num_val, len(self._held)) * share),
        )

    def _search(self) -> Member[Candidate]:
        """Return the best member of the search, as far as the caps let it go."""
        run, settings = self._run, self._settings
        rounds = minibatch_search(
            self._board,
            run.root,
            batches=Batches(self._queries, seed=run.seed),
            propose=self._proposals,
            start=self._start,
            select=self._choices.select,
            beam_size=settings.beam_size,
            depth=settings.depth,
            first_size=settings.first_size,
            rungs=settings.rungs,
            go_on=self._affordable,
        )
        try:
            for finished in rounds:
                self._rounds.append(finished)
                if not finished.number:
                    check_criteria([entry for task in self._ahead if (entry := _settled(task)) is not None])
                    run.check()
                run.progress.round(finished, self._board, run.lms.meter)
                self._save_trace()
        except BudgetExceededError as error:
            if not self._rounds:
                raise
            run.progress.say(f"stopped: {error}; the best program so far goes to the final selection")
        else:
            run.writer.check()
        return self._rounds[-1].leader

    def _affordable(self) -> bool:
        """Tell whether another level leaves enough for the final selection."""
        evaluation = self._predictors + 1
        level = level_calls(self._settings, nodes=len(self._rounds[-1].beam), evaluation=evaluation)
        final = len(self._held) * (1 + 2 * evaluation)
        if self._budget.left >= level + final:
            return True
        self._run.progress.say("the search ends here: the calls that are left are needed for the final selection")
        return False

    def _start(self, member: Member[Candidate], query: int) -> _Judging:
        if member.number not in self._programs:
            self._programs[member.number] = instruct(self._run.working, member.candidate)
        example = self._queries[query]
        if member.parent is None:
            self._ahead.append(self._criteria(example, f"criteria {query}"))
        label = f"level {member.level} judge {member.number}/{query}"
        return _Judging(self._run.pool.start(label, self._run.judge, (self._programs[member.number], example)))

    def _criteria(self, example: dspy.Example, label: str) -> Task[Entry | None]:
        """Begin to choose an example's criteria, so that its judgement need not wait for the answer to ask for them."""
        return self._run.pool.start(label, self._run.criteria_of, example)

    def _demonstrations(self, leader: Member[Candidate]) -> dict[str, list[Demonstration]]:
        """Return per predictor the demonstrations that are worth imitating, best first."""
        run, settings, choices = self._run, self._settings, self._choices
        if not choices.optimize_demos or not settings.k or not settings.num_demos:
            return {}
        found = bootstrapped(self._board, leader, run.base, number=settings.num_demos)
        given = given_demonstrations(run.base)
        pools = {name: [*given.get(name, ()), *found.get(name, ())] for name in dict(run.root)}
        reward = run.lms.reward
        if reward is not None and settings.demo_iters and self._predictors == 1:
            flat = [one for pool in pools.values() for one in pool]
            try:
                improved = improve(
                    flat, reward=reward, rewriter=DemonstrationRewriter(), lm=run.lms.prompt, pool=run.pool,
                    iterations=settings.demo_iters, rewrite_given=choices.rewrite_given_demos,
                )  # fmt: skip
            except BudgetExceededError as error:
                run.progress.say(f"stopped: {error}; the demonstrations stay as they are")
            else:
                pools = {name: improved for name in pools}
        kept = {name: good(pool) for name, pool in pools.items()}
        fresh = any(not one.given for pool in kept.values() for one in pool)
        return {name: pool for name, pool in kept.items() if pool} if fresh else {}

    @property
    def _seed(self) -> Finalist:
        run = self._run
        return Finalist(Part.SEED, run.base, run.working, dict(run.root), 0.0)

    def _finalists(self, leader: Member[Candidate], demonstrations: Demonstrations) -> list[Finalist]:
        """Return who runs in the final selection, the favourite first; nobody if the search found nothing."""
        run, k = self._run, self._settings.k
        gain = self._board.value(leader) / 4
        new = leader.candidate != run.root
        shown = bool(demonstrations)

        def finalist(part: Part, candidate: Candidate, *, demos: bool, search_gain: float | None) -> Finalist:
            base, working = run.base, run.working
            if demos:
                base, working = (with_demonstrations(one, demonstrations, k=k) for one in (base, working))
            program = instruct(base, candidate)
            return Finalist(part, program, instruct(working, candidate), dict(candidate_of(program)), search_gain)

        return [
            *([finalist(Part.BOTH, leader.candidate, demos=True, search_gain=None)] if new and shown else []),
            *([finalist(Part.INSTRUCTION, leader.candidate, demos=False, search_gain=gain)] if new else []),
            *([finalist(Part.DEMONSTRATIONS, run.root, demos=True, search_gain=None)] if shown else []),
        ]

    def _select(self, finalists: Sequence[Finalist]) -> Selected | None:
        """Return the outcome of the final selection; None if there is nothing to select from or on."""
        run, evaluation = self._run, self._predictors + 1
        early = max(4, len(self._held) // 12) if len(finalists) > 1 else 0
        spare = self._budget.left - early * (len(finalists) - 1) * evaluation
        number = int(min(len(self._held), spare // (1 + 2 * evaluation)))
        if not finalists or number < 2:
            return None
        ahead = [self._criteria(self._held[query], f"held-out criteria {query}") for query in range(number)]
        rungs = [min(early, number), number - min(early, number)] if early else [number]

        def start(finalist: Finalist, query: int) -> _Judging:
            label = f"held-out {finalist.part.value}/{query}"
            return _Judging(run.pool.start(label, run.judge, (finalist.working, self._held[query])))

        selected = select_finalist(
            self._seed, finalists, rungs=[rung for rung in rungs if rung], start=start, bootstrap_seed=run.seed
        )
        self._ahead += ahead
        check_criteria([entry for task in self._ahead if (entry := _settled(task)) is not None])
        return selected

    def _candidates(self) -> list[dict[str, Any]]:
        distinct: dict[Candidate, float] = {}
        for member in self._board.ranked(self._board.members):
            distinct.setdefault(member.candidate, self._board.value(member) / 4)
        beam = [member.candidate for member in self._rounds[-1].beam]
        order = [*dict.fromkeys(beam), *(candidate for candidate in distinct if candidate not in beam)]
        return [self._run.described(candidate, distinct[candidate]) for candidate in order[:5]]

    def _save_trace(self) -> None:
        data = rounds_data(self._board, self._rounds)
        self._run.write_trace(data, rounds_markdown(data))


class _Judging:
    """A judgement under way, as the search waits for it."""

    def __init__(self, task: Task[Any]) -> None:
        self._task = task

    def result(self) -> Evaluation:
        judged = self._task.result()
        return Evaluation(judged.reward, detail=judged)


def _settled(task: Task[Entry | None]) -> Entry | None:
    """Return what a task found, None if a cap ended it, which is known already."""
    try:
        return task.result()
    except BudgetExceededError:
        return None


def _winner_curse(finalists: Sequence[Finalist], selected: Selected | None) -> float | None:
    """Return by how much the search thought more of its instruction than the held-out queries do, in [0, 1] units."""
    if selected is None:
        return None
    held = selected.differences.get(Part.INSTRUCTION)
    believed = next((one.search_gain for one in finalists if one.part is Part.INSTRUCTION), None)
    return None if held is None or believed is None else believed - held.mean


def _ablation(selected: Selected | None) -> dict[str, Any]:
    """Return what each part is better than the seed by, on the held-out queries that it was judged on."""
    if selected is None:
        return {}
    return {part.value: asdict(found) if found else None for part, found in selected.differences.items()}
