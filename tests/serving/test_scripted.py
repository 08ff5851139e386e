"""The scripted LM: a function that is asked through DSPy's ordinary call path."""

from __future__ import annotations

import json
from typing import Any

import dspy
import pytest
from dspy.lm15 import AuthError, Config, Message, Request, TextPart
from dspy.utils.exceptions import LMAuthError, LMUnexpectedError

from drpo.programs.judge import Asked, Judge
from drpo.serving.scripted import Prompt, read_prompt, scripted_lm


def test_the_function_sees_the_prompt_and_writes_the_reply() -> None:
    lm = scripted_lm(lambda prompt: json.dumps({"response": f"{prompt.temperature}"}), temperature=0.5)
    signature = dspy.Signature("query -> response", "Be brief.")
    with dspy.context(lm=lm, adapter=dspy.JSONAdapter()):
        predict = dspy.Predict(signature)
        predict.demos = [{"query": "a", "response": "b"}]
        assert predict(query="Why?").response == "0.5"
    (prompt,) = lm.engine.prompts
    assert "Be brief." in prompt.system
    assert [role for role, _ in prompt.turns] == ["user", "assistant", "user"]
    assert "Why?" in prompt.last
    assert prompt.text == "\n\n".join([prompt.system, *(text for _, text in prompt.turns)])


def test_usage_is_counted_in_words() -> None:
    lm = scripted_lm(lambda _: "one two three")
    lm("four words are here")
    usage = lm.history[-1]["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (4, 3, 7)


def test_nothing_is_cached_or_tried_again_unless_asked_for() -> None:
    replies = iter("abcdef")
    plain = scripted_lm(lambda _: next(replies))
    assert [plain("same"), plain("same")] == [["a"], ["b"]]
    cached = scripted_lm(lambda _: next(replies), cache=True, name="scripted-and-cached")
    assert [cached("same"), cached("same")] == [["c"], ["c"]]
    assert (plain.num_retries, scripted_lm(lambda _: "", num_retries=2).num_retries) == (0, 2)


@pytest.mark.parametrize(
    ("raised", "seen"), [(AuthError("wrong"), LMAuthError), (RuntimeError("something wrong"), LMUnexpectedError)]
)
def test_what_the_function_raises_is_what_a_server_would_have(raised: Exception, seen: type[Exception]) -> None:
    def fail(_: Prompt) -> str:
        raise raised

    with pytest.raises(seen, match="wrong"):
        scripted_lm(fail)("hi")


@pytest.mark.parametrize("structured", [True, False])
def test_it_takes_schemas_like_a_local_vllm_or_none_at_all(structured: bool) -> None:
    formats: list[Any] = []
    lm = scripted_lm(lambda _: json.dumps({"judgement_1": {"score": 3}}), structured_output=structured)
    complete = lm.engine.complete
    lm.engine.complete = lambda request: formats.append(request.config.response_format) or complete(request)
    (grade,) = Judge()(lm=lm, query="q", answer="a", criteria=[Asked("Clarity", "It is clear.")])
    assert grade is not None
    assert grade.score == 3
    assert (formats[0] is not None) is structured


@pytest.mark.parametrize(
    ("system", "text"), [(None, ""), ("Be brief.", "Be brief."), ((TextPart("Be "), TextPart("brief.")), "Be brief.")]
)
def test_a_system_message_is_text_in_any_form(system: Any, text: str) -> None:
    request = Request(model="m", messages=(Message.user("hi"),), system=system, config=Config(temperature=0.25))
    assert read_prompt(request) == Prompt(system=text, turns=(("user", "hi"),), temperature=0.25)


def test_it_streams_its_reply_whole() -> None:
    engine = scripted_lm(lambda _: "all at once").engine
    request = Request(model="m", messages=(Message.user("hi"),))
    assert "all at once" in repr(list(engine.stream(request)))
    engine.close()
