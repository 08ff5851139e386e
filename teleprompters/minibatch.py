"""The default search of DRPO, without LMs: the paper's beam search with pieces that know about noise.

    judge the seed on the first minibatch;  beam = [seed]
    for level = 1, 2, ..., depth:
        batch   = queries in a shuffled order, kinds in turn, saturated ones aside                 (`batches.py`)
        propose: each node of the beam is rewritten `n_actions` times, each time on other complaints; what the
                 rewrites add is also merged into one candidate, which costs no call                (`proposal.py`)
        race:    the candidates answer the batch beside their parents, in rungs; the better half goes on (`racing.py`)
        value  = shrunken difference from the seed, from all judgements of a candidate             (`values.py`)
        beam   = the winner and the best others, not all siblings                                  (`selection.py`)

Differences from the paper's search (`beam.py`):

1. Candidates and their parents are judged on the same several queries, under the same pinned criteria, and none twice.
2. A candidate's value is its own difference from the seed, not the mean reward of its path.
3. Parents stay in the running, so a level of bad rewrites loses nothing.
4. A rewrite sees several of the worst answers and what lost most points; siblings see different ones.
5. Candidates that repeat, copy, address the judge or grow too long are refused before they cost a judgement.
6. No query is "easy": those that all candidates answer perfectly are set aside, and `max_depth_increase` is not used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol

from .board import Board, C, Member, Origin
from .racing import StartFn, favourite_among, race
from .selection import Select


@dataclass(frozen=True)
class Round(Generic[C]):
    """One finished level."""

    number: int
    """0 is the seed's judgement."""
    members: tuple[Member[C], ...]
    """Who was new in it."""
    beam: tuple[Member[C], ...]
    """Who goes on."""
    leader: Member[C]
    """The best member, whether it goes on or not."""
    queries: int
    """On how many queries those who came to its end were judged."""
    values: Mapping[int, float]
    """What all members were worth by then, by number: levels better than the seed. Later judgements may change it."""


Proposed = tuple[C, Member[C], Origin]
"""A candidate, its parent, and how it was made."""
ProposeFn = Callable[[Board[C], Sequence[Member[C]], int], Iterable[Proposed[C]]]
"""From the board, the beam and the level's number to new candidates, in the order they arrive."""


class BatchesOf(Protocol):
    """Where minibatches come from."""

    def first(self, size: int) -> list[int]:
        """Return the seed's."""

    def next(self, board: Board[C], size: int) -> list[int]:
        """Return the next level's."""


def minibatch_search(
    board: Board[C],
    seed: C,
    *,
    batches: BatchesOf,
    propose: ProposeFn[C],
    start: StartFn[C],
    select: Select,
    beam_size: int,
    depth: int,
    first_size: int,
    rungs: Sequence[int],
    go_on: Callable[[], bool] = lambda: True,
) -> Iterator[Round[C]]:
    """Yield each level as it is finished; the last one's leader is the result.

    Args:
        board: An empty board, which is filled.
        seed: The candidate to begin with.
        batches: Chooses queries.
        propose: Makes candidates.
        start: Begins an evaluation.
        select: Which members go on.
        beam_size: How many, at least 1.
        depth: How many levels of rewriting, at least 0.
        first_size: On how many queries the seed is judged, at least 1.
        rungs: How many queries each step of a race adds.
        go_on: Asked before each level; False ends the search, because the budget is needed elsewhere.
    """
    root = board.add(seed)
    queries = batches.first(first_size)
    race(board, [root], rungs=[queries], start=start)
    leader, beam = root, [root]
    yield Round(0, (root,), (root,), root, len(queries), _values(board))
    for level in range(1, depth + 1):
        if not go_on():
            return
        batch = batches.next(board, sum(rungs))
        if not batch:  # nothing was judged, so nothing can be learnt
            return
        before = len(board.members)
        ends = [sum(rungs[: place + 1]) for place in range(len(rungs))]
        steps = [batch[end - size : end] for end, size in zip(ends, rungs, strict=True) if batch[end - size : end]]
        arriving = (
            board.add(candidate, parent=parent, origin=origin, level=level)
            for candidate, parent, origin in propose(board, beam, level)
        )
        control = list(
            dict.fromkeys([*beam, leader])
        )  # Monte Carlo search rewrites the seed, but keeps the best of all
        finished = race(board, arriving, rungs=steps, start=start, control=control, favourite_of=_merged)
        leader = _leader(board, leader, finished)
        beam = select(board, leader, beam_size=beam_size)
        yield Round(level, tuple(board.members[before:]), tuple(beam), leader, len(batch), _values(board))


def _merged(members: Sequence[Member[C]]) -> Member[C]:
    """Return the first merged candidate, which holds what its siblings found; without one the first of all."""
    return next((member for member in members if member.origin is Origin.MERGED), members[0])


def _values(board: Board[C]) -> dict[int, float]:
    return {member.number: board.value(member) for member in board.members}


def _leader(board: Board[C], leader: Member[C], finished: Sequence[Member[C]]) -> Member[C]:
    """Return the winner of a level, unless the leader before it is better beyond doubt.

    A rewrite is more often an improvement than not, and a level that is kept by mistake can be mended in the next one.
    """
    return favourite_among(board, finished[0], [leader]) if finished else leader
