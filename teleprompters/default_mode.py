"""The default mode: the minibatch search over the real student, demonstrations, and the final selection.

split off held-out queries                                        (`held_out.py`)
search instructions on the others                                 (`minibatch.py`)
collect the best answers as demonstrations, improve some          (`demo_pool.py`, `demonstrations.py`)
finalists: both, instruction only, demonstrations only; the seed is the control
return the winner if it is better than the seed beyond doubt, else the seed
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import dspy

from ..errors import BudgetExceededError
from ..metrics.judgement import LEVELS, to_unit
from ..metrics.ledger import Entry
from ..programs.demo_rewriter import DemonstrationRewriter
from ..programs.rules import words
from .batches import Batches
from .board import Board, Member
from .budget import Budget, Calls, times, together
from .candidates import Candidate, candidate_of, instruct
from .demo_pool import bootstrapped, given_demonstrations, good, joined
from .demonstrations import Demonstration, improve
from .final_selection import FinalSelection, Judging, settled
from .held_out import Finalist, split
from .minibatch import Round, minibatch_search
from .minibatch_proposals import Credit, MinibatchProposals
from .plan import evaluation_calls, held_out_calls, level_calls, planned_calls
from .pool import Task
from .presets import MinibatchSettings
from .result import FEWEST_PAIRS, Decision
from .run import Outcome, Run, check_criteria
from .screening import Screen
from .selection import Select
from .trace import rounds_data, rounds_markdown, selected_data


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
            (list(run.trainset), list(run.valset))
            if run.valset
            else split(
                run.trainset,
                num_val=len(run.trainset) if settings.fill else settings.num_val,
                num_search=settings.first_size,
            )
        )
        self._predictors = len(run.root)
        self._criteria = run.criteria_calls
        self._budget = Budget(run.lms.meter)
        self._settings = self._fitting(settings)
        number = self._settings.num_val
        self._held, self._spare = self._held[:number], self._held[number:] if settings.fill else []
        self._board: Board[Candidate] = Board(length=lambda candidate: sum(len(text) for _, text in candidate))
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
        self._made = 0

    def outcome(self) -> Outcome:
        """Return what the whole run ends with."""
        run = self._run
        leader = self._search()
        demonstrations = self._demonstrations(leader)
        finals = FinalSelection(
            run, self._held, self._budget, evaluation=run.evaluation_calls, spare=self._spare,
            fill=self._settings.fill, criteria=self._criteria,
        )  # fmt: skip
        finalists = finals.finalists(
            leader.candidate, demonstrations, k=self._settings.k, search_gain=self._board.value(leader) / LEVELS
        )
        selected = finals.select(finalists)
        if selected is not None:
            self._save_trace(selected_data(selected))
        check_criteria(self._settled_criteria())
        run.check()
        comparison = selected.comparison if selected else None
        best = selected.winner if selected else finalists[0] if finalists else finals.seed
        # Without a finalist there is nothing that could be a gain; without held-out queries nothing can be said.
        decision = comparison.decision if comparison else None if finalists else Decision.NO_GAIN
        proven = decision is Decision.IMPROVED or self._choices.on_no_gain is OnNoGain.BEST
        returned = best if proven else finals.seed
        return Outcome(
            optimizer="drpo",
            program=returned.program,
            decision=decision,
            comparison=comparison,
            search_value=to_unit(self._board.expected(leader)),
            candidates=self._candidates(returned),
            num_train=len(self._queries),
            num_val=len(finals.held),
            details={
                "returned": returned.part.value,
                "winner_curse": selected.winner_curse if selected else None,
                "ablation": selected.ablation if selected else {},
                "num_demos": {name: len(demos) for name, demos in demonstrations.items()},
                "refused_proposals": {reason.value: count for reason, count in sorted(self._proposals.refused.items())},
            },
        )

    def _fitting(self, settings: MinibatchSettings) -> MinibatchSettings:
        """Return the settings with sample sizes that fit the cap on calls, in proportion."""
        num_val = min(settings.num_val, len(self._held))
        expected = planned_calls(
            settings, num_train=len(self._queries), num_val=num_val,
            predictors=self._predictors, optimize_demos=self._choices.optimize_demos, criteria=self._criteria,
        )  # fmt: skip
        share = self._budget.share(expected)
        # A `valset` of the user's may be larger than the preset's: what the plan leaves goes there.
        more = self._budget.fits(
            held_out_calls(evaluation_calls(task=self._predictors), criteria=self._criteria), besides=expected
        )
        return replace(
            settings,
            first_size=max(min(3, len(self._queries)), int(settings.first_size * share)),
            num_val=int(num_val * share) + int(min(len(self._held) - num_val, more)),
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
            depth=sys.maxsize if settings.fill and not self._budget.unlimited else settings.depth,
            first_size=settings.first_size,
            rungs=settings.rungs,
            go_on=self._affordable,
        )
        undo = self._board.mark()
        try:
            for finished in rounds:
                self._rounds.append(finished)
                undo = self._board.mark()
                if not finished.number:
                    check_criteria(self._settled_criteria())
                    run.check()
                run.progress.round(finished, self._board)
                self._save_trace()
        except BudgetExceededError as error:
            if not self._rounds:
                raise
            run.pool.settle()
            undo()  # how far the level came depends on the threads
            run.progress.say(f"stopped: {error}; the best program so far goes to the final selection")
        else:
            run.writer.check()
        return self._rounds[-1].leader

    def _affordable(self) -> bool:
        """Tell whether another level leaves enough for the final selection."""
        evaluation = self._run.evaluation_calls
        if len(self._rounds) == 1:
            self._fit_held()
        level = level_calls(self._settings, nodes=len(self._rounds[-1].beam), evaluation=evaluation)
        if len(self._rounds) > self._settings.depth:
            return self._more(level)
        return self._run.affords(
            level, final=times(len(self._held), held_out_calls(evaluation, criteria=self._criteria))
        )

    def _more(self, level: Calls) -> bool:
        """Tell whether a level beyond `depth` leaves all that follows on every held-out query; only `fill` asks."""
        made = self._run.lms.meter.totals("requests")
        idle, self._made = made == self._made, made
        rest = self._planned(depth=0, num_val=len(self._held) + len(self._spare))
        return not idle and self._budget.fits(together(level, rest)) >= 1

    def _fit_held(self) -> None:
        """Hold out fewer queries if the plan is more than what is left: now it is known what a call takes."""
        planned = self._planned(depth=self._settings.depth, num_val=len(self._held))
        share = min(1.0, self._budget.fits(planned))
        number = max(FEWEST_PAIRS, int(len(self._held) * share))
        if self._settings.fill:
            self._spare = [*self._held[number:], *self._spare]
        self._held = self._held[:number]

    def _planned(self, *, depth: int, num_val: int) -> Calls:
        """Return the calls of what follows the seed's judgement: levels, demonstrations, final selection."""
        return planned_calls(
            replace(self._settings, first_size=0, depth=depth), num_train=0, num_val=num_val,
            predictors=self._predictors, optimize_demos=self._choices.optimize_demos, criteria=self._criteria,
        )  # fmt: skip

    def _start(self, member: Member[Candidate], query: int) -> Judging:
        if member.number not in self._programs:
            self._programs[member.number] = instruct(self._run.working, member.candidate)
        example = self._queries[query]
        if member.parent is None:
            # The seed is first on every query: so its judgements need not wait for an answer to choose criteria.
            self._ahead.append(self._run.pool.start(f"criteria {query}", self._run.criteria_of, example))
        label = f"level {member.level} judge {member.number}/{query}"
        return Judging(self._run.pool.start(label, self._run.judge, (self._programs[member.number], example)))

    def _settled_criteria(self) -> list[Entry]:
        """Return the criteria that were chosen ahead, once all are."""
        done, self._ahead = self._ahead, []
        return [entry for task in done if (entry := settled(task)) is not None]

    def _demonstrations(self, leader: Member[Candidate]) -> dict[str, list[Demonstration]]:
        """Return per predictor the demonstrations that are worth imitating, best first."""
        run, settings, choices = self._run, self._settings, self._choices
        if not choices.optimize_demos or not settings.k or not settings.num_demos:
            return {}
        found = bootstrapped(self._board, leader, run.base, number=settings.num_demos)
        pools = joined(run.base, given_demonstrations(run.base), found)
        reward = run.lms.reward
        number = sum(map(len, pools.values()))
        run.progress.say(f"demonstrations: {number} collected")
        if reward is not None and settings.demo_iters and self._predictors == 1:
            flat = [one for pool in pools.values() for one in pool]
            try:
                improved = improve(
                    flat, reward=reward, rewriter=DemonstrationRewriter(), lm=run.lms.prompt, pool=run.pool,
                    iterations=settings.demo_iters, rewrite_given=choices.rewrite_given_demos,
                )  # fmt: skip
            except BudgetExceededError as error:
                run.pool.settle()
                run.progress.say(f"stopped: {error}; the demonstrations stay as they are")
            else:
                # A label of the user's that was improved, but not enough to be shown, stays as it was.
                best = [old if old.given and not good([new]) else new for old, new in zip(flat, improved, strict=True)]
                pools = {name: best for name in pools}
        kept = {name: good(pool) for name, pool in pools.items()}
        fresh = any(not one.given for pool in kept.values() for one in pool)
        return {name: pool for name, pool in kept.items() if pool} if fresh else {}

    def _candidates(self, returned: Finalist) -> list[dict[str, Any]]:
        """Return what is returned, then the best others, as DSPy's optimizers do.

        A score is the reward to expect on the queries of the search. The final selection has the last word: none of the
        others is listed above what it chose.
        """
        board, chosen = self._board, candidate_of(returned.program)
        members = {member.candidate: member for member in reversed(board.ranked(board.members))}
        highest = to_unit(board.expected(members[chosen]))
        order = sorted((one for one in members if one != chosen), key=lambda one: -board.value(members[one]))
        return [
            {
                "score": min(highest, to_unit(board.expected(members[candidate]))),
                "instructions": dict(candidate),
                "program": instruct(returned.program if candidate == chosen else self._run.base, candidate),
            }
            for candidate in [chosen, *order[:4]]
        ]

    def _save_trace(self, final: dict[str, Any] | None = None) -> None:
        self._run.write_trace(lambda: rounds_data(self._board, self._rounds, final=final), rounds_markdown)
