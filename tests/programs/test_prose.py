"""The prose adapter: the bytes that are sent are the bytes that are optimized."""

from __future__ import annotations

import asyncio
from typing import Any

import dspy
import pytest
from dspy.utils.exceptions import AdapterParseError
from hypothesis import given
from hypothesis import strategies as st

from drpo.errors import ConfigError
from drpo.programs.prose import STOPS, ProseAdapter, completion_prompt
from drpo.serving.scripted import Prompt, ScriptedEngine, scripted_lm

DEMOS = [
    {"query": "Boil an egg?", "response": "Eight minutes."},
    {"query": "Wash wool?", "response": "Cold,\nby hand."},
    {"query": "Iron silk?", "response": "Inside out."},
]
ODD = [
    "{braces} and {query}",
    "[QUERY] [INSTRUCTION]",
    "tabs\tand  blanks",
    "שלום 👩\u200d👩\u200d👧 \x00 end",
    "%s %(query)s $x",
]


def sent(
    signature: Any, *, demos: Any = (), reply: str = "Fine.", model_type: str = "chat", **inputs: Any
) -> tuple[Prompt, dspy.Prediction]:
    lm = scripted_lm(lambda _: reply, model_type=model_type)
    predict = dspy.Predict(signature)
    predict.demos = list(demos)
    with dspy.context(lm=lm, adapter=ProseAdapter()):
        prediction = predict(**inputs)
    return lm.engine.prompts[-1], prediction


def respond(instruction: str) -> type[dspy.Signature]:
    return dspy.Signature("query -> response", instruction)


@pytest.mark.parametrize("k", [0, 1, 3])
def test_chat_models_get_the_plain_conversation(k: int) -> None:
    prompt, prediction = sent(respond("Answer briefly."), demos=DEMOS[:k], query="Fry tofu?")
    turns = [turn for demo in DEMOS[:k] for turn in (("user", demo["query"]), ("assistant", demo["response"]))]
    assert prompt.system == "Answer briefly."
    assert prompt.turns == (*turns, ("user", "Fry tofu?"))
    assert prediction.response == "Fine."


@pytest.mark.parametrize("k", [0, 2])
def test_base_models_get_the_papers_layout(k: int) -> None:
    prompt, _ = sent(respond("Answer briefly."), demos=DEMOS[:k], model_type="text", query="Fry tofu?")
    shown = "".join(
        f"# Query\n{demo['query']}\n\n# Answer\n<START>\n{demo['response']}\n<END>\n\n" for demo in DEMOS[:k]
    )
    assert prompt.system == ""
    assert prompt.turns == (("user", f"Answer briefly.\n\n{shown}# Query\nFry tofu?\n\n# Answer\n<START>\n"),)


@pytest.mark.parametrize("text", ODD)
def test_nothing_in_a_text_is_expanded_or_escaped(text: str) -> None:
    """Invariant: instruction, query and demonstration reach the model byte for byte, whatever stands in them."""
    demos = [{"query": f"1 {text}", "response": f"2 {text}"}]
    signature = respond(f"3 {text}")
    assert signature.instructions == f"3 {text}".expandtabs()  # DSPy's doing, before anything is optimized
    chat, _ = sent(signature, demos=demos, query=f"4 {text}")
    assert chat.system == signature.instructions
    assert [part for _, part in chat.turns] == [f"1 {text}", f"2 {text}", f"4 {text}"]
    base, _ = sent(signature, demos=demos, query=f"4 {text}", model_type="text")
    assert base.last == completion_prompt(signature.instructions, [(f"1 {text}", f"2 {text}")], f"4 {text}")


@given(st.text(st.sampled_from(" \t\nab.{}[]"), min_size=1, max_size=30).filter(lambda text: text.strip()))
def test_every_layout_sends_the_signatures_own_instruction(text: str) -> None:
    """Invariant: DSPy trims an instruction when it is set; after that no layout changes a byte of it."""
    signature = respond(text)
    assert sent(signature, query="q")[0].system == signature.instructions
    base, _ = sent(signature, query="q", model_type="text")
    assert base.last == signature.instructions + "\n\n# Query\nq\n\n# Answer\n<START>\n"


def test_the_signature_is_left_as_it_was() -> None:
    signature = respond("Answer briefly.")
    before = dict(vars(signature))
    sent(signature, query="q", model_type="text")
    assert dict(vars(signature)) == before
    assert sent(signature, query="q")[0].system == "Answer briefly."


def test_a_very_long_query_is_sent_whole() -> None:
    query = "word " * 40_000
    assert sent(respond("Answer."), query=query)[0].last == query


def test_several_inputs_are_named_lines_in_the_signatures_order() -> None:
    signature = dspy.Signature("topic, tags: list[str], count: int -> poem", "Write.")
    prompt, prediction = sent(
        signature,
        demos=[{"topic": "sea", "tags": ["salt"], "count": 1, "poem": "Waves."}],
        count=2,
        topic="sky",
        tags=["blue", "wide"],
    )
    assert prompt.turns == (
        ("user", 'topic: sea\ntags: ["salt"]\ncount: 1'),
        ("assistant", "Waves."),
        ("user", 'topic: sky\ntags: ["blue", "wide"]\ncount: 2'),
    )
    assert prediction.poem == "Fine."


def test_a_demonstration_without_an_answer_is_not_shown() -> None:
    prompt, _ = sent(respond("Answer."), demos=[{"query": "unanswered"}, DEMOS[0]], query="q")
    assert [text for _, text in prompt.turns] == ["Boil an egg?", "Eight minutes.", "q"]


@pytest.mark.parametrize(
    "reply",
    ['{"response": "no JSON is read"}', "[[ ## response ## ]]\nno marks are read", "two\n\nparagraphs", "<END> of it"],
)
def test_the_whole_reply_of_a_chat_model_is_the_output(reply: str) -> None:
    assert sent(respond("Answer."), reply=f"\n {reply} \n", query="q")[1].response == reply


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("Plain.", "Plain."),
        ("\nPlain.\n<END>", "Plain."),
        ("Plain. <END", "Plain."),
        ("Plain.<|eot_id|>user", "Plain."),
        ("<START>\nAgain.\n<END>\n\n# Query\nmore", "Again."),
        ("first\n<START>\nsecond", "first\n<START>\nsecond"),
    ],
)
def test_a_base_models_reply_ends_at_the_first_marker(reply: str, answer: str) -> None:
    assert sent(respond("Answer."), reply=reply, model_type="text", query="q")[1].response == answer


@pytest.mark.parametrize(
    ("model_type", "reply"), [("chat", ""), ("chat", " \n"), ("text", "<END>"), ("text", "<START>")]
)
def test_an_empty_reply_is_a_parse_error(model_type: str, reply: str) -> None:
    with pytest.raises(AdapterParseError, match="empty"):
        sent(respond("Answer."), reply=reply, model_type=model_type, query="q")


def test_markers_in_texts_cannot_end_an_answer_early() -> None:
    """Invariant: in a base model's prompt only the layout opens and closes answers."""
    base, _ = sent(
        respond("Answer."),
        demos=[{"query": "a <END> b", "response": "c <START> d <END> e"}],
        model_type="text",
        query="f <START>",
    )
    assert base.last.count("<START>") == 2
    assert base.last.count("<END>") == 1


class _Requests(ScriptedEngine):
    """Keeps the requests whole, for what a `Prompt` does not say."""

    def __init__(self) -> None:
        super().__init__(lambda _: "Fine.")
        self.requests: list[Any] = []

    def complete(self, request: Any) -> Any:
        self.requests.append(request)
        return super().complete(request)


@pytest.mark.parametrize(
    ("model_type", "config", "stop"),
    [("text", {}, STOPS), ("text", {"stop": ["."]}, (".",)), ("chat", {}, ()), ("chat", {"stop": ["."]}, (".",))],
)
def test_only_base_models_are_given_stop_strings(
    model_type: str, config: dict[str, Any], stop: tuple[str, ...]
) -> None:
    engine = _Requests()
    with dspy.context(lm=dspy.LM("x", engine=engine, model_type=model_type, cache=False), adapter=ProseAdapter()):
        dspy.Predict(respond("Answer."))(query="q", config=config)
    assert tuple(engine.requests[0].config.stop or ()) == stop


class _Async:
    """A scripted engine's asynchronous side."""

    def __init__(self, engine: ScriptedEngine) -> None:
        self._engine = engine

    async def complete(self, request: Any) -> Any:
        return self._engine.complete(request)


@pytest.mark.parametrize("model_type", ["chat", "text"])
def test_asynchronous_calls_send_the_same(model_type: str) -> None:
    engine = ScriptedEngine(lambda _: "Fine.<END>" if model_type == "text" else "Fine.")
    lm = dspy.LM("x", engine=engine, async_engine=_Async(engine), model_type=model_type, cache=False)
    predict = dspy.Predict(respond("Answer."))
    predict.demos = DEMOS[:1]

    async def call() -> dspy.Prediction:
        with dspy.context(lm=lm, adapter=ProseAdapter()):
            return await predict.acall(query="q")

    assert asyncio.run(call()).response == "Fine."
    with dspy.context(lm=lm, adapter=ProseAdapter()):
        predict(query="q")
    assert engine.prompts[0] == engine.prompts[1]


def test_a_signature_of_two_outputs_is_refused() -> None:
    with pytest.raises(ConfigError, match="one output field, and this signature has 2"):
        sent(dspy.Signature("query -> reasoning, response"), query="q")
