import pytest

from drpo.serving.simulated.facets import FACETS
from drpo.serving.simulated.lexicon import criteria_like, read_guidance

# Wordings that stand nowhere in the package: recognition has to go by meaning.
HELD_OUT = [
    ("Spell out the consequences and say how the mechanism works.", "Depth"),
    ("Go through several angles, with a case study where you can.", "Depth"),
    ("Your prose should be readable by a newcomer; define terms.", "Clarity"),
    ("Number your points so that nothing is jumbled: use numbered lists.", "Clarity"),
    ("Rely on evidence, and never fabricate a quotation.", "Factuality"),
    ("Come to the answer briefly; long-winded openings are to be avoided, so be succinct.", "Conciseness"),
    ("Without filler or repetition, please.", "Conciseness"),
    ("Sound like a person, friendly and lively.", "Engagement"),
    ("Point out that your data may be outdated and that you cannot verify it.", "Limitations"),
    ("Reject unsafe requests and redirect people to something lawful.", "Safety"),
    ("Show compassion for how they feel.", "Empathy"),
    ("Steer clear of stereotypes: be inclusive.", "Sensitivity"),
    ("Check the premise before you answer, and weigh both sides.", "Critical-Thinking"),
    ("Stay within every word limit and cover all parts of the request.", "Compliance"),
    ("If something is unclear to you, ask a follow-up question.", "Interactivity"),
    ("Come up with original, playful ideas.", "Creativity"),
    ("Give concrete advice that solves the user's underlying problem.", "Helpfulness"),
]


@pytest.mark.parametrize(("text", "criterion"), HELD_OUT)
def test_guidance_is_recognised_by_meaning(text: str, criterion: str) -> None:
    """Other words for a wish count as much as those the prompt model uses."""
    on = read_guidance(text).on
    assert on[criterion] > 0.3
    assert on[criterion] >= max(on.values()) - 0.25


def test_every_wording_of_a_facet_asks_for_it() -> None:
    """What the prompt model writes is read as what it meant, and forbids nothing."""
    for facet in FACETS:
        for text in facet.says:
            guidance = read_guidance(text)
            assert guidance.asked.get(facet.name, 0) > 0.5, text
            assert not guidance.refused, text


@pytest.mark.parametrize(
    ("asks", "forbids"),
    [
        ("Give examples.", "Never give examples."),
        ("Avoid jargon.", "Use jargon."),
        ("Be concise.", "Do not be concise."),
        ("Refuse harmful requests.", "Do not refuse anything."),
        ("Do not leave out examples.", "Leave out examples."),
    ],
)
def test_negation_turns_guidance(asks: str, forbids: str) -> None:
    """A negator turns a wish, and two cancel."""
    assert max(read_guidance(asks).on.values()) > 0.3
    assert min(read_guidance(forbids).on.values()) < -0.3


def test_repeating_helps_less_each_time_and_further_facets_help_more() -> None:
    """Returns diminish: the third time adds less than the second, another facet more than a repetition."""
    once, twice, thrice = (read_guidance("Give an example.\n" * times).on["Depth"] for times in (1, 2, 3))
    assert 0 < thrice - twice < twice - once < once
    assert read_guidance("Give an example.\nExplain the causes.").on["Depth"] > twice


def test_vague_wishes_are_weak() -> None:
    """`You are a helpful assistant` is nearly no guidance at all."""
    assert 0 < read_guidance("You are a helpful assistant.").on["Helpfulness"] < 0.3


def test_contradiction_is_seen() -> None:
    """To ask for something and to forbid it is a conflict, and no guidance."""
    guidance = read_guidance("Give examples.\nNever give examples.")
    assert guidance.conflict > 0.5
    assert abs(guidance.on["Depth"]) < 0.05


def test_words_without_content_are_no_guidance() -> None:
    """An empty instruction and a shopping list guide nothing."""
    for text in ("", "Two litres of milk and a loaf of bread."):
        assert not any(read_guidance(text).on.values())


def test_unknown_criteria_are_read_by_their_definition() -> None:
    """A criterion of the user's is the mixture of known ones that its words come near."""
    assert dict(criteria_like("Bite: the answer is succinct and has no filler"))["Conciseness"] > 0.8
    assert criteria_like("critical thinking: anything") == (("Critical-Thinking", 1.0),)
    assert sum(weight for _, weight in criteria_like("Zest: xyz")) == pytest.approx(1)
