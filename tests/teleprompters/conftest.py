"""What the tests of this folder share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import dspy


@pytest.fixture(params=["chat", "json", pytest.param("xml", marks=pytest.mark.slow)])
def adapter(request: pytest.FixtureRequest) -> dspy.Adapter:
    """The student's adapter: every test that asks for it runs under each of DSPy's three."""
    import dspy
    from contract_programs import ADAPTERS

    adapter = ADAPTERS[request.param]()
    dspy.configure(adapter=adapter)
    return adapter
