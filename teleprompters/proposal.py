"""Proposing: from a judged candidate to new instructions, by the LM rewriter or by a function of the user's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import dspy
from dspy.utils.exceptions import LMError

from ..errors import ConfigError
from ..metrics.judgement import Feedback, to_unit
from ..programs.outages import is_given_up, is_refusal
from ..programs.rewriter import InstructionRewriter
from ..serving.calls import sample
from .beam import Node
from .candidates import Candidate, replaced
from .evaluation import Judged
from .pool import TaskPool

HISTORY = 5
"""How many instructions of a path the rewriter sees, the current one included (algorithm, section 2.2)."""

Proposer = Callable[[str, Feedback, list[tuple[str, float | None]], int], Sequence[str]]
"""(instruction, feedback, history, n) -> n instructions; `history`: (instruction, score in [0, 1]), oldest first."""


History = list[tuple[str, float | None]]
"""(instruction, score in [0, 1]) of earlier instructions, oldest first; None: not judged."""


@dataclass(frozen=True)
class Task:
    """What one proposal is made from."""

    instruction: str
    """The instruction to rewrite."""
    feedback: Feedback
    """What was judged, and how."""
    queries: tuple[str, ...]
    """The queries behind the feedback, whose copies are no instructions."""
    history: History
    """Earlier instructions."""
    number: int
    """Which of its siblings it is, from 0."""
    scored: bool = False
    """Whether the rewriter is shown the scores of the history; the paper's is not."""


class Writer:
    """Asks for instructions, and counts what comes of it.

    Args:
        pool: Where the calls are made.
        lm: The LM that rewrites.
        rewriter: The module that asks it.
        temperature: Sampling temperature; None: the LM's own.
        proposer: A function in the rewriter's place. None: the rewriter.
    """

    def __init__(
        self,
        pool: TaskPool,
        *,
        lm: dspy.BaseLM,
        rewriter: InstructionRewriter,
        temperature: float | None,
        proposer: Proposer | None,
    ) -> None:
        self.pool, self.proposer = pool, proposer
        self._lm, self._rewriter, self._temperature = lm, rewriter, temperature
        self._lock = threading.Lock()
        self.unusable = 0
        """How many proposals were refused, empty, unreadable, or a copy of the query."""
        self._usable = 0
        self._failure: LMError | None = None

    def rewrite(self, task: Task) -> str | None:
        """Return one instruction of the rewriter's, None if it gave nothing usable."""
        history: list[str | tuple[str, float | None]] = [
            (text, score) if task.scored else text for text, score in task.history
        ]
        try:
            with sample(task.number):
                text: str | None = self._rewriter(
                    lm=self._lm,
                    instruction=task.instruction,
                    feedback=task.feedback.text,
                    history=history,
                    queries=task.queries,
                    number=task.number,
                    temperature=self._temperature,
                )
        except LMError as error:
            if not (is_refusal(error) or is_given_up(error)):
                raise
            text, self._failure = None, error  # this one prompt failed; other nodes may still be rewritten
        self._count(usable=text is not None, unusable=text is None)
        return text

    def propose(self, task: Task, number: int) -> list[str | None]:
        """Return `number` instructions of the user's proposer, None where it gave fewer or an empty one."""
        assert self.proposer is not None
        given = self.proposer(task.instruction, task.feedback, list(task.history), number)
        if isinstance(given, str) or not all(isinstance(text, str) for text in given):
            raise ConfigError(f"proposer returned {given!r}: give a list of strings")
        texts: list[str | None] = [text if text.strip() else None for text in list(given)[:number]]
        texts += [None] * (number - len(texts))
        unusable = texts.count(None)
        self._count(usable=len(texts) - unusable, unusable=unusable)
        return texts

    def check(self) -> None:
        """Raise if the LM refused requests and never gave a usable proposal.

        Raises:
            LMError: What the LM said last.
        """
        if self._failure is not None and not self._usable:
            raise self._failure

    def _count(self, *, usable: int, unusable: int) -> None:
        with self._lock:
            self._usable += usable
            self.unusable += unusable


class Proposals:
    """New candidates for the nodes of a level of the paper's search.

    With several predictors, each level rewrites one of them, in turn: what is judged is the program's final answer, and
    a candidate that changed everything at once would not tell which change helped.

    Args:
        writer: Asks for instructions.
        n_actions: Instructions per node, at least 1.
    """

    def __init__(self, writer: Writer, *, n_actions: int) -> None:
        self._writer, self._n_actions = writer, n_actions

    def __call__(self, nodes: Sequence[Node[Candidate]]) -> list[list[Candidate]]:
        """Return up to `n_actions` candidates per node, in the order they were asked for."""
        level, writer = nodes[0].query, self._writer
        names = [name for name, _ in nodes[0].candidate]
        name = names[level % len(names)]
        if writer.proposer is None:
            tasks = [self._task(node, name, number) for node in nodes for number in range(self._n_actions)]
            texts = writer.pool.map(f"level {level} rewrite", writer.rewrite, tasks)
        else:
            first = [self._task(node, name, 0) for node in nodes]
            given = writer.pool.map(f"level {level} propose", lambda task: writer.propose(task, self._n_actions), first)
            texts = [text for some in given for text in some]
        per_node = [texts[start : start + self._n_actions] for start in range(0, len(texts), self._n_actions)]
        return [
            [replaced(node.candidate, name, text) for text in some if text is not None]
            for node, some in zip(nodes, per_node, strict=True)
        ]

    def _task(self, node: Node[Candidate], name: str, number: int) -> Task:
        judged: Judged = node.evaluation.detail
        assert judged.feedback is not None  # the search does not propose for an unjudged node
        history = [
            (
                dict(earlier.candidate)[name],
                None if earlier.evaluation.reward is None else to_unit(earlier.evaluation.reward),
            )
            for earlier in node.path[-HISTORY:-1]
        ]
        return Task(dict(node.candidate)[name], judged.feedback, (judged.query,), history, number)


def check_proposer(proposer: Any) -> None:
    """Raise a `ConfigError` unless the argument is None or callable."""
    if proposer is not None and not callable(proposer):
        raise ConfigError(
            f"proposer={proposer!r}: give a function (instruction, feedback, history, n) -> list[str], or None"
        )
