"""What the tests of this folder share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import dspy


@pytest.fixture(params=["chat", *(pytest.param(name, marks=pytest.mark.slow) for name in ("json", "xml"))])
def adapter(request: pytest.FixtureRequest) -> dspy.Adapter:
    """The student's adapter: every test that asks for it runs under each of DSPy's three.

    In the default tests under its own default only; `test_default_contract.py` has programs under each.
    """
    import dspy
    from contract_programs import ADAPTERS

    adapter = ADAPTERS[request.param]()
    dspy.configure(adapter=adapter)
    return adapter
