"""What is tried: the whole space, less what the config says itself, narrowed by the user."""

from __future__ import annotations

import pytest

from drpo.errors import ConfigError
from drpo.teleprompters.tuning.space import MINIBATCH, PAPER, Choices, Range, space_of


def space(**changes: object) -> dict:
    return dict(space_of(**{"paper": False, "optimize_demos": True, "given": {}, "narrowed": {}, **changes}))


def test_everything_is_tried_unless_told_otherwise() -> None:
    """Without a word of the user's the whole space of the search is tried."""
    assert space() == MINIBATCH
    assert space(paper=True) == PAPER


def test_what_the_config_gives_stays() -> None:
    """A setting that the config gives is not tried, unless `tune.space` names it."""
    assert "depth" not in space(given={"depth": 2})
    assert space(given={"depth": 2}, narrowed={"depth": (1, 2)})["depth"] == Range(1, 2)


def test_narrowed() -> None:
    """A range replaces the usual one, choices leave others out, null leaves a setting to the config."""
    found = space(narrowed={"temperature": (0.5, 0.6), "select": ("beam", "mc"), "k": None})
    assert found["temperature"] == Range(0.5, 0.6, whole=False)
    assert found["select"] == Choices(("beam", "mc"))
    assert "k" not in found


def test_settings_of_demonstrations_need_demonstrations() -> None:
    """Where none are collected, nothing of them is tried."""
    assert {"k", "demo_iters"} & set(space(optimize_demos=False)) == set()


@pytest.mark.parametrize(
    ("narrowed", "said"),
    [
        ({"beem_size": (1, 2)}, "tune.space.beem_size"),
        ({"max_depth_increase": (0, 2)}, "cannot be tuned in the default search"),
        ({"depth": (3, 1)}, r"tune.space.depth=\[3, 1\]: give \[lowest, highest\], two whole numbers"),
        ({"depth": (1.5, 2)}, "two whole numbers"),
        ({"depth": (1,)}, "lowest, highest"),
        ({"depth": (True, 2)}, "two whole numbers"),
        ({"temperature": ("a", "b")}, "two numbers"),
        ({"select": ("beam", "best")}, "give some of beam, greedy, pareto, mc"),
        ({"select": ()}, "give some of"),
        (dict.fromkeys(MINIBATCH), "nothing is left to tune"),
    ],
)
def test_what_makes_no_sense_is_refused(narrowed: dict, said: str) -> None:
    """Each mistake is named with its key, its value and what is allowed."""
    with pytest.raises(ConfigError, match=said):
        space(narrowed=narrowed)
