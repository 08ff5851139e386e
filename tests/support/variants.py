"""Further variants of a quick test, which `make test-slow` tries."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pytest


def slow(*cases: Any) -> list[Any]:
    """Return cases of `pytest.mark.parametrize` that the default tests leave out; a tuple holds several arguments."""
    return [pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow) for case in cases]


def mostly_slow(cases: Iterable[Any], *, quick: Collection[Any]) -> list[Any]:
    """Return all cases in their order, of which the default tests try the quick ones only."""
    return [case if case in quick else slow(case)[0] for case in cases]
