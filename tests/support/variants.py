"""Further variants of a quick test, which `make test-slow` tries."""

from __future__ import annotations

from typing import Any

import pytest


def slow(*cases: Any) -> list[Any]:
    """Return cases of `pytest.mark.parametrize` that the default tests leave out; a tuple holds several arguments."""
    return [pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow) for case in cases]
