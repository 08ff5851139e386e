"""The verdict of a tuning: what fresh folds say decides, and nothing looks better than it is."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from drpo.reports.tuning import header, verdict


def study(interval: list[float] | None = None, **changes: Any) -> dict[str, Any]:
    """Return what `tuning.json` says of a study whose best trial leads in its trials, changed."""
    mean = 0.0 if interval is None else sum(interval) / 2
    confirmed = {
        "trial": 3, "mean": mean, "interval": interval,
        "best": {"value": 0.3 + mean, "folds": [{}, {}, {}]}, "own": {"value": 0.3, "folds": [{}, {}, {}]},
    }  # fmt: skip
    return {
        "study": "s", "simulated": False, "states": {"complete": 15, "pruned": 5}, "trials": [{}] * 20,
        "objective": {"name": "gain_per_call", "formula": "mean", "unit": "reward per 1,000 LM calls"},
        "best": {"trial": 3, "value": 0.4, "interval": [0.3, 0.5]}, "own": {"trial": 0, "value": 0.3, "interval": None},
        "difference": {"mean": 0.1, "interval": [0.02, 0.18]}, "confirmed": confirmed, "unconfirmed": None, **changes,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("interval", "advice"),
    [
        ([0.01, 0.2], "Take the tuned settings: the whole interval is above 0."),
        ([0.0, 0.0], "Keep your own settings: the interval holds 0."),
        ([-0.1, 0.2], "Keep your own settings: the interval holds 0."),
        ([-0.2, -0.1], "Keep your own settings: the tuned ones are worse."),
        (None, "Keep your own settings: one fold cannot tell a gain from luck."),
    ],
)
def test_the_confirmed_interval_decides(interval: list[float] | None, advice: str) -> None:
    """A difference of the trials that is clear of 0 decides nothing; it is shown as the luck that it may be."""
    for lines in (verdict(study(interval)), header(study(interval))):
        assert any(line.startswith(advice) for line in lines)
        assert sum("your own settings" in line or "the tuned settings" in line for line in lines) == 1
    trials = next(line for line in verdict(study(interval)) if "+0.100" in line)
    assert "The best of 20 noisy trials looks better than it is, so this is no figure to go by." in trials
    assert not any("+0.100" in line for line in header(study(interval)))


def test_unconfirmed_settings_are_not_recommended() -> None:
    """Why nothing is confirmed is said, whatever the error's text is made of; it adds no line to the config."""
    data = study(confirmed=None, unconfirmed="a judge said\nn_actions: 99")
    for lines in (verdict(data), header(data)):
        assert "Not confirmed on fresh folds: a judge said n_actions: 99." in lines
        assert "Keep your own settings until they are." in lines
    assert yaml.safe_load("".join(f"# {line}\n" for line in header(data))) is None


def test_own_settings_may_be_the_best() -> None:
    """Then there is nothing to take or to keep."""
    data = study(difference=None, confirmed=None, unconfirmed="the best settings are the config's own")
    assert verdict(data) == [
        "Best: the config's own settings (trial 3) with +0.400 (95 % interval +0.300 to +0.500) reward per 1,000 LM calls."
    ]
