"""Minibatches: queries that can still tell candidates apart, kind by kind, in an order that belongs to the seed."""

from __future__ import annotations

from collections import Counter

import dspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_search import family, give

from drpo.teleprompters.batches import Batches


def examples(kinds: str) -> list[dspy.Example]:
    """Return one example per letter, which is its kind; a dot is none."""
    fields = [{"query": f"q{number}", **({"kind": kind} if kind != "." else {})} for number, kind in enumerate(kinds)]
    return [dspy.Example(**field).with_inputs("query") for field in fields]


@settings(max_examples=60, deadline=None)
@given(st.text("ab.", max_size=12), st.integers(0, 5), st.integers(1, 15))
def test_the_first_batch_takes_kinds_in_turn(kinds: str, seed: int, size: int) -> None:
    """Invariants: as many as there are at most, none twice, the same ones per seed; no kind waits while others repeat."""
    first = Batches(examples(kinds), seed=seed).first(size)
    assert len(set(first)) == len(first) == min(size, len(kinds))
    assert first == Batches(examples(kinds), seed=seed).first(size)
    taken, there = Counter(kinds[query] for query in first), Counter(kinds)
    most = max(taken.values(), default=0)
    assert all(taken[kind] >= min(there[kind], most - 1) for kind in there)


def test_the_order_belongs_to_the_seed() -> None:
    """Other seeds begin with other queries, and the order of the examples is nothing special."""
    orders = {tuple(Batches(examples("." * 20), seed=seed).first(20)) for seed in range(5)}
    assert len(orders) == 5
    assert tuple(range(20)) not in orders


REWARDS = st.lists(st.lists(st.sampled_from([None, 1.0, 3.5, 5.0]), min_size=6, max_size=6), min_size=2, max_size=4)


@settings(max_examples=60, deadline=None)
@given(REWARDS, st.text("ab", min_size=6, max_size=6), st.integers(0, 3), st.integers(0, 8), st.data())
def test_what_tells_nothing_is_set_aside(
    rewards: list[list[float | None]], kinds: str, seed: int, size: int, data: st.DataObject
) -> None:
    """Invariants.

    Only queries that somebody has a reward on, none twice, as many as asked for if there are. One that two or more
    answered perfectly, and nobody else, comes behind all others, also if its kind has nothing else. Among either the
    kinds take turns.
    """
    board = family(*[0] * (len(rewards) - 1))
    for number, row in enumerate(rewards):
        give(board, number, dict(enumerate(row)))
    leader = data.draw(st.sampled_from(board.members))
    batches = Batches(examples(kinds), seed=seed)
    batch = batches.next(board, leader, size)
    every = batches.next(board, leader, 99)
    known = {query: [row[query] for row in rewards if row[query] is not None] for query in range(6)}
    assert sorted(every) == [query for query in range(6) if known[query]]
    assert batch == every[:size]
    saturated = [len(known[query]) > 1 and set(known[query]) == {5.0} for query in every]
    assert saturated == sorted(saturated)
    for part in (False, True):
        turns = [kinds[query] for query, told in zip(every, saturated, strict=True) if told is part]
        fewest = min(turns.count("a"), turns.count("b"))
        assert all(one != other for one, other in zip(turns[: 2 * fewest], turns[1 : 2 * fewest], strict=False))


def test_errors_of_the_leader_and_disagreement_come_first() -> None:
    """The lower the leader's reward and the wider the rewards, the earlier; who leads decides."""
    board = family(0)
    give(board, 0, {0: 5.0, 1: 2.0, 2: 4.0, 3: 3.0})
    give(board, 1, {0: 4.5, 1: 4.5, 2: 3.25, 3: 3.0})
    batches = Batches(examples("...."), seed=1)
    assert batches.next(board, board.members[0], 9) == [1, 3, 2, 0]  # 3 + 2.5, 2 + 0, 1 + 0.75, 0 + 0.5
    assert batches.next(board, board.members[1], 9) == [1, 2, 3, 0]  # 0.5 + 2.5, 1.75 + 0.75, 2 + 0, 0.5 + 0.5


def test_where_the_leader_has_no_reward_the_mean_stands_in() -> None:
    board = family(0, 0)
    give(board, 0, {0: 5.0, 1: 2.0})
    give(board, 1, {0: 5.0, 1: 2.0})
    give(board, 2, {0: None})
    assert Batches(examples(".."), seed=0).next(board, board.members[2], 1) == [1]


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_one_perfect_answer_is_no_saturation(order: int) -> None:
    """A query that only the seed answered may still tell; so may one where not all were perfect."""
    board = family(0)
    give(board, 0, {0: 5.0, 1: 5.0})
    give(board, 1, {1: 5.0})
    assert Batches(examples(".."), seed=order).next(board, board.members[0], 2) == [0, 1]


def test_a_weighted_mean_of_fives_is_perfect() -> None:
    """A reward that misses 5 by a bit, as weighted means do, is the highest one all the same."""
    board = family(0)
    almost = (5 * 0.1 + 5 * 0.7 + 5 * 0.4) / (0.1 + 0.7 + 0.4) - 1e-15
    give(board, 0, {0: almost, 1: 4.9})
    give(board, 1, {0: almost, 1: 4.9})
    for seed in range(4):
        assert Batches(examples(".."), seed=seed).next(board, board.members[0], 2) == [1, 0]
