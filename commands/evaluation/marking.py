"""What `drpo evaluate` asks the LMs for: answers, marks, and which of two answers is better."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dspy
from dspy.utils.exceptions import LMError

from ...metrics.measures import Marked
from ...metrics.pairwise import Duel, duel
from ...metrics.reward import query_of
from ...programs.judge import Asked
from ...programs.outages import is_given_up, is_refusal
from ...programs.pairwise import PairwiseJudge
from ...serving.meter import Meter
from ...teleprompters.evaluation import LOWEST, Evaluator, Judged
from ...teleprompters.session import Session
from .suites import Query, Suite

_STEPS = 10  # lines of progress per program


@dataclass(frozen=True)
class Answer:
    """One program's answer to one query, marked."""

    query: Query
    """The query."""
    text: str
    """The answer; empty if the program failed."""
    marked: Marked
    """Its scores."""
    rationales: Mapping[str, str]
    """Aspect to what the judge says of it."""
    error: str
    """What failed, in words; empty if nothing did."""

    @property
    def digest(self) -> str:
        """A name of the text, by which `answers.jsonl` is held to belong to a result."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass(frozen=True)
class Marks:
    """All answers of one program, marked."""

    answers: tuple[Answer, ...]
    """In the order of the suite."""
    program_errors: int
    """How often the program failed: such an answer has the lowest score on everything."""

    @property
    def items(self) -> list[Marked]:
        """The scores alone."""
        return [answer.marked for answer in self.answers]


def mark(suite: Suite, program: dspy.Module, *, name: str, session: Session, max_errors: int) -> Marks:
    """Return a program's answers to all queries of a suite, each marked in one judgement.

    Args:
        suite: The suite.
        program: The program; its LM is the session's.
        name: What the record of calls knows the program by.
        session: Where the calls are made.
        max_errors: After how many failures of the program, or unreadable judgements, it makes no sense to go on.

    Raises:
        LMError: If an LM cannot be reached.
        ProgramFailureError: If the program failed so often.
        JudgeError: If most judgements cannot be read.
    """
    evaluator = Evaluator(session.lms.metric, max_errors=max_errors)
    working = session.lms.working(program)
    steps = _Steps(name, "queries marked", len(suite.queries), session)

    def answered(query: Query) -> Answer:
        answer = _answer(query, evaluator(working, query.example), suite)
        steps.done()
        return answer

    answers = tuple(session.pool.map(name, answered, suite.queries))
    evaluator.check()
    return Marks(answers, evaluator.program_errors)


def duels(suite: Suite, pairs: Sequence[tuple[str | None, str | None]], *, session: Session) -> list[Duel]:
    """Return pairs of answers compared in both orders; the first of each pair is the duel's `one`.

    Args:
        suite: The suite; an answer is compared on what its query is marked on.
        pairs: Two answers per query, in the suite's order; None: there is none, so the duel is missing.
        session: Where the calls are made.

    Raises:
        LMError: If the judge cannot be reached.
    """
    judge, judge_lm = PairwiseJudge(), session.lms.judge
    steps = _Steps("pairwise", "pairs judged in both orders", len(pairs), session)

    def judged(place: int) -> Duel:
        query = query_of(suite.queries[place].example)
        one, other = pairs[place]
        found = Duel(query, None, None)
        if one is not None and other is not None:
            criteria = [
                Asked(criterion.name, criterion.definition, criterion.best, criterion.worst)
                for criterion in suite.reward.ledger[query].criteria
            ]
            try:
                found = duel(judge, lm=judge_lm, query=query, one=one, other=other, criteria=criteria)
            except LMError as error:
                if not is_refusal(error) and not is_given_up(error):
                    raise
        steps.done()
        return found

    return session.pool.map("pairwise", judged, range(len(pairs)))


def _answer(query: Query, judged: Judged, suite: Suite) -> Answer:
    text = query_of(query.example)
    scores: dict[str, int | None]
    if judged.scores:
        scores = {score.criterion: score.value for score in judged.scores}
    else:  # the program failed, or there is no judgement at all
        entry = suite.reward.ledger.get(text)
        lowest = int(LOWEST) if judged.reward == LOWEST else None
        scores = {criterion.name: lowest for criterion in (entry.criteria if entry else ())}
    overall = judged.reward if query.has_overall else None
    if suite.strict_overall and None in scores.values():
        overall = None
    marked = Marked(
        query.id, len(judged.answer.split()), scores, overall, has_overall=query.has_overall, groups=query.groups
    )
    rationales = {score.criterion: score.rationale for score in judged.scores}
    return Answer(query, judged.answer, marked, rationales, judged.error)


class _Steps:
    """Tells about every tenth part of some work, from whatever thread."""

    def __init__(self, name: str, what: str, count: int, session: Session) -> None:
        self._name, self._what, self._count, self._session = name, what, count, session
        self._meter: Meter = session.lms.meter
        self._done = 0
        self._lock = threading.Lock()

    def done(self) -> None:
        with self._lock:
            self._done += 1
            number, every = self._done, max(1, self._count // _STEPS)
            if number % every == 0 or number == self._count:  # said in here, so that none overtakes another
                self._session.progress.say(
                    f"{self._name}: {number:,} of {self._count:,} {self._what}; "
                    f"{self._meter.totals('calls'):,} calls, {self._meter.totals('tokens'):,} tokens"
                )


def lines_of(number: int, name: str, marks: Marks) -> list[dict[str, Any]]:
    """Return what `answers.jsonl` says of one program's answers."""
    return [
        {
            "program": number,
            "name": name,
            "id": answer.query.id,
            **answer.query.groups,
            "query": query_of(answer.query.example),
            "answer": answer.text,
            "words": answer.marked.words,
            "scores": dict(answer.marked.scores),
            "overall": answer.marked.overall,
            "rationales": dict(answer.rationales),
            "error": answer.error,
        }
        for answer in marks.answers
    ]
