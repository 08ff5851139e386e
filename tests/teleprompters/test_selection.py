"""Selection: who goes on, by each strategy."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_search import family, give, hash_reward

from drpo.errors import ConfigError
from drpo.teleprompters.beam import Evaluation
from drpo.teleprompters.board import Board
from drpo.teleprompters.selection import (
    Selection,
    select_beam,
    select_greedy,
    select_monte_carlo,
    select_pareto,
    selection,
)


@st.composite
def boards(draw: st.DrawFn) -> Board[int]:
    """A tree of up to eight members, most of them judged on some of five queries."""
    board = family(*(draw(st.integers(0, number)) for number in range(draw(st.integers(0, 7)))))
    salt = draw(st.text("abc", max_size=2))
    for member in board.members:
        judged = draw(st.sets(st.integers(0, 4)))
        give(board, member.number, {query: hash_reward(salt, member.number, query) for query in judged})
    return board


@given(boards(), st.integers(1, 5), st.data())
def test_every_beam_has_distinct_members_and_no_more_than_asked(
    board: Board[int], beam_size: int, data: st.DataObject
) -> None:
    """Invariants: no strategy gives more than `beam_size`, or one twice; all but Monte Carlo begin with the leader."""
    leader = data.draw(st.sampled_from(board.members))
    for name in Selection:
        beam = selection(name)(board, leader, beam_size=beam_size)
        assert len({member.number for member in beam}) == len(beam)
        assert 1 <= len(beam) <= beam_size
        assert beam[0] is (board.members[0] if name is Selection.MC else leader)
        assert set(beam) <= set(board.members)
        if name in (Selection.BEAM, Selection.PARETO):
            assert len(beam) == min(beam_size, len(board.members))


@given(boards(), st.integers(2, 5), st.data())
def test_a_beam_is_never_all_siblings_if_there_is_a_stranger(
    board: Board[int], beam_size: int, data: st.DataObject
) -> None:
    """Invariant: somebody in it has another parent than the leader; but for that, the best by value go on."""
    leader = data.draw(st.sampled_from(board.members))
    beam = select_beam(board, leader, beam_size=beam_size)
    strangers = [member for member in board.members if member.parent is not leader.parent]
    assert not strangers or any(member in strangers for member in beam)
    best = [member for member in board.ranked(board.members) if member is not leader][: beam_size - 1]
    if any(member in strangers for member in best):
        assert beam == [leader, *best]
    else:
        assert beam[:-1] == [leader, *best][: len(beam) - 1]


def test_the_last_sibling_gives_way_to_the_best_stranger() -> None:
    board = family(0, 0, 0, 1)
    for number, level in enumerate([2.0, 5.0, 4.0, 3.0, 2.5]):
        give(board, number, dict.fromkeys(range(90), level))
    leader = board.members[1]
    assert [member.number for member in board.ranked(board.members)] == [1, 2, 3, 4, 0]
    assert [member.number for member in select_beam(board, leader, beam_size=3)] == [1, 2, 4]
    assert [member.number for member in select_beam(board, leader, beam_size=1)] == [1]
    assert [member.number for member in select_beam(board, board.members[4], beam_size=2)] == [4, 1]


def test_greedy_and_monte_carlo_keep_one() -> None:
    """Greedy search goes on from the leader, Monte Carlo always from the seed."""
    board = family(0, 1)
    leader = board.members[2]
    assert select_greedy(board, leader, beam_size=3) == [leader]
    assert select_monte_carlo(board, leader, beam_size=3) == [board.members[0]]


def test_pareto_keeps_who_is_best_somewhere() -> None:
    """A specialist goes on before one that is second everywhere; a query that one alone answered makes nobody best."""
    board = family(0, 0, 0)
    seed, leader, second, specialist = board.members
    give(board, seed.number, {0: 1.0, 1: 1.0, 2: 1.0})
    give(board, leader.number, {0: 5.0, 1: 5.0, 2: 1.0})
    give(board, second.number, {0: 4.0, 1: 4.0, 2: 2.0, 9: 5.0})
    give(board, specialist.number, {0: 1.0, 1: 1.0, 2: 5.0})
    assert select_beam(board, leader, beam_size=2)[1] is not specialist
    assert select_pareto(board, leader, beam_size=3) == [leader, specialist, second]


def test_pareto_knows_criteria() -> None:
    """The best mean score on a criterion counts like a query, ties for all, missing scores for nobody."""
    board = family(0, 0)
    rows = {0: {"Clarity": 3, "Depth": 3}, 1: {"Clarity": 5, "Depth": None}, 2: {"Clarity": 2, "Depth": 4}}
    for number, scores in rows.items():
        named = [SimpleNamespace(criterion=name, value=value) for name, value in scores.items()]
        for query in (0, 1):
            board.record(board.members[number], query, Evaluation(3.0, detail=SimpleNamespace(scores=named)))
    assert [member.number for member in select_pareto(board, board.members[1], beam_size=3)] == [1, 2, 0]


@pytest.mark.parametrize("name", ["", "best", "BEAM", "beam ", 3])
def test_a_wrong_name_is_a_config_error(name: str) -> None:
    """The message names the argument, its value and the choices; None is `beam`."""
    with pytest.raises(ConfigError) as caught:
        selection(name)
    assert f"select={name!r}" in str(caught.value)
    assert all(repr(str(choice)) in str(caught.value) for choice in Selection)


def test_names() -> None:
    assert selection(None) is selection("beam") is selection(Selection.BEAM)
    assert {name: selection(name) for name in Selection} == {
        "beam": select_beam, "greedy": select_greedy, "pareto": select_pareto, "mc": select_monte_carlo,
    }  # fmt: skip
