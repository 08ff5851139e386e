"""The guards of `conftest.py` themselves: the suite cannot call a real LM by accident."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

import dspy
import pytest


@pytest.fixture
def refusal(network_guard: Any) -> Callable[[Callable[[], Any]], str]:
    """Make a call that must be refused, and return the words of the refusal."""

    def refused(call: Callable[[], Any]) -> str:
        with pytest.raises(pytest.fail.Exception) as caught:
            call()
        network_guard.attempts.clear()  # else this test would be failed for the attempt
        return str(caught.value)

    return refused


@pytest.mark.parametrize("engine", ["auto", "litellm"])
def test_a_real_lm_call_is_refused(engine: str, refusal: Callable[[Callable[[], Any]], str]) -> None:
    """Neither of DSPy's two ways to a provider gets out, and the refusal names where it was going."""
    lm = dspy.LM("openai/gpt-4o-mini", api_key="no key", engine=engine, num_retries=0)
    with dspy.context(lm=lm):
        assert "api.openai.com" in refusal(lambda: dspy.Predict("question -> answer")(question="?"))


def test_other_machines_are_refused(refusal: Callable[[Callable[[], Any]], str]) -> None:
    """An address is refused like a name, in both ways of connecting."""
    with socket.socket() as one:
        assert "203.0.113.7:443" in refusal(lambda: one.connect(("203.0.113.7", 443)))
        assert "203.0.113.7:443" in refusal(lambda: one.connect_ex(("203.0.113.7", 443)))


def test_a_swallowed_attempt_still_fails_the_test(network_guard: Any) -> None:
    """The attempt is remembered, so code that catches everything cannot hide it."""
    try:
        socket.create_connection(("example.invalid", 80))
    except BaseException:
        assert network_guard.attempts == ["example.invalid:80"]
    else:
        pytest.fail("the connection was made")
    network_guard.attempts.clear()


def test_this_machine_can_be_reached() -> None:
    """A server of a test's own is no network."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(("localhost", server.getsockname()[1])).close()


@pytest.mark.parametrize("turn", [1, 2])
def test_settings_start_fresh(turn: int) -> None:
    """A test that configures DSPy leaves nothing for the next one."""
    assert dspy.settings.lm is None
    assert dspy.settings.max_errors == 10
    dspy.configure(lm=dspy.utils.DummyLM([{"answer": "x"}]), max_errors=turn)


def test_nothing_of_the_person_running_it_is_seen() -> None:
    """Neither a key nor the cache of the home folder reaches a test."""
    assert not [name for name in os.environ if name.endswith("_API_KEY")]
    assert dspy.cache.enable_disk_cache is False
