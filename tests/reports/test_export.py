"""Exports are what the adapter sends: to an endpoint, through LangChain, and through a plain DSPy program."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import dspy
import pytest
from contract_programs import Mixed
from endpoint import endpoint
from hypothesis import given
from hypothesis import strategies as st
from variants import slow

from drpo import ProseAdapter, Responder
from drpo.commands.exporting import export
from drpo.commands.responding import respond_one
from drpo.errors import ConfigError
from drpo.reports.export.assembly import assembly
from drpo.reports.export.bundle import Bundle
from drpo.reports.export.everything import everything_data
from drpo.reports.export.formats import FORMATS, FormatName
from drpo.reports.export.hashing import sha256
from drpo.reports.export.langchain import langchain
from drpo.reports.export.plain_dspy import plain_dspy
from drpo.reports.export.plain_text import plain_text
from drpo.serving.engine import build_lm
from drpo.serving.settings import LMSettings

POOL = [
    {"query": "Boil an egg?", "response": "Eight minutes, then {cold} water."},
    {"query": "Wash wool?", "response": "Cold,\nby hand. 50 % soap."},
    {"query": "Fry an egg?", "response": "In butter; naïve cooks {{use}} oil."},
    {"query": "Iron silk?", "response": "Inside out.\x00"},
    {"query": "Poach an egg?", "response": ""},
]
QUERY = 'How do I boil "two" {eggs}?\n'
REPLIES = {
    "prose": "Fine.",
    "chat": "[[ ## response ## ]]\nFine.\n\n[[ ## completed ## ]]",
    "json": '{"response": "Fine."}',
    "xml": "<response>\nFine.\n</response>",
}
MODEL = LMSettings(model="hosted_vllm/org/small", temperature=0.2, max_tokens=60)
TEXT = MODEL.model_copy(update={"model_type": "text"})


def responder(k: int = 3, adapter: str = "prose", instructions: str = "Answer {briefly}.\n- No <b>.") -> Responder:
    return Responder(instructions=instructions, demos=POOL, k=k, adapter=adapter)


@pytest.mark.parametrize("k", [3, *slow(0)])
@pytest.mark.parametrize(
    ("adapter", "model"),
    [("prose", MODEL), ("prose", TEXT), ("chat", MODEL), ("json", MODEL), ("xml", MODEL)],
    ids=["prose", "base", "chat", "json", "xml"],
)
def test_the_openai_export_is_what_an_endpoint_receives(
    adapter: str, model: LMSettings, k: int, tmp_path: Path
) -> None:
    """Round trip: the body of an export equals the body that `respond` sends, and a base model's prompt byte for byte."""
    path = tmp_path / "program.json"
    responder(k, adapter).save(path)
    with endpoint([REPLIES[adapter]]) as served:
        lm = build_lm(model.model_copy(update={"api_base": served.api_base, "num_retries": 0}))
        respond_one(path, lm, QUERY)
        [received] = served.bodies
    assert json.loads(export(path, format_=FormatName.OPENAI, query=QUERY, settings=model)) == received
    text = export(path, format_=FormatName.TEXT, query=QUERY, settings=model)
    if model is TEXT:
        assert text.encode() == received["prompt"].encode()
    else:
        assert all(message["content"] in text for message in received["messages"])
    bundle = json.loads(export(path, format_=FormatName.JSON, query=QUERY, settings=model))
    assert bundle["request"] == received
    assert len(bundle["shown"]) == k


@pytest.mark.parametrize("model", [MODEL, TEXT], ids=["chat", "base"])
def test_a_template_becomes_the_request_when_the_query_is_put_in(model: LMSettings) -> None:
    """Without a query the placeholder, and nothing else, stands where the query goes; the demonstrations are static."""
    template = Bundle(responder(), settings=model)
    filled = json.dumps(template.content).replace(json.dumps("{{query}}")[1:-1], json.dumps(QUERY)[1:-1])
    asked = Bundle(responder(), settings=model, inputs={"query": QUERY})
    assert template.shown == POOL[:3]
    assert json.loads(filled) == asked.request_with(POOL[:3])["prompt" if model is TEXT else "messages"]


def test_a_placeholder_stands_nowhere_else() -> None:
    """An instruction or a demonstration that holds the usual placeholder gets another one; so do fields named alike."""
    program = responder(instructions="Fill {{query}} and {{query_}} in.")
    assert Bundle(program).placeholders == {"query": "{{query__}}"}
    twins = Responder("a, a_ -> response", instructions="Of {{a}}.")
    assert Bundle(twins).placeholders == {"a": "{{a_}}", "a_": "{{a__}}"}


@pytest.mark.parametrize("model", [MODEL, TEXT], ids=["chat", "base"])
@pytest.mark.parametrize("adapter", ["prose", "chat", "xml"])
def test_the_pieces_of_a_pool_add_up_to_what_is_sent(adapter: str, model: LMSettings) -> None:
    """Whatever is retrieved: before, the pieces in that order, and after are the request."""
    bundle = Bundle(responder(adapter=adapter), settings=model)
    parts = assembly(bundle)
    for order in ([4, 0, 2], [1], []):
        whole = parts.before
        for number in order:
            whole = whole + parts.pieces[number]
        request = bundle.request_with([POOL[number] for number in order])
        assert whole + parts.after == request["prompt" if "prompt" in request else "messages"]


def test_pieces_that_do_not_add_up_are_not_told() -> None:
    """DSPy's adapters put incomplete demonstrations first: a sum of pieces would then be another prompt."""
    demos = [{"topic": "sea", "mood": "calm", "poem": "Waves."}, {"topic": "sky", "poem": "Blue."}]
    program = Responder("topic, mood -> poem", demos=demos, k=2, adapter="chat")
    assert assembly(Bundle(program, settings=MODEL)) is None
    assert everything_data(Bundle(program, settings=MODEL))["retrieval"]["pieces"] is None


def test_the_bundle_says_where_demonstrations_come_from_and_hashes_every_text() -> None:
    """The JSON export holds the pool, k and the encoder; its hashes are those of what stands in it."""
    data = everything_data(Bundle(responder(), settings=MODEL))
    assert (data["retrieval"]["k"], data["retrieval"]["pool"]) == (3, POOL)
    assert data["retrieval"]["encoder"]["kind"] == "lexical"
    assert data["sha256"] == {
        "instruction": sha256(data["instruction"]),
        "shown": sha256(data["shown"]),
        "pool": sha256(data["retrieval"]["pool"]),
        "content": sha256(data["request"]["messages"]),
    }


# --- LangChain ---


def loaded(text: str) -> Any:
    from langchain_core.load import loads

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its loader is marked as beta
        return loads(text, allowed_objects="core")


@pytest.mark.parametrize("adapter", ["prose", "chat"])
def test_langchain_sends_the_same_messages(adapter: str) -> None:
    """The template that LangChain loads formats to the messages of the request, braces and all."""
    template = loaded(langchain(Bundle(responder(adapter=adapter), settings=MODEL)))
    names = {"system": "system", "human": "user", "ai": "assistant"}
    sent = [{"role": names[one.type], "content": one.content} for one in template.format_messages(query=QUERY)]
    asked = Bundle(responder(adapter=adapter), settings=MODEL, inputs={"query": QUERY})
    assert sent == asked.request_with(POOL[:3])["messages"]


def test_langchain_sends_a_base_model_the_same_prompt() -> None:
    """A base model's template is one prompt; of a query that is given nothing is left open."""
    template = loaded(langchain(Bundle(responder(), settings=TEXT)))
    asked = Bundle(responder(), settings=TEXT, inputs={"query": QUERY})
    assert template.format(query=QUERY) == asked.request_with(POOL[:3])["prompt"]
    assert loaded(langchain(asked)).format() == asked.content


@given(st.text(st.sampled_from("{}q \n"), min_size=1, max_size=12).filter(str.strip))
def test_no_brace_is_lost_on_the_way_to_langchain(text: str) -> None:
    """Any run of braces in an instruction comes out as it went in."""
    bundle = Bundle(responder(k=0, instructions=text))
    system, *_ = loaded(langchain(bundle)).format_messages(query="q")
    assert system.content == bundle.instruction


# --- plain DSPy ---


@pytest.mark.parametrize("adapter", ["prose", "chat"])
def test_a_plain_predictor_loads_the_export_and_sends_the_same(adapter: str, tmp_path: Path) -> None:
    """DSPy alone, with the adapter configured, sends what the responder sends with static demonstrations."""
    bundle = Bundle(responder(adapter=adapter), settings=MODEL, inputs={"query": QUERY})
    (tmp_path / "plain.json").write_text(plain_dspy(bundle))
    plain = dspy.Predict("query -> response")
    plain.load(tmp_path / "plain.json")
    assert type(plain) is dspy.Predict
    assert [dict(demo) for demo in plain.demos] == bundle.shown
    with dspy.context(adapter=ProseAdapter() if adapter == "prose" else dspy.ChatAdapter()):
        assert Bundle(plain, settings=MODEL, inputs={"query": QUERY}).request == bundle.request


# --- programs ---


def test_a_program_of_ones_own_is_exported_predictor_by_predictor() -> None:
    """Several predictors need a name; the adapter is the configured one."""
    program = Mixed()
    name, predictor = next(iter(program.named_predictors()))
    with pytest.raises(ConfigError, match=f"predictor=None.*{name}"):
        Bundle(program)
    with dspy.context(adapter=dspy.XMLAdapter()):
        bundle = Bundle(program, predictor=name)
    assert bundle.adapter_name == "xml"
    assert predictor.signature.instructions in bundle.turns[0][1]


def test_a_predictors_own_model_counts() -> None:
    """As in a call, the LM that a predictor holds goes before the one that is given."""
    program = responder(k=0)
    program.respond.lm = build_lm(TEXT)
    assert Bundle(program, settings=LMSettings(model="openai/gpt-4o")).request["model"] == "org/small"
    assert "# Answer" in Bundle(program).content


def test_wrong_inputs_are_refused() -> None:
    """An input that is not the signature's, or is missing, is named before anything is rendered."""
    with pytest.raises(ConfigError, match="question"):
        Bundle(responder(), inputs={"question": "?"})


def test_nothing_is_changed_by_an_export() -> None:
    """A program is the same after all formats were made of it, and DSPy's settings are."""
    program = responder()
    before, was = json.dumps(program.dump_state()), dict(dspy.settings.copy())
    for make in FORMATS.values():
        make(Bundle(program, settings=MODEL))
    assert json.dumps(program.dump_state()) == before
    assert dict(dspy.settings.copy()) == was
    assert plain_text(Bundle(program)).startswith("----- system -----\nAnswer {briefly}.")
