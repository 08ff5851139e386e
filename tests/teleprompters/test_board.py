"""The scoreboard: what was judged is found again, missing judgements count for nothing, and ties have an order."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_search import family, give

from drpo.teleprompters.beam import Evaluation
from drpo.teleprompters.board import Board, Origin
from drpo.teleprompters.values import shrunken_values


def test_members_are_numbered_and_know_their_path() -> None:
    """The seed is number 0, and a path leads from it to the member."""
    board: Board[str] = Board()
    seed = board.add("seed")
    child = board.add("child", parent=seed, origin=Origin.REWRITE, level=1)
    grandchild = board.add("seed", parent=child, origin=Origin.MERGED, level=2)  # an equal candidate is a member too
    assert [member.number for member in board.members] == [0, 1, 2]
    assert grandchild.path == (seed, child, grandchild)
    assert (seed.origin, seed.level, seed.parent) == (Origin.SEED, 0, None)
    assert len({seed, child, grandchild}) == 3


def test_what_was_judged_is_found_again() -> None:
    """Evaluations come by ascending query, missing ones included; rewards and counts leave them out."""
    board = family(0)
    seed, child = board.members
    give(board, 1, {7: 4.0, 2: None, 5: 3.0})
    give(board, 0, {5: 2.0})
    assert list(board.evaluations(child).items()) == [(2, Evaluation(None)), (5, Evaluation(3.0)), (7, Evaluation(4.0))]
    assert [board.judged(child, query) for query in (2, 5, 6)] == [True, True, False]
    assert (board.count(seed), board.count(child)) == (1, 2)
    assert [board.rewards(query) for query in (2, 5, 7, 9)] == [[], [2.0, 3.0], [4.0], []]


def test_differences_are_paired() -> None:
    """Invariant: only queries where both have a reward count, and the other way round the sign turns."""
    board = family(0)
    seed, child = board.members
    give(board, 0, {0: 2.0, 1: 3.0, 2: None, 3: 5.0})
    give(board, 1, {0: 3.0, 1: 2.5, 2: 4.0, 4: 1.0})
    assert board.differences(child, seed) == [1.0, -0.5]
    assert board.differences(seed, child) == [-1.0, 0.5]


def test_values_follow_every_change() -> None:
    """Invariant: a value is that of all judgements so far; what is missing is no reward."""
    board = family(0, shrinkage=2.0)
    seed, child = board.members
    give(board, 0, {0: 3.0, 1: 3.0})
    give(board, 1, {0: 4.0})
    first = board.value(child)
    assert first > 0 == board.value(seed)
    give(board, 1, {1: None})
    assert board.value(child) == first
    give(board, 1, {1: 5.0})
    assert board.value(child) > first
    assert (
        board.value(child) == shrunken_values({(0, 0): 3, (0, 1): 3, (1, 0): 4, (1, 1): 5}, [None, 0], shrinkage=2)[1]
    )
    late = board.add(2, parent=child)
    assert board.value(late) == pytest.approx(board.value(child))


def test_what_was_marked_can_be_undone() -> None:
    """Members, judgements and values are again what they were, and what follows is as if nothing had been between."""
    board = family(0)
    give(board, 0, {0: 3.0})
    give(board, 1, {0: 4.0})
    before, value = list(board.members), board.value(board.members[1])
    undo = board.mark()
    give(board, 1, {0: 1.0, 1: 1.0})
    give(board, board.add(2, parent=before[1]).number, {0: 5.0})
    undo()
    assert board.members == before
    assert board.evaluations(before[1]) == {0: Evaluation(4.0)}
    assert board.value(before[1]) == value
    again = board.add(3, parent=before[0])
    assert (again.number, board.evaluations(again)) == (2, {})


def test_ties_go_to_more_evaluations_then_to_the_shorter_then_to_the_earlier() -> None:
    """Equal judgements give equal values, whatever the arithmetic makes of them; a better value stands before all."""
    board: Board[str] = Board(length=len)
    seed = board.add("seed")
    names = ["long text", "short", "brief", "judged more", "best, and very long indeed"]
    members = [board.add(name, parent=seed) for name in names]
    rewards = {query: 2 + query / 3 for query in range(5)}
    give(board, 0, rewards)
    for member in members:
        give(board, member.number, {query: reward + 1 / 3 for query, reward in rewards.items()})
    give(board, 4, {9: 3.0})  # alone on its query: it tells nothing of the value
    give(board, 5, {4: 5.0})
    expected = ["best, and very long indeed", "judged more", "short", "brief", "long text", "seed"]
    for order in (board.members, board.members[::-1]):
        assert [member.candidate for member in board.ranked(order)] == expected


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.none() | st.integers(1, 5)), max_size=25), st.randoms()
)
def test_the_order_of_judgements_does_not_matter(
    judgements: list[tuple[int, int, int | None]], draw: random.Random
) -> None:
    """Invariant: whatever came first, values and ranks are the same, and a rank list loses nobody."""
    distinct = list({(number, query): (number, query, reward) for number, query, reward in judgements}.values())
    ranks = []
    for _ in range(2):
        board = family(0, 0, 1, 2)
        for number, query, reward in distinct:
            give(board, number, {query: reward})
        members = list(board.members)
        draw.shuffle(members)
        ranks.append([(member.number, board.value(member)) for member in board.ranked(members)])
        draw.shuffle(distinct)
    assert ranks[0] == ranks[1]
    assert sorted(number for number, _ in ranks[0]) == [0, 1, 2, 3, 4]
