"""Minibatches: queries that can still tell candidates apart, kind by kind, in an order that belongs to the seed."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_search import family, give

from drpo.teleprompters.batches import Batches


def examples(kinds: str) -> list[dspy.Example]:
    """Return one example per letter, which is its kind; a dot is none."""
    fields = [{"query": f"q{number}", **({"kind": kind} if kind != "." else {})} for number, kind in enumerate(kinds)]
    return [dspy.Example(**field).with_inputs("query") for field in fields]


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


REWARDS = st.lists(st.lists(st.sampled_from([None, 1.0, 3.5, 5.0]), min_size=6, max_size=6), min_size=1, max_size=4)


@given(REWARDS, st.text("ab", min_size=6, max_size=6), st.integers(0, 3), st.integers(0, 8))
def test_what_tells_nothing_is_set_aside(rewards: list[list[float | None]], kinds: str, seed: int, size: int) -> None:
    """Invariants.

    Only queries that somebody has a reward on, none twice, as many as asked for if there are, the same ones per seed.
    One that two or more answered perfectly, and nobody otherwise, comes behind all others, also if its kind has
    nothing else. Among either the kinds take turns.
    """
    board = family(*[0] * (len(rewards) - 1))
    for number, row in enumerate(rewards):
        give(board, number, dict(enumerate(row)))
    every = Batches(examples(kinds), seed=seed).next(board, 99)
    known = {query: [row[query] for row in rewards if row[query] is not None] for query in range(6)}
    assert sorted(every) == [query for query in range(6) if known[query]]
    assert Batches(examples(kinds), seed=seed).next(board, size) == every[:size]
    saturated = [len(known[query]) > 1 and set(known[query]) == {5.0} for query in every]
    assert saturated == sorted(saturated)
    for part in (False, True):
        turns = [kinds[query] for query, told in zip(every, saturated, strict=True) if told is part]
        fewest = min(turns.count("a"), turns.count("b"))
        assert all(one != other for one, other in pairwise(turns[: 2 * fewest]))


def test_levels_differ() -> None:
    """Who is new brings other queries to the front; without anybody new the batch is the same."""
    board = family()
    give(board, 0, dict.fromkeys(range(12), 3.0))
    batches, found = Batches(examples("." * 12), seed=1), []
    for _ in range(4):
        found.append(batches.next(board, 6))
        assert batches.next(board, 6) == found[-1]
        board.add(0, parent=board.members[0])
    assert len({tuple(batch) for batch in found}) == 4
    assert len({query for batch in found for query in batch}) > 8


@pytest.mark.parametrize("seed", range(4))
def test_one_perfect_answer_is_no_saturation(seed: int) -> None:
    """A query that only the seed answered may still tell; so may one where not all were perfect; missing is neither."""
    board = family(0, 0)
    give(board, 0, {0: 5.0, 1: 5.0, 2: 5.0})
    give(board, 1, {1: 5.0, 2: 4.5})
    give(board, 2, {0: None, 1: None})
    batch = Batches(examples("..."), seed=seed).next(board, 3)
    assert set(batch[:2]) == {0, 2}
    assert batch[2] == 1


@pytest.mark.parametrize("seed", range(4))
def test_a_weighted_mean_of_fives_is_perfect(seed: int) -> None:
    """A reward that misses 5 by a bit, as weighted means do, is the highest one all the same."""
    board = family(0)
    for number in (0, 1):
        give(board, number, {0: 5.0 - 1e-15, 1: 4.99})
    assert Batches(examples(".."), seed=seed).next(board, 2) == [1, 0]
