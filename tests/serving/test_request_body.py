"""The body that is kept back is the body that would have been sent."""

from __future__ import annotations

from typing import Any

import dspy
import pytest
from endpoint import endpoint

from drpo.serving.engine import build_lm
from drpo.serving.request_body import request_body
from drpo.serving.settings import LMSettings

SAMPLING = {"temperature": 0.3, "top_p": 0.9, "max_tokens": 40, "seed": 7, "extra_body": {"top_k": 5}}


@pytest.mark.parametrize("model_type", ["chat", "text"])
@pytest.mark.parametrize("options", [{}, SAMPLING])
def test_the_body_is_what_an_endpoint_receives(model_type: str, options: dict[str, Any]) -> None:
    """Every field of the body reaches an endpoint as it was told, and none besides."""
    settings = LMSettings(model="hosted_vllm/org/small", model_type=model_type, **options)
    told = request_body(settings, lambda lm: lm("Naïve {query}\n"))
    with endpoint() as served:
        build_lm(settings.model_copy(update={"api_base": served.api_base}))("Naïve {query}\n")
        assert served.bodies == [told]
        assert served.sent[0].path == ("/v1/completions" if model_type == "text" else "/v1/chat/completions")


def test_no_key_is_needed_and_nothing_is_sent() -> None:
    """A key that is not set, a server that does not run and a cache with an answer make no difference."""
    settings = LMSettings(
        model="openai/gpt-4o", api_key_env="NO_SUCH_KEY", api_base="http://127.0.0.1:9/v1", cache=True
    )
    bodies = [request_body(settings, lambda lm: lm("Hello")) for _ in range(2)]
    assert bodies[0] == bodies[1] == {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}


def test_a_failure_before_the_request_is_raised() -> None:
    """What goes wrong on the way to the LM is no body."""

    def fail(lm: dspy.LM) -> None:
        raise LookupError("the encoder is gone")

    with pytest.raises(LookupError, match="encoder"):
        request_body(LMSettings(model="openai/gpt-4o"), fail)
    with pytest.raises(RuntimeError, match="not asked"):
        request_body(LMSettings(model="openai/gpt-4o"), lambda lm: None)
