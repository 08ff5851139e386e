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
from ..programs.outages import is_refusal
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


@dataclass(frozen=True)
class _Task:
    """What one proposal is made from."""

    instruction: str
    judged: Judged
    feedback: Feedback
    history: list[tuple[str, float | None]]
    number: int


class Proposals:
    """New candidates for the nodes of a level.

    With several predictors, each level rewrites one of them, in turn: what is judged is the program's final answer, and
    a candidate that changed everything at once would not tell which change helped.

    Args:
        pool: Where the calls are made.
        n_actions: Instructions per node, at least 1.
        lm: The LM that rewrites.
        rewriter: The module that asks it.
        temperature: Sampling temperature; None: the LM's own.
        proposer: A function in the rewriter's place. None: the rewriter.
    """

    def __init__(
        self,
        pool: TaskPool,
        *,
        n_actions: int,
        lm: dspy.BaseLM,
        rewriter: InstructionRewriter,
        temperature: float | None,
        proposer: Proposer | None,
    ) -> None:
        self._pool, self._n_actions, self._proposer = pool, n_actions, proposer
        self._lm, self._rewriter, self._temperature = lm, rewriter, temperature
        self._lock = threading.Lock()
        self.requests = 0
        """How many nodes were rewritten."""
        self.unusable = 0
        """How many proposals were refused, empty, unreadable, or a copy of the query."""
        self._usable = 0
        self._refusal: LMError | None = None

    def __call__(self, nodes: Sequence[Node[Candidate]]) -> list[list[Candidate]]:
        """Return up to `n_actions` candidates per node, in the order they were asked for."""
        self.requests += len(nodes)
        level = nodes[0].query
        names = [name for name, _ in nodes[0].candidate]
        name = names[level % len(names)]
        tasks = [self._task(node, name, number) for node in nodes for number in range(self._n_actions)]
        if self._proposer is None:
            texts = self._pool.map(f"level {level} rewrite", self._rewrite, tasks)
        else:
            first = tasks[:: self._n_actions]
            texts = [text for some in self._pool.map(f"level {level} propose", self._own, first) for text in some]
        per_node = [texts[start : start + self._n_actions] for start in range(0, len(texts), self._n_actions)]
        return [
            [replaced(node.candidate, name, text) for text in some if text is not None]
            for node, some in zip(nodes, per_node, strict=True)
        ]

    def check(self) -> None:
        """Raise if the LM refused requests and never gave a usable proposal.

        Raises:
            LMError: What the LM said last.
        """
        if self._refusal is not None and not self._usable:
            raise self._refusal

    def _task(self, node: Node[Candidate], name: str, number: int) -> _Task:
        judged: Judged = node.evaluation.detail
        assert judged.feedback is not None  # the search does not propose for an unjudged node
        history = [
            (
                dict(earlier.candidate)[name],
                None if earlier.evaluation.reward is None else to_unit(earlier.evaluation.reward),
            )
            for earlier in node.path[-HISTORY:-1]
        ]
        return _Task(dict(node.candidate)[name], judged, judged.feedback, history, number)

    def _rewrite(self, task: _Task) -> str | None:
        try:
            with sample(task.number):
                text: str | None = self._rewriter(
                    lm=self._lm,
                    instruction=task.instruction,
                    feedback=task.feedback.text,
                    history=[instruction for instruction, _ in task.history],
                    query=task.judged.query,
                    number=task.number,
                    temperature=self._temperature,
                )
        except LMError as error:
            if not is_refusal(error):
                raise
            text, self._refusal = None, error  # this one prompt was refused; other nodes may still be rewritten
        self._count(usable=text is not None, unusable=text is None)
        return text

    def _own(self, task: _Task) -> list[str | None]:
        assert self._proposer is not None
        given = self._proposer(task.instruction, task.feedback, list(task.history), self._n_actions)
        if isinstance(given, str) or not all(isinstance(text, str) for text in given):
            raise ConfigError(f"proposer returned {given!r}: give a list of strings")
        texts: list[str | None] = [text if text.strip() else None for text in list(given)[: self._n_actions]]
        texts += [None] * (self._n_actions - len(texts))
        unusable = texts.count(None)
        self._count(usable=len(texts) - unusable, unusable=unusable)
        return texts

    def _count(self, *, usable: int, unusable: int) -> None:
        with self._lock:
            self._usable += usable
            self.unusable += unusable


def check_proposer(proposer: Any) -> None:
    """Raise a `ConfigError` unless the argument is None or callable."""
    if proposer is not None and not callable(proposer):
        raise ConfigError(
            f"proposer={proposer!r}: give a function (instruction, feedback, history, n) -> list[str], or None"
        )
