"""Racing: common queries for all, nothing twice, a favourite that yields only to evidence, no wait that need not be."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_search import Stopwatch, family, give, hash_reward
from variants import slow

from drpo.teleprompters.beam import Evaluation
from drpo.teleprompters.board import Board, Member
from drpo.teleprompters.racing import favourite_among, race


def steps(sizes: Sequence[int]) -> list[range]:
    """Return rungs of these sizes, query after query."""
    return [range(sum(sizes[:place]), sum(sizes[: place + 1])) for place in range(len(sizes))]


def salted(salt: str, missing: int) -> Any:
    """Return hash rewards of which about one in `missing` is missing; 0: none."""

    def reward(candidate: Any, query: int) -> float | None:
        lost = missing and random.Random(f"{salt} {candidate} {query}").randrange(missing) == 0
        return None if lost else hash_reward(salt, candidate, query)

    return reward


races = st.tuples(
    st.integers(1, 9), st.lists(st.integers(1, 5), min_size=1, max_size=4), st.text("abc", max_size=3), st.sampled_from([0, 5])
)  # fmt: skip


def run(
    number: int, sizes: Sequence[int], salt: str, missing: int, **options: Any
) -> tuple[Board[Any], list[Member[Any]], Stopwatch]:
    board = family(*[0] * number)
    watch = Stopwatch(salted(salt, missing), **options)
    ranked = race(
        board, board.members[1:], rungs=steps(sizes), start=watch.start, control=board.members[:1],
        favourite_of=lambda members: members[-1],
    )  # fmt: skip
    return board, ranked, watch


@given(races)
def test_who_is_judged_on_what(case: tuple[int, list[int], str, int]) -> None:
    """Invariants.

    All contenders are judged on rung 1, half of those left (at least one) on each next one; nobody comes back; the
    control is judged on everything; nothing is judged twice; the result is a permutation of the contenders, and who
    came further stands before who dropped out earlier; the first one came all the way.
    """
    number, sizes, salt, missing = case
    board, ranked, watch = run(number, sizes, salt, missing)
    assert sorted(member.number for member in ranked) == list(range(1, number + 1))
    assert len(set(watch.started)) == len(watch.started)
    left, expected = set(range(1, number + 1)), number
    for rung in steps(sizes):
        judged = {candidate for candidate, query in watch.started if query in rung}
        assert all((candidate, query) in watch.started for candidate in judged for query in rung)
        assert 0 in judged
        assert judged - {0} <= left
        assert len(judged - {0}) == expected
        left, expected = judged - {0}, max(1, expected // 2)
    distance = [len(board.evaluations(member)) for member in ranked]
    assert distance == sorted(distance, reverse=True)
    assert distance[0] == sum(sizes)


@given(races)
def test_when_results_arrive_does_not_matter(case: tuple[int, list[int], str, int]) -> None:
    """Invariant: evaluations that end at once and those that end when they are waited for begin in the same order."""
    (_, lazily, late), (_, at_once, early) = run(*case), run(*case, early=True)
    assert late.events == early.events
    assert [member.number for member in lazily] == [member.number for member in at_once]


def test_contenders_are_begun_as_they_arrive() -> None:
    """Invariant: a contender's evaluations begin before the next one has arrived, and nothing is waited for till all have.

    The control does not wait for the first contender either.
    """
    board = family(0, 0, 0)
    watch = Stopwatch(lambda candidate, query: 3.0)

    def arriving() -> Iterator[Member[int]]:
        for member in board.members[1:]:
            watch.events.append(("arrives", member.candidate, -1))
            yield member

    race(board, arriving(), rungs=[[4, 2], [3]], start=watch.start, control=board.members[:1])
    expected: list[tuple[str, int, int]] = [("start", 0, 4), ("start", 0, 2)]
    for number in (1, 2, 3):
        expected += [("arrives", number, -1), ("start", number, 4), ("start", number, 2)]
    assert watch.events[: len(expected)] == expected
    assert [kind for kind, _, _ in watch.events].index("result") == len(expected)
    second = [event for event in watch.events[len(expected) :] if event[2] == 3]
    assert second == [("start", 0, 3), ("start", 1, 3), ("result", 0, 3), ("result", 1, 3)]


def test_what_is_on_the_board_is_not_judged_again() -> None:
    """Rewards and missing judgements of before count; only what is new is begun."""
    board = family(0)
    give(board, 0, {0: 3.0, 1: 3.0, 2: None})
    give(board, 1, {1: 5.0})
    watch = Stopwatch(lambda candidate, query: 4.0)
    race(board, board.members[1:], rungs=steps([2, 2]), start=watch.start, control=board.members[:1])
    assert watch.started == [(1, 0), (0, 3), (1, 2), (1, 3)]
    assert board.evaluations(board.members[1])[1].reward == 5.0


def test_nobody_to_race() -> None:
    """Without contenders the control is judged on the first rung, and there is no winner."""
    board = family()
    watch = Stopwatch(lambda candidate, query: 4.0)
    assert race(board, [], rungs=steps([2, 3]), start=watch.start, control=board.members) == []
    assert watch.started == [(0, 0), (0, 1)]


@given(st.integers(2, 8), st.lists(st.integers(1, 4), min_size=1, max_size=3), st.text("abc", max_size=3), st.data())
def test_the_favourite_yields_only_to_evidence(number: int, sizes: list[int], salt: str, data: st.DataObject) -> None:
    """Invariant: a favourite that nobody beats on any query wins, however its value is estimated, and is never dropped."""
    favourite = data.draw(st.integers(1, number))
    board = family(*[0] * number)

    def reward(candidate: int, query: int) -> float:
        best = hash_reward(salt, "best", query)
        return best if candidate == favourite else min(best, hash_reward(salt, candidate, query))

    watch = Stopwatch(reward)
    ranked = race(
        board, board.members[1:], rungs=steps(sizes), start=watch.start,
        favourite_of=lambda members: board.members[favourite],
    )  # fmt: skip
    assert ranked[0].number == favourite
    assert sum(candidate == favourite for candidate, _ in watch.started) == sum(sizes)


def lead(mine: Sequence[float | None], favourites: Sequence[float | None]) -> bool:
    """Tell whether a challenger with rewards `mine` makes a favourite with `favourites` give way."""
    board = family(0, 0)
    give(board, 1, dict(enumerate(favourites)))
    give(board, 2, dict(enumerate(mine)))
    favourite, challenger = board.members[1:]
    return favourite_among(board, favourite, [favourite, challenger]) is challenger


@pytest.mark.parametrize(
    ("mine", "favourites", "expected"),
    [
        ([5, 5], [1, 1], False),  # two pairs are none
        ([5, 5, None], [1, 1, 1], False),
        ([5, 5, 5], [1, 1, None], False),
        ([4, 4, 4], [3, 3, 3], True),
        ([3, 3, 3], [3, 3, 3], False),
        ([2, 2, 2], [3, 3, 3], False),
        ([5, 4, 3, 4], [4, 3, 3, 3], True),  # mean 0.75, standard error 0.25: 3 of them, and 2.35 are needed
        ([5, 4, 3, 4], [4, 4, 3, 3], False),  # mean 0.5, standard error 0.29: 1.7 of them
    ],
)
def test_beyond_doubt(mine: list[float | None], favourites: list[float | None], expected: bool) -> None:
    """One-sided t-test of the pairs at 5 %, from three pairs on; missing judgements make none."""
    assert lead(mine, favourites) is expected


def test_of_several_that_are_better_the_surest_leads() -> None:
    """Not the highest mean: its lower end counts; of equals the earlier one."""
    board = family(0, 0, 0, 0)
    give(board, 1, dict.fromkeys(range(4), 2.0))
    give(board, 2, {0: 5.0, 1: 5.0, 2: 2.5, 3: 2.5})
    for number in (3, 4):
        give(board, number, dict.fromkeys(range(4), 3.0))
    assert favourite_among(board, board.members[1], board.members[1:]).number == 3


def displaced(*, contenders: int, sizes: Sequence[int], better: float, runs: int) -> float:
    """Return the share of races with normal noise that the favourite loses to any other."""
    lost = 0
    for seed in range(runs):
        draw = random.Random(f"{seed} {contenders} {sizes}")
        board = family(*[0] * contenders)
        watch = Stopwatch(lambda candidate, query, draw=draw: draw.gauss(3.0 + better * (candidate == 2), 0.5))
        ranked = race(board, board.members[1:], rungs=steps(sizes), start=watch.start, control=board.members[:1])
        lost += ranked[0].number != 1
    return lost / runs


@pytest.mark.parametrize(("contenders", "sizes"), [(4, (1, 2, 5)), *slow((3, (5, 25)))])
def test_luck_seldom_displaces_the_favourite(contenders: int, sizes: Sequence[int]) -> None:
    """If all are equally good the favourite loses about one race in twelve; one that is much worse loses most."""
    assert displaced(contenders=contenders, sizes=sizes, better=0.0, runs=200) <= 0.13
    assert displaced(contenders=contenders, sizes=sizes, better=1.5, runs=60) >= 0.6


def test_a_rung_that_fails_leaves_no_trace() -> None:
    """Invariant: of a rung either all evaluations are kept or none; those of earlier rungs stay."""
    board = family(0)

    def reward(candidate: int, query: int) -> float:
        if (candidate, query) == (1, 3):
            raise RuntimeError("a cap was reached")
        return 3.0

    with pytest.raises(RuntimeError):
        race(board, board.members[1:], rungs=steps([2, 3]), start=Stopwatch(reward).start, control=board.members[:1])
    assert board.evaluations(board.members[0]) == {0: Evaluation(3.0), 1: Evaluation(3.0)}
    assert board.count(board.members[1]) == 2
