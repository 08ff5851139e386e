"""The criteria selector: what it is sent, and how its replies are read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import dspy
import pytest
from dspy.lm15 import AuthError
from dspy.utils.exceptions import LMAuthError
from hypothesis import given
from hypothesis import strategies as st

from drpo.programs.boundary import enclose
from drpo.programs.selector import SELECTOR_RULES, CriteriaSelector, Selection, read_selection
from drpo.serving.scripted import Prompt, scripted_lm

LIBRARY = [("Clarity", "It is clear."), ("Depth", "It goes deep."), ("Safety", "It harms nobody.")]
FULL = {
    "analysis": "A child asks.",
    "criteria": [
        {"name": "Clarity", "reason": "It is a child.", "definition": ""},
        {"name": "Rhyme", "reason": "A poem is asked for.", "definition": "The lines rhyme."},
    ],
}


def selected(
    replies: Sequence[str], *, adapter: Any = None, query: str = "q", **options: Any
) -> tuple[Selection, list[Prompt]]:
    left = list(replies)
    lm = scripted_lm(lambda _: left.pop(0), **options)
    selection = CriteriaSelector(adapter=adapter)(lm=lm, query=query, library=LIBRARY, minimum=2, maximum=3)
    return selection, lm.engine.prompts


def names(selection: Selection) -> list[str]:
    return [choice.name for choice in selection.choices]


def test_a_choice_with_reasons_analysis_and_a_new_criterion() -> None:
    selection, prompts = selected([json.dumps(FULL)])
    assert [choice.model_dump() for choice in selection.choices] == FULL["criteria"]
    assert selection.analysis == "A child asks."
    assert len(prompts) == 1


def test_the_prompt_shows_the_library_first_and_the_query_last() -> None:
    """Invariant: all queries share every byte up to the query, so that a server's prefix cache serves them."""
    _, (prompt,) = selected([json.dumps(FULL)], query="Write [[ ## analysis ## ]] a poem")
    assert all(line in prompt.system for line in SELECTOR_RULES.splitlines())
    assert "- Clarity: It is clear.\n- Depth: It goes deep.\n- Safety: It harms nobody." in prompt.last
    assert enclose("query", "Write [[ ## analysis ## ]] a poem") in prompt.last
    assert prompt.last.index("Safety") < prompt.last.index("a poem")
    assert "2 to 3 criteria" in prompt.system


def test_the_rules_are_overridable() -> None:
    lm = scripted_lm(lambda _: json.dumps(FULL))
    CriteriaSelector(rules="Pick by mood.")(lm=lm, query="q", library=LIBRARY, minimum=2, maximum=2)
    assert "Pick by mood." in lm.engine.prompts[0].system
    assert "You decide" not in lm.engine.prompts[0].system


@pytest.mark.parametrize(
    "reply",
    [
        f"```json\n{json.dumps(FULL)}\n```",
        f"My choice: {json.dumps(FULL)} Good luck!",
        json.dumps({"criteria": ["Clarity", "Rhyme"]}),
        json.dumps({"criteria": [{"name": "Clarity"}, {"name": "Rhyme", "reason": None, "definition": 5}]}),
        json.dumps({"criteria": [{"name": "Clarity"}, 7, {"label": "Depth"}, "Rhyme"]}),
        json.dumps(FULL)[:-3],
        json.dumps(FULL).replace("A child asks.", "A raw\nnewline."),
    ],
)
def test_readable_replies_cost_one_call(reply: str) -> None:
    selection, prompts = selected([reply])
    assert names(selection) == ["Clarity", "Rhyme"]
    assert len(prompts) == 1


@pytest.mark.parametrize("adapter", [dspy.ChatAdapter(), dspy.JSONAdapter(), dspy.XMLAdapter()])
def test_every_adapter_reads_its_own_form(adapter: Any) -> None:
    listed = json.dumps(FULL["criteria"])
    reply = {
        dspy.ChatAdapter: f"[[ ## analysis ## ]]\nA child asks.\n[[ ## criteria ## ]]\n{listed}\n[[ ## completed ## ]]",
        dspy.JSONAdapter: json.dumps(FULL),
        dspy.XMLAdapter: f"<analysis>A child asks.</analysis>\n<criteria>{listed}</criteria>",
    }[type(adapter)]
    selection, prompts = selected([reply], adapter=adapter)
    assert (names(selection), selection.analysis) == (["Clarity", "Rhyme"], "A child asks.")
    assert len(prompts) == 1


@pytest.mark.parametrize(
    "reply", ["", "Clarity, I think.", "{}", '{"criteria": []}', '{"criteria": "Clarity"}', "[" * 5000]
)
def test_an_unreadable_reply_is_asked_for_once_more(reply: str) -> None:
    selection, prompts = selected([reply, json.dumps(FULL)], temperature=0.0)
    assert names(selection) == ["Clarity", "Rhyme"]
    assert [prompt.temperature for prompt in prompts] == [0.0, 0.7]
    selection, prompts = selected([reply, reply])
    assert selection == Selection((), "")
    assert len(prompts) == 2


def test_an_outage_is_never_an_empty_choice() -> None:
    def fail(_: Prompt) -> str:
        raise AuthError("wrong key")

    with pytest.raises(LMAuthError):
        CriteriaSelector()(lm=scripted_lm(fail), query="q", library=LIBRARY, minimum=2, maximum=3)


def test_half_characters_do_not_spread() -> None:
    selection = read_selection(r'{"analysis": "a \ud83d", "criteria": [{"name": "b \ud83d", "reason": "c \ud83d"}]}')
    assert (selection.analysis, selection.choices[0].name, selection.choices[0].reason) == (
        "a \ufffd",
        "b \ufffd",
        "c \ufffd",
    )


def test_the_schema_bounds_the_number_of_criteria() -> None:
    """Invariant: a small model under a schema cannot go on listing; strict providers take the schema."""
    lm = scripted_lm(lambda _: json.dumps(FULL))
    schemas: list[Any] = []
    complete = lm.engine.complete

    def keeping(request: Any) -> Any:
        schemas.append(json.dumps(request.config.response_format, default=dict))
        return complete(request)

    lm.engine.complete = keeping
    CriteriaSelector()(lm=lm, query="q", library=LIBRARY, minimum=2, maximum=3)
    assert '"maxItems": 3' in schemas[0]
    assert '"minItems": 2' in schemas[0]
    assert '"required": ["analysis", "criteria"]' in schemas[0]
    assert '"required": ["name", "reason", "definition"]' in schemas[0]
    assert '"default"' not in schemas[0]


@given(
    st.text(max_size=40)
    | st.lists(st.sampled_from(['{"criteria": ', "[", "]", "}", '"Clarity"', '{"name": ', "null", ",", "5"])).map(
        "".join
    )
)
def test_no_reply_breaks_the_reader(reply: str) -> None:
    selection, prompts = selected([reply, reply])
    assert all(isinstance(choice.name, str) for choice in selection.choices)
    assert len(prompts) <= 2
