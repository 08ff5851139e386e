"""What a rewriter is told in the default search: where a candidate loses points, and answers that show it.

One query's judgement, which the paper's rewriter sees, names what went wrong there; the mean over a minibatch says what
goes wrong often. Each of a node's rewrites gets another share of the complaints, so that siblings do not all repair
the same thing:

    points lost on criterion c = sum over judged answers of 5 - score
    share i = the `CRITERIA_PER_SHARE` criteria with most points lost, each counted half after every share it was in
    answers shown = those that lose most on the share's criteria, the least often shown ones first
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..metrics.judgement import Feedback
from ..programs.boundary import enclose, one_line
from ..programs.text import render_inputs
from .board import Board, Member
from .candidates import Candidate
from .evaluation import Judged

CRITERIA_PER_SHARE = 2
"""How many criteria one rewrite is pointed at; the rewriter is told to add at most two rules."""
ANSWERS_SHOWN = 3
"""How many answers a rewrite sees at most."""
DISCOUNT = 0.5
"""What a criterion's lost points are multiplied by after each share it was in."""


@dataclass(frozen=True)
class Complaint:
    """What one rewrite is made from."""

    text: str
    """What the rewriter reads."""
    feedback: Feedback
    """The same for a proposer of the user's: text, mean reward and mean scores of the answers shown."""
    queries: tuple[str, ...]
    """The queries shown."""


class Complaints:
    """Hands out the shares; it remembers which queries were shown, so that none is shown more often by accident."""

    def __init__(self) -> None:
        self._shown: Counter[str] = Counter()

    def shares(
        self, board: Board[Candidate], member: Member[Candidate], number: int, *, predictor: str | None
    ) -> list[Complaint]:
        """Return the complaints about a member, one per rewrite; none if nothing it did was judged.

        Args:
            board: What was judged.
            member: Who is to be rewritten.
            number: How many rewrites.
            predictor: Whose steps are shown beside the answers; None: the program has no other.
        """
        judged = [
            evaluation.detail
            for evaluation in board.evaluations(member).values()
            if evaluation.reward is not None and evaluation.detail.feedback is not None
        ]
        if not judged:
            return []
        lost = points_lost(judged)
        said = _summary(judged, lost, _changes(board, member))
        return [self._share(judged, _focus(lost), said, predictor) for _ in range(number)]

    def _share(self, judged: Sequence[Judged], focus: Sequence[str], said: str, predictor: str | None) -> Complaint:
        def order(one: Judged) -> tuple[float, int, float]:
            deficit: float = sum(5 - score.value for score in one.scores if score.value and score.criterion in focus)
            if not focus:
                deficit = 5 - (one.reward or 0.0)
            # Halved for each time it was shown: a query that is always the worst must not be the only one seen.
            times = self._shown[one.query]
            return -deficit / 2**times, times, one.reward or 0.0

        shown = sorted(judged, key=order)[:ANSWERS_SHOWN]
        self._shown.update(one.query for one in shown)
        text = "\n\n".join([*([said] if said else []), *(_told(one, focus, predictor) for one in shown)])
        known = [one.feedback for one in shown if one.feedback is not None]
        score = sum(feedback.score for feedback in known) / len(known)
        return Complaint(text, Feedback(text, score, _means(shown)), tuple(one.query for one in shown))


def points_lost(judged: Sequence[Judged]) -> dict[str, float]:
    """Return criterion to points lost over all answers, most first; perfect ones are left out."""
    lost: dict[str, float] = defaultdict(float)
    for one in judged:
        for score in one.scores:
            if score.value is not None:
                lost[score.criterion] += 5 - score.value
    return {name: points for name, points in sorted(lost.items(), key=lambda pair: (-pair[1], pair[0])) if points > 0}


def _focus(lost: dict[str, float]) -> list[str]:
    """Return the criteria of the next share, and discount them."""
    focus = sorted(lost, key=lambda name: (-lost[name], name))[:CRITERIA_PER_SHARE]
    for name in focus:
        lost[name] *= DISCOUNT
    return focus


def _told(one: Judged, focus: Sequence[str], predictor: str | None) -> str:
    """Return one judged answer: the query, what the predictor did where there are several, the answer, the verdicts."""
    steps = [
        enclose("step", render_inputs({**step.inputs, **step.outputs}))
        for step in one.steps
        if step.predictor == predictor
    ]
    if not focus or not one.scores:
        return "\n".join([*([one.feedback.text] if one.feedback is not None else []), *steps])
    lines = [
        f"- {one_line(score.criterion)}: {score.value} of 5. {one_line(score.rationale)}".rstrip()
        for score in one.scores
        if score.value is not None and score.criterion in focus
    ]
    return "\n".join([enclose("query", one.query), *steps, enclose("answer", one.answer), *lines])


def _summary(judged: Sequence[Judged], lost: Mapping[str, float], changes: Mapping[str, float]) -> str:
    """Return what stands before the answers: where points go, and what the last rewrite changed."""
    lines = []
    if lost:
        asked = Counter(score.criterion for one in judged for score in one.scores)
        named = [f"{one_line(name)} ({points:.0f} points lost, asked of {asked[name]})" for name, points in
                 list(lost.items())[:6]]  # fmt: skip
        lines.append(f"Where {len(judged)} answers lost points: {'; '.join(named)}.")
    if changes:
        named = [f"{one_line(name)} ({'up' if change > 0 else 'down'} by {abs(change):.1f})" for name, change in
                 changes.items()]  # fmt: skip
        lines.append(f"Since the instruction before this one, on the same queries: {'; '.join(named)}.")
    return "\n".join(lines)


def _changes(board: Board[Candidate], member: Member[Candidate]) -> dict[str, float]:
    """Return by how much each criterion's mean changed from the parent to the member, on queries both answered."""
    if member.parent is None:
        return {}
    before, after = board.evaluations(member.parent), board.evaluations(member)
    changes: dict[str, list[int]] = defaultdict(list)
    for query in after:
        old = _scores(before[query].detail) if query in before else {}
        for name, value in _scores(after[query].detail).items():
            if name in old:
                changes[name].append(value - old[name])
    means = {name: sum(values) / len(values) for name, values in sorted(changes.items())}
    return {name: change for name, change in means.items() if abs(change) >= 0.1}


def _scores(judged: Judged) -> dict[str, int]:
    return {score.criterion: score.value for score in judged.scores if score.value is not None}


def _means(judged: Sequence[Judged]) -> dict[str, float]:
    scores: dict[str, list[int]] = defaultdict(list)
    for one in judged:
        for score in one.scores:
            if score.value is not None:
                scores[score.criterion].append(score.value)
    return {name: sum(values) / len(values) for name, values in scores.items()}
