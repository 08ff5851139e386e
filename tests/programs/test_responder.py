"""The responder: the program that is compiled unless the user brings another."""

from __future__ import annotations

import json
from typing import Any, Literal

import dspy
import pytest

from drpo.errors import ConfigError, ProgramFileError, ProgramStructureError
from drpo.programs.prose import ProseAdapter
from drpo.programs.responder import Responder, make_adapter, read_about
from drpo.serving.scripted import Prompt, scripted_lm

DEMOS = [{"query": f"question {letter}", "response": f"answer {letter}"} for letter in "abcd"]


def ask(responder: dspy.Module, reply: str = "Fine.", **inputs: Any) -> tuple[Prompt, dspy.Prediction]:
    lm = scripted_lm(lambda _: reply)
    with dspy.context(lm=lm):
        prediction = responder(**inputs)
    return lm.engine.prompts[-1], prediction


def test_it_answers_in_prose_whatever_adapter_is_configured() -> None:
    """Invariant: the layout is the program's own; the settings are as before."""
    with dspy.context(adapter=dspy.JSONAdapter()):
        before = dspy.settings.adapter
        prompt, prediction = ask(Responder(), query="Why?")
        assert dspy.settings.adapter is before
    assert (prompt.system, prompt.turns) == ("You are a helpful assistant.", (("user", "Why?"),))
    assert prediction.response == "Fine."


@pytest.mark.parametrize(
    ("given", "k", "shown"), [(0, None, 0), (1, None, 1), (4, None, 2), (4, 0, 0), (4, 3, 3), (4, 4, 4)]
)
def test_how_many_demonstrations_are_shown(given: int, k: int | None, shown: int) -> None:
    prompt, _ = ask(Responder(demos=DEMOS[:given], k=k), query="Why?")
    assert len(prompt.turns) == 2 * shown + 1


@pytest.mark.parametrize("k", [5, -1, "2", True, 1.0])
def test_k_must_fit_the_pool(k: Any) -> None:
    with pytest.raises(ConfigError, match=r"k="):
        Responder(demos=DEMOS, k=k)


def test_the_query_itself_is_never_its_own_demonstration() -> None:
    prompt, _ = ask(Responder(demos=DEMOS, k=4), query="Question  A")
    assert "answer a" not in prompt.text


def test_instructions_may_stand_in_the_signature_or_beside_it() -> None:
    signature = dspy.Signature("query -> response", "From the signature.")
    assert ask(Responder(signature), query="q")[0].system == "From the signature."
    assert ask(Responder(signature, instructions="Beside it."), query="q")[0].system == "Beside it."
    assert signature.instructions == "From the signature."


def test_several_inputs() -> None:
    responder = Responder(
        "topic, mood -> poem", demos=[{"topic": "sea", "mood": "calm", "poem": "Waves."}], instructions="Write."
    )
    prompt, prediction = ask(responder, topic="sky", mood="wild")
    assert [text for _, text in prompt.turns] == ["topic: sea\nmood: calm", "Waves.", "topic: sky\nmood: wild"]
    assert prediction.poem == "Fine."


@pytest.mark.parametrize(
    ("adapter", "reply"),
    [
        ("prose", "Hi."),
        ("chat", "[[ ## response ## ]]\nHi.\n\n[[ ## completed ## ]]"),
        ("json", '{"response": "Hi."}'),
        ("xml", "<response>\nHi.\n</response>"),
    ],
)
def test_every_adapter_answers(adapter: Any, reply: str) -> None:
    assert ask(Responder(adapter=adapter, demos=DEMOS), reply=reply, query="q")[1].response == "Hi."


def test_prose_has_one_output_and_the_other_adapters_several() -> None:
    with pytest.raises(ConfigError, match="use adapter='chat', 'json' or 'xml'"):
        Responder("query -> plan, response")
    reply = '{"plan": "think", "response": "Hi."}'
    assert ask(Responder("query -> plan, response", adapter="json"), reply=reply, query="q")[1].plan == "think"


def test_an_unknown_adapter_is_named() -> None:
    with pytest.raises(ConfigError, match="adapter='yaml': choose one of prose, chat, json, xml"):
        make_adapter("yaml")  # type: ignore[arg-type]
    assert isinstance(make_adapter("prose"), ProseAdapter)


def test_a_predictors_own_lm_answers() -> None:
    responder = Responder()
    responder.respond.lm = scripted_lm(lambda _: "Mine.")
    with dspy.context(lm=scripted_lm(lambda _: "Another's.")):
        assert responder(query="q").response == "Mine."


def test_a_copy_shares_no_predictor() -> None:
    responder = Responder(demos=DEMOS)
    copied = responder.deepcopy()
    copied.respond.signature = copied.respond.signature.with_instructions("Changed.")
    assert responder.respond.signature.instructions == "You are a helpful assistant."
    assert copied.respond is not responder.respond


@pytest.mark.parametrize("adapter", ["prose", "json"])
def test_a_saved_responder_says_how_to_build_it(adapter: Any) -> None:
    state = json.loads(json.dumps(Responder("a, b -> c", adapter=adapter).dump_state()))
    assert state["responder"] == {
        "format": 1,
        "adapter": adapter,
        "signature": {"inputs": ["a", "b"], "outputs": ["c"], "types": {}},
    }
    rebuilt = Responder.from_state(state)
    rebuilt.load_state(state)
    assert rebuilt.dump_state() == Responder("a, b -> c", adapter=adapter).dump_state()


def test_loading_takes_over_the_adapter() -> None:
    responder = Responder()
    responder.load_state(Responder(adapter="xml").dump_state())
    assert responder.adapter == "xml"


def test_a_state_of_another_signature_is_refused() -> None:
    """Invariant: a state that does not fit changes nothing."""
    responder = Responder(instructions="Mine.")
    for other in (Responder("question -> answer"), Responder("query -> response: int", adapter="json")):
        with pytest.raises(ProgramStructureError, match="is not this Responder"):
            responder.load_state(other.dump_state())
    with pytest.raises(ProgramStructureError, match="is not this Responder"):
        responder.load_state({"respond": dspy.Predict("query -> response").dump_state()})
    assert responder.respond.signature.instructions == "Mine."


def test_field_types_do_not_stand_in_a_file() -> None:
    state = Responder("query -> mood: Literal['good', 'bad']", adapter="json").dump_state()
    assert state["responder"]["signature"]["types"] == {"mood": "Literal['good', 'bad']"}
    with pytest.raises(ProgramStructureError, match="fields of the types"):
        Responder.from_state(state)
    signature = dspy.Signature(
        {"query": (str, dspy.InputField()), "mood": (Literal["good", "bad"], dspy.OutputField())}
    )
    Responder(signature, adapter="json").load_state(state)


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"format": 2}, "format 2, this version of drpo reads 1"),
        ("text", "format 'text'"),
        ({"format": 1}, "incomplete"),
        ({"format": 1, "adapter": "prose", "signature": {"inputs": ["a"], "outputs": []}}, "incomplete"),
        ({"format": 1, "adapter": "prose", "signature": {"inputs": ["a b"], "outputs": ["c"]}}, "incomplete"),
        ({"format": 1, "adapter": ["prose"], "signature": {"inputs": ["a"], "outputs": ["c"]}}, "incomplete"),
    ],
)
def test_damaged_descriptions(about: Any, message: str) -> None:
    with pytest.raises(ProgramFileError, match=message):
        read_about({"responder": about})


def test_another_programs_state_has_no_description() -> None:
    assert read_about({}) is None
    with pytest.raises(ProgramStructureError, match=r"student=\.\.\."):
        Responder.from_state({})
