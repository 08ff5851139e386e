"""Presets: what `auto` fills in, what is refused before a call is paid, and what a run is expected to cost."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drpo.errors import ConfigError
from drpo.teleprompters.plan import evaluation_calls, expected_calls, level_calls
from drpo.teleprompters.presets import (
    AUTO,
    MINIBATCH,
    PAPER,
    MinibatchSettings,
    PaperSettings,
    check_number,
    rungs,
    search_settings,
)

PAPER_FIELDS = {field.name for field in fields(PaperSettings)}
COSTLIER = ["beam_size", "n_actions", "depth", "minibatch_size", "first_size", "num_demos", "demo_iters"]


@pytest.mark.parametrize("auto", MINIBATCH)
def test_a_preset_is_what_nothing_given_means(auto: str) -> None:
    """None is "not given"; a level can only judge on queries that the seed was judged on, so those are enough."""
    settings = search_settings(auto, dict.fromkeys([*COSTLIER, "temperature", "k"]))
    assert settings is not None
    assert settings == MINIBATCH[auto] == search_settings(auto, {})
    assert MINIBATCH[auto].first_size >= MINIBATCH[auto].minibatch_size
    assert MINIBATCH[auto].num_demos >= MINIBATCH[auto].k
    assert not MINIBATCH[auto].fill, "a cap is no target"
    for field in (field for field in fields(MinibatchSettings) if field.name != "fill"):
        check_number(field.name, getattr(MINIBATCH[auto], field.name), 0, whole=field.name != "temperature")


def test_the_papers_preset() -> None:
    assert search_settings("paper", {}) == PAPER
    assert search_settings("paper", {"minibatch_size": 1, "k": 3}) == PAPER
    assert set(AUTO) == {*MINIBATCH, "paper"}


@pytest.mark.parametrize("auto", AUTO)
@pytest.mark.parametrize(
    ("name", "value"), [("beam_size", 7), ("n_actions", 5), ("depth", 9), ("temperature", 0), ("temperature", 1.3)]
)
def test_what_is_given_stands_in_the_presets_place(auto: str, name: str, value: float) -> None:
    """Invariant: the value given, and every other setting as the preset has it."""
    found, preset = search_settings(auto, {name: value}), search_settings(auto, {})
    assert asdict(found) == {**asdict(preset), name: value}


@pytest.mark.parametrize("auto", MINIBATCH)
@pytest.mark.parametrize("size", [1, 2, 30, 100])
def test_a_larger_minibatch_needs_more_first_queries(auto: str, size: int) -> None:
    """Invariant: the seed is judged on at least as many queries as a level asks for."""
    found = search_settings(auto, {"minibatch_size": size})
    assert isinstance(found, MinibatchSettings)
    assert found.first_size >= found.minibatch_size == size
    assert sum(found.rungs) == size


def test_without_a_preset_everything_is_given() -> None:
    """All of the paper's settings; with a minibatch those of the default search, the rest as in `light`."""
    own = {"beam_size": 1, "n_actions": 2, "depth": 3, "temperature": 0.5}
    assert search_settings(None, {**own, "max_depth_increase": 0}) == PaperSettings(1, 2, 3, 0, 0.5)
    found = search_settings(None, {**own, "minibatch_size": 2})
    assert asdict(found) == {**asdict(MINIBATCH["light"]), **own, "minibatch_size": 2}


@pytest.mark.parametrize("size", [None, 1, 6])
def test_what_is_left_open_is_named(size: int | None) -> None:
    """Without a preset every open setting is in the message, and no other."""
    with pytest.raises(ConfigError) as caught:
        search_settings(None, {"beam_size": 2, "minibatch_size": size})
    opened = {name for name in PAPER_FIELDS if name in str(caught.value)}
    expected = PAPER_FIELDS - {"beam_size"} - ({"max_depth_increase"} if size == 6 else set())
    assert opened == expected


@pytest.mark.parametrize("auto", AUTO)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("beam_size", 0), ("beam_size", -1), ("beam_size", 1.5), ("beam_size", True), ("beam_size", "2"),
        ("n_actions", 0), ("n_actions", float("inf")), ("depth", 0), ("depth", [3]), ("temperature", -0.1),
        ("temperature", float("nan")), ("temperature", float("inf")), ("temperature", "hot"), ("temperature", False),
        ("minibatch_size", 0), ("minibatch_size", 2.0), ("k", -1), ("k", 0.5), ("demo_iters", -1),
        ("max_depth_increase", -1),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_by_its_name(auto: str, name: str, value: Any) -> None:
    """The message names the argument and its value, and which numbers are possible."""
    with pytest.raises(ConfigError) as caught:
        search_settings(auto, {name: value})
    assert str(caught.value).startswith(f"{name}={value!r}: give a")
    assert "at least" in str(caught.value)


@pytest.mark.parametrize("auto", ["", "Light", "extreme", 3, ["light"]])
def test_a_wrong_preset_is_refused(auto: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        search_settings(auto, {})
    assert f"auto={auto!r}" in str(caught.value)
    assert all(repr(name) in str(caught.value) for name in AUTO)


def test_what_is_of_no_use_under_a_preset_is_refused() -> None:
    """A minibatch in the paper's search, and a growing depth in the default one."""
    with pytest.raises(ConfigError, match="minibatch_size=4"):
        search_settings("paper", {"minibatch_size": 4})
    for auto, more in (("light", {}), ("heavy", {}), (None, {"minibatch_size": 4})):
        with pytest.raises(ConfigError, match="max_depth_increase=3"):
            search_settings(auto, {"max_depth_increase": 3, **more})


def test_what_is_given_is_not_changed() -> None:
    """Invariant: the mapping is the caller's."""
    given = {"minibatch_size": 50, "depth": None}
    search_settings("light", given)
    assert given == {"minibatch_size": 50, "depth": None}


@given(st.integers(1, 500))
def test_rungs_add_up_and_grow(size: int) -> None:
    """Invariants: no rung is empty, together they are the batch, and no step of a race is smaller than the one before."""
    found = rungs(size)
    assert sum(found) == size
    assert min(found) >= 1
    assert list(found) == sorted(found)
    assert len(found) == (1 if size < 4 else 3)
    assert sum(rungs(size + 1)) == size + 1


settings_of = st.builds(
    lambda preset, **changes: replace(preset, **changes),
    st.sampled_from(list(MINIBATCH.values())),
    beam_size=st.integers(1, 4), n_actions=st.integers(1, 10), depth=st.integers(1, 6),
    minibatch_size=st.integers(1, 40), first_size=st.integers(1, 60), num_demos=st.integers(0, 20),
    demo_iters=st.integers(0, 4),
)  # fmt: skip


@given(settings_of, st.integers(4, 300), st.integers(0, 300), st.integers(1, 3), st.booleans())
def test_more_work_is_expected_to_cost_more(
    chosen: MinibatchSettings, num_train: int, num_val: int, predictors: int, demos: bool
) -> None:
    """Invariants.

    A whole number of calls; never fewer for more of anything; at least the seed's answers with their criteria, one
    call per rewrite, and the held-out queries of both programs.
    """
    sizes: dict[str, Any] = {
        "num_train": num_train, "num_val": num_val, "predictors": predictors, "optimize_demos": demos
    }  # fmt: skip
    calls = expected_calls(chosen, **sizes)
    assert isinstance(calls, int)
    evaluation = predictors + 1
    least = min(chosen.first_size, num_train) * (1 + evaluation) + chosen.depth * chosen.n_actions
    assert calls >= least + num_val * (1 + 2 * evaluation)
    for name in COSTLIER:
        if name == "minibatch_size" and chosen.minibatch_size < 4:
            continue  # so few are one rung; with one more there is a race, which saves calls
        more = expected_calls(replace(chosen, **{name: getattr(chosen, name) + 1}), **sizes)
        assert more >= calls, name
    for name in ("num_train", "num_val", "predictors"):
        assert expected_calls(chosen, **{**sizes, name: sizes[name] + 1}) >= calls, name
    assert expected_calls(chosen, **{**sizes, "optimize_demos": True}) >= calls


@given(settings_of, st.integers(1, 4), st.integers(2, 4))
def test_a_level_costs_its_rewrites_and_its_race(chosen: MinibatchSettings, nodes: int, evaluation: int) -> None:
    """Invariant: at least one call per rewrite and one judged winner; at most everybody on every query."""

    def calls_of(nodes: int) -> float:
        return sum(level_calls(chosen, nodes=nodes, evaluation=evaluation_calls(task=evaluation - 1)).values())

    calls = calls_of(nodes)
    rewrites = nodes * chosen.n_actions
    assert calls >= rewrites + chosen.minibatch_size * evaluation
    assert calls <= rewrites + nodes * (1 + chosen.n_actions) * chosen.minibatch_size * evaluation
    assert calls_of(nodes + 1) > calls


def test_presets_grow_in_their_order() -> None:
    """`light` costs less than `medium`, and that less than `heavy`, with as many examples as each can use."""
    calls = [expected_calls(preset, num_train=200, num_val=preset.num_val) for preset in MINIBATCH.values()]
    assert calls == sorted(set(calls))
