"""Rules of an instruction: they are found, compared and merged without losing one and without an LM."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from drpo.programs.rules import Outline, added, alike, contradicts, merged, outline, words

PARENT = "You help people.\n\n- Be kind.\n- Admit what you cannot know.\n\nThank you."

_VOCABULARY = """ask back never guess be brief give examples avoid jargon 请 简洁 كن लघु cite - 1. • * don't"""
_vocabulary = st.sampled_from(_VOCABULARY.split())
_rule = st.lists(_vocabulary, min_size=1, max_size=6).map(" ".join)
_line = st.tuples(st.sampled_from(["", "- ", "* ", "  - ", "• ", "•", "3) ", "999. ", "  ", "\t"]), _rule).map("".join)
_instruction = st.lists(_line | st.just(""), max_size=8).map("\n".join)
_any = _instruction | st.text(max_size=60)


@pytest.mark.parametrize("mark", ["-", "*", "•", "1.", "12)", "  -", "\t*"])
def test_every_mark_opens_a_rule_and_indented_lines_belong_to_it(mark: str) -> None:
    """The mark is no part of the rule; the next unindented line is no part of it either."""
    found = outline(f"Opening.\n{mark} Be kind,\n    and brief.\nEnd.")
    assert found == Outline(("Opening.", "End."), ("Be kind, and brief.",))


@pytest.mark.parametrize(
    "line", ["---", "-5 degrees is cold", "**Bold** words", "2024. A year", "3.5 stars", "-", "a - b"]
)
def test_what_only_looks_like_a_bullet_stays_in_the_opening(line: str) -> None:
    assert outline(line) == Outline((line,), ())


def test_an_empty_instruction_has_neither_opening_nor_rules() -> None:
    assert outline("") == outline(" \n ") == Outline((), ())
    assert outline("").text == ""


@given(_any)
def test_outline_round_trips(instruction: str) -> None:
    """An instruction without bullets comes back but for trailing whitespace; the text of any outline is stable."""
    found = outline(instruction)
    if not found.rules:
        assert found.text == instruction.rstrip()
    assert outline(found.text).rules == found.rules


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("Be kind.", "  BE   KIND. ", True),
        ("Ask a clarifying question when details are missing.", "When details are missing, ask one clarifying question", True),
        ("Give concrete examples.", "Illustrate: give concrete examples of each point.", True),
        ("Use jargon.", "Never use jargon.", False),
        ("Use jargon with experts.", "Don’t use jargon with experts.", False),
        ("Never invent sources.", "Do not invent sources.", True),
        ("Explain the refusal.", "Explain the premise.", False),
        ("Be brief.", "Be kind.", False),
        ("回答要简洁明了。", "回答要简洁。", True),
        ("回答要简洁。", "回答要详细。", False),
        ("请使用术语。", "请不使用术语。", False),
        ("Sei höflich und knapp.", "SEI HÖFLICH UND KNAPP!", True),
        ("संक्षेप में उत्तर दें", "उदाहरण के साथ समझाएँ", False),
        ("", "", True),
        ("", "Be kind.", False),
        ("!!!", "???", False),
    ],
)  # fmt: skip
def test_alike(one: str, other: str, expected: bool) -> None:
    """The comparison knows other words, negations and scripts, and has no direction."""
    assert alike(one, other) is alike(other, one) is expected


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("Use jargon.", "Never use jargon.", True),
        ("Use jargon with experts.", "Don’t use jargon with experts.", True),
        ("Avoid long lists.", "Use long lists.", True),
        ("请使用术语。", "请不使用术语。", True),
        ("Never invent sources.", "Do not invent sources.", False),
        ("Use jargon.", "Never be rude.", False),
        ("Be kind.", "Be kind.", False),
        ("", "Never.", False),
    ],
)
def test_contradicts(one: str, other: str, expected: bool) -> None:
    """Of the same matter, and exactly one of both says no; it has no direction."""
    assert contradicts(one, other) is contradicts(other, one) is expected


@given(_rule | st.text(max_size=30), _rule | st.text(max_size=30))
def test_two_rules_are_alike_or_contradict_or_neither(one: str, other: str) -> None:
    """Invariants: never both; no rule contradicts itself; neither relation has a direction."""
    assert not (alike(one, other) and contradicts(one, other))
    assert not contradicts(one, one)
    assert contradicts(one, other) == contradicts(other, one)


def test_words_of_many_scripts() -> None:
    """Vowel signs do not split words, apostrophes do not either, and unspaced scripts are not one word."""
    assert words("Don’t snake_case, ‘quote’ 24/7") == ["don't", "snake", "case", "quote", "24", "7"]
    assert words("हिन्दी में") == ["हिन्दी", "में"]
    assert words("請簡潔 ok") == ["請簡", "簡潔", "ok"]
    assert words("") == []


def test_added_keeps_what_is_new_once() -> None:
    child = "You help.\n- be kind\n- Ask back when unsure.\n- When unsure, ask back!\n- Give examples."
    assert added(PARENT, child) == ("Ask back when unsure.", "Give examples.")


def test_merged_puts_the_additions_below_the_last_bullet() -> None:
    """Both children's rules are kept, a shared one once, the parent's lines untouched."""
    children = ["X\n- Ask back when unsure.", "Y\n- If unsure, ask back.\n- Give examples."]
    assert merged(PARENT, children, max_rules=8, max_words=100) == (
        "You help people.\n\n- Be kind.\n- Admit what you cannot know.\n- Ask back when unsure.\n- Give examples.\n\nThank you."
    )


@pytest.mark.parametrize(
    ("parent", "expected"),
    [
        ("", "- Ask back."),
        ("Help.\n", "Help.\n- Ask back."),
        ("Help.\n 1) Be kind.\n    - always", "Help.\n 1) Be kind.\n    - always\n 2) Ask back."),
        ("* Be kind,\n  please.\nEnd.", "* Be kind,\n  please.\n* Ask back.\nEnd."),
        ("999. Be kind.", "999. Be kind.\n- Ask back."),
    ],
)
def test_merged_marks_additions_as_the_parent_does(parent: str, expected: str) -> None:
    assert merged(parent, ["- Ask back."], max_rules=8, max_words=100) == expected


def test_merged_leaves_out_what_does_not_fit_and_goes_on() -> None:
    """A long addition does not keep a shorter one out; at the limit of rules nothing is added."""
    children = ["- Always illustrate every single point with two concrete everyday examples.\n- Ask back."]
    assert merged("- Be kind.", children, max_rules=8, max_words=4) == "- Be kind.\n- Ask back."
    assert merged("- Be kind.\n", children, max_rules=1, max_words=99) == "- Be kind.\n"


@given(_any, st.lists(_any, max_size=4), st.integers(0, 8), st.integers(0, 30))
@example("Please help.\n3) Be kind.", ["- Ask back."], 8, 7)  # the number that marks it is the eighth word
def test_merged_holds_its_promises(parent: str, children: list[str], max_rules: int, max_words: int) -> None:
    """Opening and rules of the parent stay; the budget holds; merging its own result again changes nothing."""
    result = merged(parent, children, max_rules=max_rules, max_words=max_words)
    before, after = outline(parent), outline(result)
    assert after.opening == before.opening
    assert after.rules[: len(before.rules)] == before.rules
    assert (result == parent) == (after == before)
    if after != before:
        assert len(after.rules) <= max_rules
        assert len(words(result)) <= max_words
    assert merged(parent, [result], max_rules=max_rules, max_words=max_words) == result
    assert merged(parent, children, max_rules=max_rules, max_words=max_words) == result


@pytest.mark.parametrize(
    ("children", "expected"),
    [
        (["- Never use jargon.\n- Ask back."], "- Use jargon.\n- Ask back."),
        (["- Ask back.", "- Never ask back.", "- Give examples."], "- Use jargon.\n- Ask back.\n- Give examples."),
        (["- Never ask back.", "- Ask back."], "- Use jargon.\n- Never ask back."),
        (["- Ask back.\n- Do not ask back."], "- Use jargon.\n- Ask back."),
    ],
)
def test_merged_leaves_out_what_contradicts(children: list[str], expected: str) -> None:
    """Of a rule and its contrary the earlier one stays: the parent's, or the first sibling's."""
    assert merged("- Use jargon.", children, max_rules=8, max_words=100) == expected


@given(_instruction, st.lists(_instruction, max_size=4))
def test_merged_adds_no_contradiction_and_nothing_twice(parent: str, children: list[str]) -> None:
    """Invariant: no added rule is like, or contradicts, any other rule of the result."""
    result = outline(merged(parent, children, max_rules=20, max_words=200)).rules
    kept = len(outline(parent).rules)
    for place in range(kept, len(result)):
        assert not any(contradicts(result[place], other) or alike(result[place], other) for other in result[:place])


@pytest.mark.slow
def test_huge_instructions_take_seconds_at_most() -> None:
    started = time.perf_counter()
    flood = "\n".join(f"- {' ' * 50}rule {number} about topic{number} and case{number * 7}" for number in range(1000))
    assert len(outline(flood + "\n " * 100_000).rules) == 1000
    assert len(added(flood, flood.replace("rule", "other"))) <= 1000
    assert len(words("x" * 1_000_000 + " " * 1_000_000)) == 1
    assert time.perf_counter() - started < 20
