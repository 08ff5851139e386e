"""The final selection: no query of it was searched on, and the winner is judged by its pairs with the seed alone."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, cast

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_search import Later

from drpo.errors import BudgetExceededError
from drpo.metrics.judgement import to_unit
from drpo.metrics.statistics import paired_difference
from drpo.teleprompters.beam import Evaluation
from drpo.teleprompters.held_out import FEWEST, Finalist, Part, Selected, select_finalist, split
from drpo.teleprompters.result import Decision


def examples(texts: Sequence[str]) -> list[dspy.Example]:
    return [dspy.Example(query=text, place=place).with_inputs("query") for place, text in enumerate(texts)]


def texts_of(part: Sequence[dspy.Example]) -> list[str]:
    return [example.query for example in part]


@given(
    st.lists(st.text("ab ", max_size=3) | st.text(max_size=4), max_size=25),
    st.integers(0, 12), st.integers(1, 12), st.randoms(use_true_random=False),
)  # fmt: skip
def test_a_split_loses_and_leaks_nothing(texts: list[str], num_val: int, num_search: int, draw: random.Random) -> None:
    """Invariants.

    Every example is in exactly one part, in the order given; equal texts (but for case and spacing) are in the same;
    neither the order nor what else an example holds decides where it goes. At most `num_val` distinct texts are held
    out, and the search keeps `num_search` of them, or at least half of all.
    """
    from drpo.programs.text import normalise

    search, held = split(examples(texts), num_val=num_val, num_search=num_search)
    assert sorted(example.place for example in [*search, *held]) == list(range(len(texts)))
    for part in (search, held):
        assert [example.place for example in part] == sorted(example.place for example in part)
    searched, kept = ({normalise(text) for text in texts_of(part)} for part in (search, held))
    assert not searched & kept
    distinct = len(searched | kept)
    assert len(kept) <= num_val
    assert len(searched) >= min(num_search, (distinct + 1) // 2)
    if distinct < FEWEST:
        assert not held
    else:
        assert len(kept) == min(num_val, distinct - min(num_search, (distinct + 1) // 2))
    shuffled = list(texts)
    draw.shuffle(shuffled)
    again, kept_again = split(
        examples([f" {text.upper()}  " for text in shuffled]), num_val=num_val, num_search=num_search
    )
    if all(normalise(text.upper()) == normalise(text) for text in texts):
        assert {normalise(text) for text in texts_of(kept_again)} == kept
        assert {normalise(text) for text in texts_of(again)} == searched


def test_which_are_held_out_is_a_matter_of_the_text() -> None:
    """The first of a list are not held out more than others, and another set of texts keeps the same preference."""
    texts = [f"question {number}" for number in range(40)]
    _, held = split(examples(texts), num_val=10, num_search=20)
    places = [example.place for example in held]
    assert places not in (list(range(10)), list(range(30, 40)))
    _, more = split(examples([*texts, "one more"]), num_val=11, num_search=20)
    assert set(texts_of(held)) <= set(texts_of(more))


def finalist(part: Part, name: str = "") -> Finalist:
    """Return a finalist whose programs are only names."""
    program = cast(dspy.Module, f"{part.value}{name}")
    return Finalist(part, program, program, {"respond": str(program)}, 0.1)


SEED = finalist(Part.SEED)
FOUR = [
    finalist(Part.BOTH), finalist(Part.INSTRUCTION), finalist(Part.DEMONSTRATIONS), finalist(Part.INSTRUCTION, " again"),
]  # fmt: skip
Reward = Callable[[str, int], float | None]


def selected(
    finalists: Sequence[Finalist], reward: Reward, *, rungs: Sequence[int] = (4, 12), calls: list[Any] | None = None
) -> Selected:
    """Return the selection where a finalist's reward is a function of its name and the query."""

    def start(one: Finalist, query: int) -> Later:
        if calls is not None:
            calls.append((str(one.program), query))
        return Later(lambda: Evaluation(reward(str(one.program), query)))

    return select_finalist(SEED, finalists, rungs=rungs, start=start, bootstrap_seed=7)


def noise(name: str, query: int) -> float:
    return 3.0 + random.Random(f"{name} {query}").choice([-1.0, -0.5, 0.0, 0.5, 1.0])


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_the_favourite_wins_unless_another_is_better_beyond_doubt(number: int) -> None:
    """All equal: the first one wins, without a gain. One clearly better: it wins, improved."""
    even = selected(FOUR[:number], lambda name, query: 3.0)
    assert even.winner is FOUR[0]
    assert even.comparison.decision is Decision.NO_GAIN
    assert (even.comparison.seed_reward, even.comparison.reward) == (0.5, 0.5)
    best = FOUR[number - 1]
    found = selected(FOUR[:number], lambda name, query: 3.0 + (name == best.program) + query % 2 / 2)
    assert found.winner is best
    assert found.comparison.decision is Decision.IMPROVED
    assert found.comparison.difference is not None
    assert found.comparison.difference.mean == pytest.approx(0.25)
    assert found.differences[best.part] == found.comparison.difference


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_who_is_judged_on_what(number: int) -> None:
    """The seed and the winner on every query, all finalists on the first rung, nobody twice."""
    calls: list[tuple[str, int]] = []
    found = selected(FOUR[:number], noise, calls=calls)
    assert len(set(calls)) == len(calls)
    for name in (SEED.program, found.winner.program):
        assert {query for one, query in calls if one == name} == set(range(16))
    for one in FOUR[:number]:
        assert {query for name, query in calls if name == one.program} >= set(range(4))
    judged = [one for one in FOUR[:number] if (one.program, 4) in calls]
    assert len(judged) == max(1, number // 2)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_the_comparison_is_that_of_the_pairs(number: int) -> None:
    """Invariant: means and interval are computed from the queries where both have a reward, and from nothing else."""

    def reward(name: str, query: int) -> float | None:
        lost = {SEED.program: (0, 5, 9), FOUR[0].program: (5, 6, 15)}.get(cast(Any, name), ())
        return None if query in lost else noise(name, query) + 0.5 * (name == FOUR[0].program)

    found = selected(FOUR[:number], reward)
    names = [str(SEED.program), str(found.winner.program)]
    rewards = [[reward(name, query) for query in range(16)] for name in names]
    before, after = [[None if one is None else to_unit(one) for one in row] for row in rewards]
    assert found.comparison.difference == paired_difference(before, after, seed=7)
    pairs = [(one, two) for one, two in zip(before, after, strict=True) if one is not None and two is not None]
    assert found.comparison.seed_reward == pytest.approx(sum(one for one, _ in pairs) / len(pairs))
    assert found.comparison.reward == pytest.approx(sum(two for _, two in pairs) / len(pairs))
    assert set(found.differences) == {one.part for one in FOUR[:number]}


def test_of_two_finalists_of_one_part_the_winners_difference_counts() -> None:
    """The result says of a part what its winner is worth, not what another one of it is."""
    two = [FOUR[1], FOUR[3]]
    for best in two:
        found = selected(two, lambda name, query, best=best: 3.0 + (name == best.program) + query % 2 / 2)
        assert found.winner is best
        assert found.comparison.difference is not None
        assert found.comparison.difference.mean == pytest.approx(0.25)
        assert found.differences == {Part.INSTRUCTION: found.comparison.difference}


def test_worse_than_the_seed_is_no_gain() -> None:
    """The winner is named all the same, with a negative difference."""
    found = selected(FOUR[:3], lambda name, query: 4.0 - (name != SEED.program) + query % 2 / 2)
    assert found.winner is FOUR[0]
    assert found.comparison.decision is Decision.NO_GAIN
    assert found.comparison.difference is not None
    assert found.comparison.difference.high is not None
    assert found.comparison.difference.high < 0


def test_missing_judgements_are_no_difference() -> None:
    """Nothing could be judged: no difference, no rewards, no gain."""
    found = selected(FOUR[:3], lambda name, query: 3.0 if name == SEED.program else None)
    assert found.winner is FOUR[0]
    assert found.comparison.difference is None
    assert (found.comparison.seed_reward, found.comparison.reward) == (None, None)
    assert found.comparison.decision is Decision.NO_GAIN
    assert set(found.differences.values()) == {None}


@pytest.mark.parametrize(("from_query", "pairs"), [(0, 0), (2, 0), (8, 8), (10, 8)])
def test_what_a_cap_refuses_is_missing(from_query: int, pairs: int) -> None:
    """A cap that is reached ends the race; the rungs before it say what they say, and nothing fails."""

    def reward(name: str, query: int) -> float:
        if query >= from_query:
            raise BudgetExceededError("max_lm_calls=9 is reached")
        return 3.0 + (name == FOUR[1].program) + query % 2 / 2

    found = selected(FOUR[:3], reward, rungs=(8, 8))
    assert found.winner is (FOUR[1] if pairs else FOUR[0])
    difference = found.comparison.difference
    assert (difference.count if difference else 0) == pairs
    assert found.comparison.decision is (Decision.IMPROVED if pairs else Decision.NO_GAIN)


def test_other_failures_end_the_selection() -> None:
    """Only a cap is a reason to go on; an outage is nobody's score."""

    def reward(name: str, query: int) -> float:
        raise RuntimeError("the server is down")

    with pytest.raises(RuntimeError, match="server"):
        selected(FOUR[:2], reward)


@given(st.integers(0, 10_000))
def test_it_is_a_function_of_the_judgements(salt: int) -> None:
    """Invariant: the same judgements give the same winner, interval and differences."""

    def reward(name: str, query: int) -> float:
        return noise(f"{salt} {name}", query)

    assert selected(FOUR[:3], reward, rungs=(3, 5)) == selected(FOUR[:3], reward, rungs=(3, 5))
