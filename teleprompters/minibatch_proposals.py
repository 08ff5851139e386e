"""Proposing in the default search: rewrites on different complaints, and what they add merged into one more candidate.

    for each node of the beam, all at once:
        share 1 .. n of its complaints  ->  n rewrites                    one call each
        screen each as it arrives: repeats, copies, judge-addressing and over-long ones are refused
        merged = the node with every rule that a rewrite added, within the budget       no call
        into the race go the merged candidate and the first few rewrites alone, in case together they do harm

The merged candidate is what makes many rewrites worth their call: each repairs one weakness, and it holds all repairs.

Several predictors: which of them a level rewrites is the `credit`. `trace` takes, in turn, those that took part in the
answers judged; `round_robin` all of them in turn; `all` rewrites every one in each candidate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum

from ..metrics.judgement import to_unit
from ..programs.rules import merged
from .board import Board, Member, Origin
from .candidates import Candidate, replaced
from .complaints import Complaint, Complaints
from .minibatch import Proposed
from .pool import Task as Running
from .presets import ALONE
from .proposal import HISTORY, History, Task, Writer
from .screening import Refusal, Screen


class Credit(StrEnum):
    """Which predictors a level rewrites."""

    TRACE = "trace"
    """One of those that took part in the answers judged, in turn."""
    ROUND_ROBIN = "round_robin"
    """One after the other."""
    ALL = "all"
    """All of them in each candidate, one call each."""


class MinibatchProposals:
    """New candidates for a level of the default search.

    Args:
        writer: Asks for instructions.
        n_actions: Rewrites per node, at least 1.
        screen: Refuses candidates.
        max_rules: Most rules of a merged candidate.
        credit: Which predictors are rewritten.
    """

    def __init__(self, writer: Writer, *, n_actions: int, screen: Screen, max_rules: int, credit: Credit) -> None:
        self._writer, self._n_actions, self._screen = writer, n_actions, screen
        self._max_rules, self._credit = max_rules, credit
        self._complaints = Complaints()
        self.refused: Counter[Refusal] = Counter()
        """How many proposals were refused, by reason."""

    def __call__(
        self, board: Board[Candidate], beam: Sequence[Member[Candidate]], level: int
    ) -> Iterator[Proposed[Candidate]]:
        """Yield candidates as they arrive, node by node; all requests are made at once."""
        begun = [(member, self._names(board, member, level)) for member in beam]
        running = [
            (member, names, self._start(board, member, names, f"level {level} node {place}"))
            for place, (member, names) in enumerate(begun)
        ]
        for member, names, rows in running:
            children: list[Candidate] = []  # all of them; those of the race are yielded
            for row in rows:
                texts = {name: text for name, text in zip(names, row(), strict=True) if text}
                child = self._child(board, member, texts, children)
                if child is not None:
                    children.append(child)
                    if len(children) <= ALONE:
                        yield child, member, Origin.REWRITE
            together = self._together(member, names, children)
            known = {other.candidate for other in board.members}
            if together != member.candidate and together not in known and together not in children:
                yield together, member, Origin.MERGED
            else:
                yield from ((child, member, Origin.REWRITE) for child in children[ALONE:])

    def _names(self, board: Board[Candidate], member: Member[Candidate], level: int) -> list[str]:
        """Return the predictors to rewrite."""
        names = [name for name, _ in member.candidate]
        if self._credit is Credit.ALL or len(names) == 1:
            return names
        if self._credit is Credit.TRACE:
            details = [found.detail for found in board.evaluations(member).values() if found.detail is not None]
            took_part = {step.predictor for judged in details for step in judged.steps}
            names = [name for name in names if name in took_part] or names
        return [names[(level - 1) % len(names)]]

    def _start(
        self, board: Board[Candidate], member: Member[Candidate], names: Sequence[str], label: str
    ) -> Sequence[_Row]:
        """Begin the rewrites of a node; each row gives one text per name."""
        pool, single = self._writer.pool, len(member.candidate) == 1
        rows: list[list[Running[str | None]]] = [[] for _ in range(self._n_actions)]
        if self._writer.proposer is not None:
            return self._own(board, member, names, label)
        for name in names:
            shares = self._complaints.shares(board, member, self._n_actions, predictor=None if single else name)
            for number, share in enumerate(shares):
                task = self._task(board, member, name, share, number)
                rows[number].append(pool.start(f"{label} rewrite {name}/{number}", self._writer.rewrite, task))
        return [_Row(row) for row in rows if row]

    def _own(
        self, board: Board[Candidate], member: Member[Candidate], names: Sequence[str], label: str
    ) -> Sequence[_Row]:
        """Ask the user's proposer, once per predictor, with one share of complaints."""
        asked = [
            self._writer.pool.start(
                f"{label} propose {name}",
                lambda task: self._writer.propose(task, self._n_actions),
                self._task(board, member, name, share, 0),
            )
            for name in names
            for share in self._complaints.shares(
                board, member, 1, predictor=None if len(member.candidate) == 1 else name
            )
        ]
        return [_Row([_Nth(task, number) for task in asked]) for number in range(self._n_actions) if asked]

    def _task(
        self, board: Board[Candidate], member: Member[Candidate], name: str, share: Complaint, number: int
    ) -> Task:
        return Task(
            dict(member.candidate)[name], share.feedback, share.queries,
            self._history(board, member, name), number, scored=True,
        )  # fmt: skip

    def _history(self, board: Board[Candidate], member: Member[Candidate], name: str) -> History:
        """Return distinct earlier instructions with their scores: those on the member's path, then the best others."""
        scores: dict[str, tuple[int, float | None]] = {}
        others = [other for other in board.ranked(board.members) if board.count(other)]
        for other in [*reversed(member.path), *others]:
            score = to_unit(board.expected(other)) if board.count(other) else None
            scores.setdefault(dict(other.candidate)[name], (other.number, score))
        scores.pop(dict(member.candidate)[name], None)
        chosen = sorted(list(scores.items())[: HISTORY - 1], key=lambda item: item[1][0])
        return [(text, score) for text, (_, score) in chosen]

    def _child(
        self,
        board: Board[Candidate],
        member: Member[Candidate],
        texts: dict[str, str],
        siblings: Sequence[Candidate],
    ) -> Candidate | None:
        child = member.candidate
        for name, text in texts.items():
            known = {dict(other)[name] for other in (*(other.candidate for other in board.members), *siblings)}
            refusal = self._screen(text, known=known, parent=dict(member.candidate)[name])
            if refusal is None:
                child = replaced(child, name, text)
            else:
                self.refused[refusal] += 1
        return child if child != member.candidate else None

    def _together(self, member: Member[Candidate], names: Iterable[str], children: Sequence[Candidate]) -> Candidate:
        candidate = member.candidate
        for name in names:
            texts = [text for child in children if (text := dict(child)[name]) != dict(member.candidate)[name]]
            text = merged(
                dict(member.candidate)[name], texts, max_rules=self._max_rules, max_words=self._screen.max_words
            )
            candidate = replaced(candidate, name, text)
        return candidate


class _Row:
    """The texts of one candidate, one per predictor that is rewritten, once they have arrived."""

    def __init__(self, parts: Sequence[Running[str | None] | _Nth]) -> None:
        self._parts = parts

    def __call__(self) -> list[str | None]:
        return [part.result() for part in self._parts]


class _Nth:
    """One of the texts that the user's proposer gives at once."""

    def __init__(self, task: Running[list[str | None]], number: int) -> None:
        self._task, self._number = task, number

    def result(self) -> str | None:
        return self._task.result()[self._number]
