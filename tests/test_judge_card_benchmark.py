"""The arithmetic of `benchmarks/judge_cards.py`: what counts as named, and what as a false alarm."""

from __future__ import annotations

from dataclasses import fields
from importlib import import_module
from types import ModuleType

import pytest

from drpo.metrics.judge_card.card import judge_card_of
from drpo.metrics.judge_card.evidence import Evidence
from drpo.metrics.judge_card.lights import Light
from drpo.serving.simulated.world import World


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    return import_module("judge_cards")


def test_faults_name_what_there_is(benchmark: ModuleType) -> None:
    """Every fault changes fields of a world and is named by measures of a card."""
    measures = {one.name for one in judge_card_of(Evidence(())).measures}
    known = {field.name for field in fields(World)}
    for fault in benchmark.FAULTS:
        assert set(fault.changes) <= known
        assert set(fault.named_by + fault.explains) <= measures


def test_named_and_false_alarms_are_counted_by_world(benchmark: ModuleType) -> None:
    """A world counts once however many lines are red; what the fault explains is no false alarm."""
    fault = benchmark.Fault("any", {}, ("noise",), ("broken_off",))
    cards = [
        benchmark.Lights(Light.RED, ("noise", "broken_off"), ()),
        benchmark.Lights(Light.RED, ("broken_off",), ("noise",)),
        benchmark.Lights(Light.RED, ("missing", "padding"), ()),
        benchmark.Lights(Light.GREEN, (), ()),
    ]
    row = benchmark.row_of(fault, cards)
    assert (row.worlds, row.named, row.seen, row.false_alarms) == (4, 1, 2, 1)
    assert row.lights == {"red": 3, "green": 1}
    assert row.red == {"noise": 1, "broken_off": 2, "missing": 1, "padding": 1}
