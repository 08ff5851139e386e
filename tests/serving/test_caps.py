"""Caps as they are given: a number, or one by role."""

from __future__ import annotations

from typing import Any

import pytest

from drpo import DRPOTeleprompter
from drpo.errors import ConfigError
from drpo.serving.caps import Cap, CapKind, caps_of
from drpo.serving.roles import Role


def test_a_number_and_a_mapping() -> None:
    """A number bounds all roles together, a mapping each that it names."""
    assert caps_of({"max_lm_calls": 400, "max_cost": {"judge": 2.5, "run": 4}, "max_tokens": None}) == (
        Cap(CapKind.LM_CALLS, 400),
        Cap(CapKind.COST, 2.5, Role.JUDGE),
        Cap(CapKind.COST, 4),
    )


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("max_lm_calls", 0, "max_lm_calls=0: give a whole number of at least 1"),
        ("max_lm_calls", 2.5, "max_lm_calls=2.5: give a whole number"),
        ("max_tokens", True, "max_tokens=True: give a whole number"),
        ("max_cost", "five", "max_cost='five': give a number of at least 0"),
        ("max_seconds", float("nan"), "max_seconds=nan: give a number"),
        ("max_lm_calls", {"jury": 3}, "'jury' is no role; choose of run, task, judge, criteria, prompt"),
        ("max_lm_calls", {"judge": 0}, r"max_lm_calls\['judge'\]=0: give a whole number of at least 1"),
    ],
)
def test_what_is_refused(name: str, value: Any, said: str) -> None:
    """A cap that cannot be meant is refused when the optimizer is made, with its name, its value and what to give."""
    with pytest.raises(ConfigError, match=said):
        DRPOTeleprompter(**{name: value})
