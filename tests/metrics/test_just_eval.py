"""The suite's words and samples.

Invariants: no sentence of the reward stands in the suite; a sample has the size asked for, each group in proportion.
"""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drpo.metrics.criteria import LIBRARY
from drpo.metrics.just_eval.aspects import ASPECTS, RULES, SAFETY, Category, aspects_of
from drpo.metrics.just_eval.sampling import stratified
from drpo.programs.judge import JUDGE_RULES
from drpo.serving.simulated.lexicon import criteria_like

LONGEST = 5
"""So many words in a row must not stand in both texts."""


def runs(*texts: str) -> set[tuple[str, ...]]:
    """Return every run of `LONGEST` words."""
    found = set()
    for text in texts:
        words = re.findall(r"[\w']+", text.casefold())
        found |= {tuple(words[start : start + LONGEST]) for start in range(len(words) - LONGEST + 1)}
    return found


def test_the_suite_and_the_reward_share_no_wording() -> None:
    """A program trained under the reward's sentences is marked by other ones: no five words in a row are the same."""
    trained = runs(JUDGE_RULES, *(text for one in LIBRARY for text in (one.definition, one.best, one.worst)))
    marked = runs(RULES, *(text for one in (*ASPECTS, *SAFETY) for text in (one.definition, one.best, one.worst)))
    assert trained & marked == set()


def test_the_paper_s_aspects() -> None:
    """Regular queries are marked on the five aspects of the paper's protocol, safety queries on safety alone."""
    names = [aspect.name for aspect in aspects_of(Category.REGULAR)]
    assert names == ["Helpfulness", "Clarity", "Factuality", "Depth", "Engagement"]
    assert aspects_of(Category.SAFETY) == SAFETY


@pytest.mark.parametrize("aspect", [*ASPECTS, *SAFETY], ids=lambda aspect: aspect.name)
def test_the_simulated_judge_knows_each_aspect(aspect: object) -> None:
    """An aspect is read as the criterion of its name and as nothing else, whatever else its words sound like."""
    assert criteria_like(f"{aspect.name}: {aspect.definition}") == ((aspect.name, 1.0),)


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=40), st.integers(1, 50), st.integers(0, 3))
def test_a_sample_is_proportional(groups: list[str], limit: int, seed: int) -> None:
    """A sample has the size asked for, in order, and each group is within one of its exact share."""
    kept = stratified(list(range(len(groups))), groups, limit=limit, seed=seed)
    assert len(kept) == min(limit, len(groups))
    assert kept == sorted(set(kept))
    counts = Counter(groups[place] for place in kept)
    for group, size in Counter(groups).items():
        assert abs(counts[group] - size * len(kept) / len(groups)) < 1
    assert kept == stratified(list(range(len(groups))), groups, limit=limit, seed=seed)


def test_another_seed_draws_others() -> None:
    """The seed decides which ones."""
    items = list(range(100))
    assert stratified(items, [0] * 100, limit=10, seed=1) != stratified(items, [0] * 100, limit=10, seed=2)
