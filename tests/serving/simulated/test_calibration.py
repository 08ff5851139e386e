from importlib import import_module
from types import ModuleType

import pytest

from drpo.serving.simulated.world import World


@pytest.fixture(scope="module")
def calibration() -> ModuleType:
    return import_module("calibration")


@pytest.fixture(scope="module")
def measured(calibration: ModuleType) -> dict[str, float]:
    return calibration.measure(World(), calibration.shipped_queries(), models=4, repeats=2)


@pytest.mark.slow
def test_the_default_world_lies_within_the_stated_bounds(calibration: ModuleType, measured: dict[str, float]) -> None:
    """The calibrated world is as the published runs are, in every row of the table."""
    outside = {
        row.name: (measured[row.name], row.low, row.high)
        for row in calibration.ROWS
        if not row.low <= measured[row.name] <= row.high
    }
    assert not outside


def test_the_bounds_hold_reality_and_can_fail(calibration: ModuleType) -> None:
    """Every bound contains the published number, and another world breaks many of them."""
    assert all(row.low <= row.reality <= row.high for row in calibration.ROWS)
    other = calibration.measure(World.preset("saturated"), calibration.shipped_queries(), models=2)
    assert sum(not row.low <= other[row.name] <= row.high for row in calibration.ROWS) >= 5


def test_the_variance_split_is_that_of_its_definition(calibration: ModuleType) -> None:
    """Differences between queries only, between models only, and within only, each give a share of one."""
    queries = [(model, query, float(query == "a")) for model in (0, 1) for query in "ab" for _ in range(2)]
    models = [(model, query, float(model == (query == "a"))) for model in (0, 1) for query in "ab" for _ in range(2)]
    within = [(0, "a", 1.0), (0, "a", 0.0), (0, "b", 1.0), (0, "b", 0.0)]
    assert calibration.variance_split(queries) == pytest.approx((1, 0, 0))
    assert calibration.variance_split(models) == pytest.approx((0, 1, 0))
    assert calibration.variance_split(within) == pytest.approx((0, 0, 1))
