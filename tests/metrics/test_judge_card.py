"""The measures of a judge card, from evidence made by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drpo.errors import DataError
from drpo.metrics.judge_card.answers import broken_off, padded
from drpo.metrics.judge_card.canaries import ADDED, ALONE, CANARIES
from drpo.metrics.judge_card.card import JudgeCard, judge_card_of
from drpo.metrics.judge_card.evidence import Evidence, Kind, Labelled, Pair, Reading
from drpo.metrics.judge_card.labels import Label, load_labels
from drpo.metrics.judge_card.lights import Bounds, Light, Measure, measure, worst
from drpo.metrics.ledger import Source
from drpo.metrics.pairwise import Duel
from drpo.programs.pairwise import Comparison, Preferred

LEVELS = {Kind.OWN: 4, Kind.OTHER: 4, Kind.PADDED: 4, Kind.BROKEN_OFF: 2, Kind.OFF_TOPIC: 1}
QUERIES = range(12)


def reading(query: int, kind: Kind, score: int | None, *, sample: int = 0, canary: str = "") -> Reading:
    words = 200 if kind is Kind.PADDED else 100
    reward = None if score is None else (score - 1) / 4
    return Reading(query, kind, (score, score), reward, words, sample, canary)


def said(verdict: Preferred | None) -> Comparison | None:
    return None if verdict is None else Comparison(preferred=verdict.value)


def sound(**changed: int) -> Evidence:
    """Return the evidence of a judge without a fault, with the score of some kinds of answers replaced."""
    levels = {kind: changed.get(kind.value, level) for kind, level in LEVELS.items()}
    readings = [reading(query, kind, level) for query in QUERIES for kind, level in levels.items()]
    readings += [reading(query, kind, levels[kind], sample=1) for query in QUERIES for kind in (Kind.OWN, Kind.OTHER)]
    readings += [
        reading(query, Kind.CANARY, 2 if canary.name in ALONE else levels[Kind.OWN], canary=canary.name)
        for query in range(5)
        for canary in CANARIES
    ]
    win, tie = (Preferred.FIRST, Preferred.SECOND), (Preferred.TIE, Preferred.TIE)
    pairs = [
        Pair(query, kind, Duel("", said(verdicts[0]), said(verdicts[1])))
        for query in QUERIES
        for kind, verdicts in ((Kind.OTHER, tie), (Kind.PADDED, tie), (Kind.OFF_TOPIC, win))
    ]
    return Evidence(tuple(readings), (), tuple(pairs), (Source.SELECTOR,) * len(QUERIES))


def faults(evidence: Evidence) -> set[str]:
    return set(judge_card_of(evidence).faults)


def test_a_sound_judge_is_green_in_all_that_decides() -> None:
    """Nothing but what was not measured is short of green."""
    card = judge_card_of(sound())
    assert card.light is Light.GREEN
    assert {one.name for one in card.measures if one.light is Light.UNKNOWN} == {
        "judges_agree", "people_agree", "length_correlation",
    }  # fmt: skip
    assert card["off_topic"].value == 1.0
    assert card["noise"].value == 0.0


def test_each_kind_of_bad_answer_has_its_line() -> None:
    """A judge that misses one kind of bad answer is named for that kind alone."""
    assert faults(sound(off_topic=4)) == {"off_topic"}
    assert faults(sound(broken_off=5)) == {"broken_off"}
    assert faults(sound(padded=5)) == {"padding"}


def test_always_the_same_score_is_named() -> None:
    """A judge that gives 5 to everything tells nothing apart, and the card says which score it gives."""
    evidence = sound()
    fives = tuple(replace(one, scores=(5, 5), reward=1.0) for one in evidence.readings)
    card = judge_card_of(replace(evidence, readings=fives))
    assert {"sameness", "off_topic", "broken_off", "canaries_alone"} <= set(card.faults)
    assert card["sameness"].details["favourite"] == 5
    assert "100%" in card["sameness"].says


def test_a_judge_that_changes_its_mind_is_named() -> None:
    """The noise floor is the standard deviation of one judgement: half a level each way is 0.18 of 1."""
    evidence = sound()
    readings = tuple(replace(one, scores=(5, 5), reward=1.0) if one.sample == 1 else one for one in evidence.readings)
    card = judge_card_of(replace(evidence, readings=readings))
    assert card["noise"].value == pytest.approx(0.25 / 2**0.5)
    assert card["noise"].details["changed_scores"] == 1.0
    assert "noise" in card.faults


@pytest.mark.parametrize("place", [Preferred.FIRST, Preferred.SECOND])
def test_a_lean_towards_a_place_is_named_with_the_place(place: Preferred) -> None:
    """A judge that takes one place in both orders is named, and so is the place."""
    evidence = sound()
    pairs = tuple(replace(pair, duel=Duel("", said(place), said(place))) for pair in evidence.pairs)
    card = judge_card_of(replace(evidence, pairs=pairs))
    assert {"position_preference", "order_consistency"} <= set(card.faults)
    assert card["position_preference"].details["place"] == str(place)
    assert card["position_preference"].value == 1.0


def test_chance_to_both_sides_is_no_lean() -> None:
    """Inconsistent verdicts that fall to both places alike are unsteady, not biased."""
    evidence = sound()
    sides = (Preferred.FIRST, Preferred.SECOND)
    pairs = tuple(
        replace(pair, duel=Duel("", said(sides[number % 2]), said(sides[number % 2])))
        for number, pair in enumerate(evidence.pairs)
    )
    card = judge_card_of(replace(evidence, pairs=pairs))
    assert card["position_preference"].light is Light.GREEN
    assert card["order_consistency"].light is Light.RED


def test_padding_that_wins_side_by_side_is_named() -> None:
    """A judge whose scores are at the ceiling still shows its love of length in comparisons."""
    evidence = sound()
    lost = Duel("", said(Preferred.SECOND), said(Preferred.FIRST))
    pairs = tuple(replace(pair, duel=lost) if pair.other is Kind.PADDED else pair for pair in evidence.pairs)
    assert faults(replace(evidence, pairs=pairs)) == {"padding_preference"}


@pytest.mark.parametrize(("names", "level", "fault"), [(ALONE, 5, "canaries_alone"), (ADDED, 5, "canaries_added")])
def test_a_judge_that_can_be_talked_round_is_named(names: tuple[str, ...], level: int, fault: str) -> None:
    """Canaries that earn a grade are told apart by whether they stand alone or after an answer."""
    evidence = sound()
    readings = tuple(
        replace(one, scores=(level, level), reward=1.0) if one.canary in names else one for one in evidence.readings
    )
    assert faults(replace(evidence, readings=readings)) == {fault}


def test_missing_verdicts_are_counted_and_are_no_scores() -> None:
    """Unreadable verdicts make the missing rate red and change no other figure."""
    evidence = sound()
    lost = tuple(replace(one, scores=(one.scores[0], None)) for one in evidence.readings)
    card = judge_card_of(replace(evidence, readings=lost))
    assert card.faults == ("missing",)
    assert card["off_topic"].value == 1.0


def test_criteria_that_fell_back_are_told() -> None:
    """A reward whose criteria were mostly not chosen is dynamic in name only."""
    assert faults(replace(sound(), sources=(Source.FALLBACK,) * 8 + (Source.SELECTOR,) * 4)) == {"criteria_choice"}


def test_a_second_judge_that_sees_nothing_alike_is_named() -> None:
    """Alpha is over good and bad answers; a judge that turns them round disagrees."""
    evidence = sound()
    same = tuple(one for one in evidence.readings if one.sample == 0 and not one.canary)
    turned = tuple(replace(one, scores=tuple(6 - score for score in one.scores)) for one in same)
    assert judge_card_of(replace(evidence, second=same))["judges_agree"].value == 1.0
    assert faults(replace(evidence, second=turned)) == {"judges_agree"}


def test_labels_make_agreement_and_a_corrected_level() -> None:
    """Scores of people move the level to theirs; good and bad give sensitivity and specificity."""
    lenient = tuple(Labelled(mean=score + 1.0, score=float(score)) for score in (1, 2, 3, 4, 2, 3, 1, 4, 3, 2))
    card = judge_card_of(replace(sound(), labelled=lenient))
    assert card["corrected_level"].value == pytest.approx(3.0)
    right = tuple(Labelled(mean=4.5 if good else 2.0, good=good) for good in (True, False) * 8)
    card = judge_card_of(replace(sound(), labelled=right))
    assert card["people_agree"].light is Light.GREEN
    assert card["people_agree"].details == {"sensitivity": 1.0, "specificity": 1.0}
    assert card["corrected_level"].value == 1.0
    wrong = tuple(replace(one, good=not one.good) for one in right)
    assert "people_agree" in judge_card_of(replace(sound(), labelled=wrong)).faults


def test_nothing_measured_is_no_light() -> None:
    """A card without evidence says so everywhere and is neither green nor red."""
    card = judge_card_of(Evidence(()))
    assert card.light is Light.UNKNOWN
    assert all(one.light is Light.UNKNOWN and one.value is None for one in card.measures)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_red_is_never_bad_luck(value: float, low: float, high: float) -> None:
    """Invariant: with an interval that reaches into green nothing is red, whichever side is bad."""
    low, high = min(low, value), max(high, value)
    if low <= 0.3:
        assert Bounds(0.3, 0.6).light(value, (low, high)) is not Light.RED
    if high >= 0.9:
        assert Bounds(0.9, 0.7).light(value, (low, high)) is not Light.RED


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_what_may_be_luck_is_amber(value: float, low: float, high: float) -> None:
    """Invariant: only amber may be luck, it is so exactly between the bounds where green is within the interval."""
    interval = (min(low, value), max(high, value))
    for bounds, is_between, reaches in (
        (Bounds(0.3, 0.6), 0.3 < value < 0.6, interval[0] <= 0.3),
        (Bounds(0.9, 0.7), 0.7 < value < 0.9, interval[1] >= 0.9),
    ):
        assert bounds.may_be_luck(value, interval) is (is_between and reaches)
        assert not bounds.may_be_luck(value, None)
        if bounds.may_be_luck(value, interval):
            assert bounds.light(value, interval) is Light.AMBER


def test_amber_by_luck_leaves_the_card_green() -> None:
    """A line that luck may explain is amber, says so, and does not make the card amber; a proven one does."""

    def line(name: str, value: float, interval: tuple[float, float]) -> Measure:
        says = {Light.AMBER: "Some noise."}
        return measure(name, name, value, interval, bounds=Bounds(0.05, 0.1), says=says, count=20)

    luck, proven, bad = (
        line("luck", 0.06, (0.04, 0.08)), line("proven", 0.07, (0.06, 0.08)), line("bad", 0.12, (0.04, 0.2))
    )  # fmt: skip
    assert [one.light for one in (luck, proven, bad)] == [Light.AMBER] * 3
    assert [one.as_dict()["may_be_luck"] for one in (luck, proven, bad)] == [True, False, False]
    assert luck.says.endswith("the interval reaches into green.")
    assert proven.says == bad.says == "Some noise."
    assert JudgeCard((luck,)).light is Light.GREEN
    assert JudgeCard((luck, proven)).light is JudgeCard((bad,)).light is Light.AMBER


def test_the_worst_light_wins() -> None:
    """One red line makes the card red; what was not measured does not count."""
    assert worst([Light.GREEN, Light.RED, Light.AMBER]) is Light.RED
    assert worst([Light.UNKNOWN, Light.GREEN]) is Light.GREEN
    assert worst([]) is Light.UNKNOWN


@given(st.text(min_size=1))
def test_altered_answers_are_what_they_are_called(answer: str) -> None:
    """Invariant: padding keeps the answer and at least doubles its words; a broken-off answer is its beginning."""
    assert padded(answer).startswith(answer.rstrip())
    assert len(padded(answer).split()) >= 2 * len(answer.split())
    words = answer.split()
    assert broken_off(answer).split() == words[: len(broken_off(answer).split())]


def test_labels_are_read_or_refused_with_their_line(tmp_path: Path) -> None:
    """A label is a number from 1 to 5, good or bad; anything else is named with its line."""
    path = tmp_path / "labels.jsonl"

    def load(*labels: object) -> tuple[Label, ...]:
        lines = [json.dumps({"query": "q", "answer": "a", "label": label}) for label in labels]
        path.write_text("\n\n".join(lines) + "\n")
        return load_labels(path)

    assert [label.score for label in load(1, 5, 3.5)] == [1, 5, 3.5]
    assert [label.good for label in load("good", "Bad")] == [True, False]
    for wrong in (0, 6, "fine", None, True, [4], float("nan")):
        with pytest.raises(DataError, match=r"line 3.*label="):
            load(4, wrong)
    with pytest.raises(DataError, match="use one of them"):
        load(4, "good")
    path.write_text("")
    with pytest.raises(DataError, match="empty"):
        load_labels(path)
    path.write_text('{"query": "q"}')
    with pytest.raises(DataError, match="line 1"):
        load_labels(path)
    path.write_text("good")
    with pytest.raises(DataError, match="not JSON"):
        load_labels(path)
    with pytest.raises(DataError, match="cannot be read"):
        load_labels(tmp_path / "none.jsonl")
