"""The value of a candidate: paired, shrunken towards its parent, and a function of nothing but the judgements."""

from __future__ import annotations

import random

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drpo.teleprompters.values import shrunken_values

Rewards = dict[tuple[int, int], float]
CLOSE = 1e-7


@st.composite
def designs(draw: st.DrawFn) -> tuple[Rewards, list[int | None], float]:
    """A tree of candidates, some of their rewards, and a shrinkage."""
    parents: list[int | None] = [None]
    for number in range(1, draw(st.integers(1, 6))):
        parents.append(draw(st.none() | st.integers(0, number - 1)))
    pairs = st.tuples(st.integers(0, len(parents) - 1), st.integers(0, 5))
    rewards = draw(st.dictionaries(pairs, st.integers(4, 20).map(lambda quarters: quarters / 4), max_size=25))
    return rewards, parents, draw(st.sampled_from([0.5, 2.0, 6.0, 30.0]))


def least_squares(rewards: Rewards, parents: list[int | None], shrinkage: float) -> list[float]:
    """Solve the same model as one dense least-squares problem, the seed's value left out instead of held fast."""
    queries = sorted({query for _, query in rewards})
    rows, right = [], []
    for (candidate, query), reward in rewards.items():
        row = numpy.zeros(len(parents) + len(queries))
        row[candidate] += 1
        row[len(parents) + queries.index(query)] += 1
        rows.append(row)
        right.append(reward)
    for candidate, parent in enumerate(parents[1:], start=1):
        row = numpy.zeros(len(parents) + len(queries))
        row[candidate] += shrinkage**0.5
        row[parent or 0] -= shrinkage**0.5
        rows.append(row)
        right.append(0.0)
    if not rows:
        return [0.0] * len(parents)
    found = numpy.linalg.lstsq(numpy.array(rows)[:, 1:], numpy.array(right), rcond=None)[0]
    return [0.0, *map(float, found[: len(parents) - 1])]


@given(designs())
def test_it_is_the_least_squares_solution(design: tuple[Rewards, list[int | None], float]) -> None:
    """Invariant: values solve the mixed model; the seed is at 0; a candidate without a parent stands by the seed."""
    rewards, parents, shrinkage = design
    values = shrunken_values(rewards, parents, shrinkage=shrinkage)
    assert values == pytest.approx(least_squares(rewards, parents, shrinkage), abs=CLOSE)
    assert values[0] == 0
    adopted = [None, *(parent or 0 for parent in parents[1:])]
    assert values == pytest.approx(shrunken_values(rewards, adopted, shrinkage=shrinkage), abs=CLOSE)


@given(designs(), st.lists(st.floats(-100, 100), min_size=6, max_size=6), st.randoms(use_true_random=False))
def test_what_a_query_gives_to_everybody_does_not_count(
    design: tuple[Rewards, list[int | None], float], gifts: list[float], draw: random.Random
) -> None:
    """Invariants: a constant per query, the names of queries and the order of the judgements change no value."""
    rewards, parents, shrinkage = design
    values = shrunken_values(rewards, parents, shrinkage=shrinkage)
    lifted = {(candidate, query): reward + gifts[query] for (candidate, query), reward in rewards.items()}
    assert shrunken_values(lifted, parents, shrinkage=shrinkage) == pytest.approx(values, abs=CLOSE)
    renamed = {(candidate, 100 - 7 * query): reward for (candidate, query), reward in rewards.items()}
    assert shrunken_values(renamed, parents, shrinkage=shrinkage) == pytest.approx(values, abs=CLOSE)
    shuffled = list(rewards.items())
    draw.shuffle(shuffled)
    assert shrunken_values(dict(shuffled), parents, shrinkage=shrinkage) == values


@given(designs(), st.floats(0.01, 100))
def test_it_has_the_unit_of_the_rewards(design: tuple[Rewards, list[int | None], float], factor: float) -> None:
    """Invariant: rewards in another unit give the same values in that unit."""
    rewards, parents, shrinkage = design
    values = shrunken_values(rewards, parents, shrinkage=shrinkage)
    scaled = {pair: reward * factor for pair, reward in rewards.items()}
    expected = [value * factor for value in values]
    assert shrunken_values(scaled, parents, shrinkage=shrinkage) == pytest.approx(expected, abs=1e-6)


@given(designs(), st.data())
def test_a_candidate_without_judgements_has_its_parents_value(
    design: tuple[Rewards, list[int | None], float], data: st.DataObject
) -> None:
    """Invariants: a new leaf stands where its parent stands and moves nobody; twins have exactly equal values."""
    rewards, parents, shrinkage = design
    parent = data.draw(st.integers(0, len(parents) - 1))
    values = shrunken_values(rewards, [*parents, parent], shrinkage=shrinkage)
    assert values[-1] == pytest.approx(values[parent], abs=CLOSE)
    assert values[:-1] == pytest.approx(shrunken_values(rewards, parents, shrinkage=shrinkage), abs=CLOSE)
    first = len(parents)
    both = {(number, query): 1 + query / 3 for number in (first, first + 1) for query in (0, 1, 2)}
    twins = shrunken_values({**rewards, **both}, [*parents, parent, parent], shrinkage=shrinkage)
    assert twins[-1] == twins[-2]


@given(designs(), st.integers(0, 5), st.floats(1, 5))
def test_a_query_that_one_candidate_answered_says_nothing(
    design: tuple[Rewards, list[int | None], float], candidate: int, reward: float
) -> None:
    """Invariant: without another reward on the query there is nothing to compare it with."""
    rewards, parents, shrinkage = design
    more = {**rewards, (candidate % len(parents), 99): reward}
    expected = shrunken_values(rewards, parents, shrinkage=shrinkage)
    assert shrunken_values(more, parents, shrinkage=shrinkage) == pytest.approx(expected, abs=CLOSE)


def test_without_shrinkage_a_balanced_design_gives_paired_means() -> None:
    """Invariants: as the shrinkage goes to 0 values are mean differences from the seed; as it grows they go to 0."""
    draw = random.Random(4)
    rewards = {(candidate, query): draw.randint(4, 20) / 4 for candidate in range(5) for query in range(6)}
    means = [sum(rewards[candidate, query] - rewards[0, query] for query in range(6)) / 6 for candidate in range(5)]
    parents = [None, 0, 1, 1, None]
    assert shrunken_values(rewards, parents, shrinkage=1e-9) == pytest.approx(means, abs=1e-6)
    assert shrunken_values(rewards, parents, shrinkage=1e9) == pytest.approx([0.0] * 5, abs=1e-6)


@pytest.mark.parametrize("shrinkage", [0.5, 6.0])
def test_more_evidence_moves_further(shrinkage: float) -> None:
    """One child that is better by 1 on each of n queries has the value n / (n + 2 shrinkage), towards 1."""
    found = []
    for number in (1, 2, 4, 8, 64):
        rewards = {(candidate, query): float(candidate + query % 3) for candidate in (0, 1) for query in range(number)}
        found.append(shrunken_values(rewards, [None, 0], shrinkage=shrinkage)[1])
        assert found[-1] == pytest.approx(number / (number + 2 * shrinkage))
    assert found == sorted(found)


def test_a_child_inherits_what_its_family_showed() -> None:
    """With equal judgements of its own, the child of the better parent is held to be better; the seed stays at 0."""
    base = {(0, query): 3.0 for query in range(4)}
    parents = {(1, query): 4.0 for query in range(4)} | {(2, query): 2.0 for query in range(4)}
    children = {(3, 0): 3.5, (4, 0): 3.5}
    values = shrunken_values({**base, **parents, **children}, [None, 0, 0, 1, 2])
    assert values[0] == 0
    assert values[1] > values[3] > 0.1 > -0.1 > values[4] > values[2]


def test_no_judgement_at_all() -> None:
    assert shrunken_values({}, [None, 0, 1]) == [0.0, 0.0, 0.0]
    assert shrunken_values({}, []) == []
