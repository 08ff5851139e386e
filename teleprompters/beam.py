"""The beam search of DRPO, without LMs: candidates are opaque, and judging and proposing are callables.

    D = depth;  beam = [root, judged on query 0]
    for level = 0, 1, ...:
        stop when the beam's records number D, or all queries are used
        for each node of the beam: an easy one passes its candidate on; else propose n new ones   (paper, Alg. 1)
        D += 1 if any was easy, at most `max_depth_increase` times in all
        judge every new candidate on the next query, the same for all
        beam = the `beam_size` best by path value, ties to the earliest
    return the last candidate of the best path

Instances: `beam_size=1` is greedy search (its value is the last reward); `n_actions=1` a single chain of rewrites.

What exact agreement with the official code depends on (algorithm, section 2.4), and is therefore kept:

* the path mean is a running total of plain doubles, left to right, divided by the count: `sum` of Python 3.12 and
  `math.fsum` turn last-bit differences into ties;
* the sort is stable, so among equals the earliest proposal of the better-ranked parent wins;
* the root's own reward decides whether it is easy, and is not on its path; equal proposals are judged again.

Differences from the official code:

1. A missing judgement is no reward 0: it is left out of the path's mean, its candidate is not "easy", raises no depth,
   and passes to the next query unchanged, since there is no feedback to rewrite it by.
2. `max_depth` is not changed from one search to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

C = TypeVar("C")
"""A candidate; the search only passes it on."""


@dataclass(frozen=True)
class Evaluation:
    """One candidate judged on one query."""

    reward: float | None
    """Mean score, 1 to 5, higher is better; None if it could not be judged."""
    easy: bool = False
    """Whether the query is too easy for the candidate to learn from."""
    detail: Any = None
    """What the caller wants to find again in the tree: the answer and its judgement, for example."""


@dataclass(frozen=True, eq=False)
class Node(Generic[C]):
    """One record of a path: a candidate and its evaluation on one query."""

    candidate: C
    query: int
    """Index of the query it was judged on; the root's is 0."""
    evaluation: Evaluation
    parent: Node[C] | None
    total: float
    """Sum of the rewards on the path, the root's left out, added from left to right."""
    count: int
    """How many rewards `total` holds."""
    value: float
    """What the node is ranked by; 0 while the path has no reward."""

    @property
    def path(self) -> tuple[Node[C], ...]:
        """Return the nodes from the root to this one."""
        before = self.parent.path if self.parent else ()
        return (*before, self)

    @property
    def length(self) -> int:
        """Return how many records the path holds, the root's included."""
        return self.query + 1  # one query per level, shared by all of it


@dataclass(frozen=True)
class Level(Generic[C]):
    """One finished step of the search."""

    number: int
    """0 is the root's judgement; level t judges on query t."""
    depth: int
    """The depth limit after this level, in records."""
    children: tuple[Node[C], ...]
    """All nodes judged in this level, in the order of their proposals; the root at level 0."""
    beam: tuple[Node[C], ...]
    """The nodes kept, best first."""
    final: bool = False
    """Whether the search ended here by its own rule."""

    @property
    def best(self) -> Node[C]:
        """Return the best node of the beam."""
        return self.beam[0]


ProposeFn = Callable[[Sequence[Node[C]]], Sequence[Sequence[C]]]
"""From nodes to the new candidates of each; an empty sequence: nothing usable, the node passes its candidate on."""
EvaluateFn = Callable[[Sequence[C], int], Sequence[Evaluation]]
"""From candidates and the index of a query to their evaluations, in order."""
SelectFn = Callable[[Sequence[Node[C]], int], Sequence[Node[C]]]
"""From a level's nodes and the beam's size to the nodes kept, best first."""


def select_best(nodes: Sequence[Node[C]], beam_size: int) -> Sequence[Node[C]]:
    """Return the nodes of highest value; equal ones keep their order."""
    return sorted(nodes, key=lambda node: node.value, reverse=True)[:beam_size]


def beam_search(
    root: C,
    *,
    num_queries: int,
    propose: ProposeFn[C],
    evaluate: EvaluateFn[C],
    select: SelectFn[C] = select_best,
    beam_size: int = 2,
    depth: int = 20,
    max_depth_increase: int = 10,
) -> Iterator[Level[C]]:
    """Yield each level of the search as it is finished; the last one is `final`, and its `best` is the result.

    Args:
        root: The candidate to begin with.
        num_queries: How many queries there are, at least 1; each level uses the next one.
        propose: New candidates for the nodes that are neither easy nor unjudged, all of a level in one call.
        evaluate: Judges the candidates of a level on one query, all in one call.
        select: Which nodes of a level are kept.
        beam_size: How many are kept, at least 1.
        depth: Records of a path at which the search ends, at least 1, the root's included.
        max_depth_increase: By how many levels in all easy queries may lengthen it, at least 0.

    Example:
        >>> levels = list(beam_search(
        ...     1, num_queries=3, depth=3, beam_size=1,
        ...     propose=lambda nodes: [[node.candidate + 1, node.candidate + 2] for node in nodes],
        ...     evaluate=lambda candidates, query: [Evaluation(reward=float(number)) for number in candidates],
        ... ))
        >>> levels[-1].best.candidate
        5
    """
    [evaluation] = evaluate([root], 0)
    beam: tuple[Node[C], ...] = (Node(root, 0, evaluation, None, 0.0, 0, 0.0),)
    children, limit, number = beam, depth, 0
    while True:
        final = beam[0].length >= min(limit, num_queries)  # all paths of a beam are equally long
        yield Level(number, limit, children, beam, final)
        if final:
            return
        if any(node.evaluation.easy for node in beam) and limit < depth + max_depth_increase:
            limit += 1
        pairs = _expand(beam, propose)
        number += 1
        evaluations = evaluate([candidate for _, candidate in pairs], number)
        children = tuple(
            _child(parent, candidate, number, evaluation, width=beam_size)
            for (parent, candidate), evaluation in zip(pairs, evaluations, strict=True)
        )
        beam = tuple(select(children, beam_size))


def _expand(beam: Sequence[Node[C]], propose: ProposeFn[C]) -> list[tuple[Node[C], C]]:
    """Return (parent, candidate) of the next level, in the order of the beam and of the proposals."""
    asked = [node for node in beam if not node.evaluation.easy and node.evaluation.reward is not None]
    proposals = dict(zip(map(id, asked), propose(asked) if asked else [], strict=True))
    return [(node, candidate) for node in beam for candidate in proposals.get(id(node)) or [node.candidate]]


def _child(parent: Node[C], candidate: C, query: int, evaluation: Evaluation, *, width: int) -> Node[C]:
    reward = evaluation.reward
    if reward is None:
        return Node(candidate, query, evaluation, parent, parent.total, parent.count, parent.value)
    total, count = parent.total + reward, parent.count + 1
    return Node(candidate, query, evaluation, parent, total, count, reward if width == 1 else total / count)
