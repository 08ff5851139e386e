"""The calls under way at once: fewer after a refusal, more again later, never none, and nobody waits for ever."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from drpo.serving.concurrency import Place, Places


class InTurn(RuleBasedStateMachine):
    """Calls that begin, are refused, are answered and end in any order, on one thread."""

    def __init__(self) -> None:
        super().__init__()
        self.places = Places()
        self.open: list[tuple[Place, int | None, int]] = []

    @property
    def is_free(self) -> bool:
        return self.places.limit is None or len(self.open) < self.places.limit

    @rule()
    @precondition(lambda self: self.is_free)
    def begin(self) -> None:
        self.open.append((self.places._take(_unwanted), self.places.limit, len(self.open)))

    @rule()
    @precondition(lambda self: not self.is_free)
    def no_place_is_left(self) -> None:
        """One more waits, until it is asked whether it is still wanted."""
        with pytest.raises(TimeoutError):
            self.places._take(_unwanted)

    @rule(which=st.integers(0, 99), refused=st.booleans(), answered=st.booleans())
    @precondition(lambda self: self.open)
    def end(self, which: int, refused: bool, answered: bool) -> None:
        place, _, _ = self.open.pop(which % len(self.open))
        before = self.places.limit
        if refused:
            place.refused()
            assert self.places.limit is not None
            assert before is None or self.places.limit in (before, max(1, int(0.8 * before)))
        elif answered:
            place.answered()
            assert before is None or self.places.limit in (None, before, before + 1)
        self.places._give_back(place)

    @invariant()
    def the_limit_holds(self) -> None:
        """Invariant: at least one call may be under way, and no call begins above the limit."""
        assert self.places.limit is None or self.places.limit >= 1
        assert self.places.under_way == len(self.open)
        assert all(limit is None or others < limit for _, limit, others in self.open)


InTurn.TestCase.settings = settings(stateful_step_count=40)
TestInTurn = InTurn.TestCase


def _unwanted() -> None:
    raise TimeoutError


@pytest.fixture(autouse=True)
def _short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drpo.serving.concurrency._TURN", 0.001)


def taken(places: Places, number: int) -> list[Place]:
    """Take places of so many calls."""
    return [places._take(_unwanted) for _ in range(number)]


def test_one_cut_per_episode() -> None:
    """Invariant: refusals of calls that were under way at the cut are the same word; later ones are another."""
    places = Places()
    held = taken(places, 20)
    held[0].refused()
    assert places.limit == 16
    for place in held[1:]:
        place.refused()
        places._give_back(place)
    [younger] = taken(places, 1)
    younger.refused()
    assert (places.limit, places.cuts) == (16, 1), "the first of them is still under way"
    places._give_back(held[0])
    younger.refused()
    assert (places.limit, places.cuts) == (12, 2)


def test_it_grows_by_one_per_round_until_nothing_is_held_back() -> None:
    places = Places()
    held = taken(places, 15)
    held[0].refused()
    assert places.limit == 12
    for place in held:
        places._give_back(place)
    rounds = []
    while places.limit is not None:
        before, answers = places.limit, 0
        while places.limit == before:
            [place] = taken(places, 1)
            place.answered()
            places._give_back(place)
            answers += 1
        rounds.append((before, answers))
    assert rounds == [(12, 12), (13, 13), (14, 14), (15, 15)]


def test_small_limits_grow_slowly() -> None:
    """An endpoint that takes one call at a time is not asked for two after every answer."""
    places = Places()
    [place, _] = taken(places, 2)
    place.refused()
    for _ in range(9):
        place.answered()
    assert places.limit == 1
    place.answered()
    assert places.limit == 2


def test_it_never_falls_below_one() -> None:
    places = Places()
    for _ in range(9):
        [place] = taken(places, 1)
        place.refused()
        places._give_back(place)
    assert (places.limit, places.cuts) == (1, 9)


class Watched(Places):
    """Looks, when a call begins, whether it may."""

    def _take(self, wanted: Callable[[], object]) -> Place:
        with self._free:
            place = super()._take(wanted)
            assert self.limit is None or self.under_way <= self.limit
            return place


@given(num_threads=st.integers(2, 12), refusals=st.floats(0, 1), seed=st.integers(0, 99))
def test_threads_all_come_to_their_turn(num_threads: int, refusals: float, seed: int) -> None:
    """Invariant: whatever is refused, every call ends, and none begins above the limit."""
    places, draw, lock = Watched(), random.Random(seed), threading.Lock()

    def call(number: int) -> int:
        with places.one() as place:
            with lock:
                refused, seconds = draw.random() < refusals, draw.random() / 2000
            time.sleep(seconds)
            (place.refused if refused else place.answered)()
        return number

    with ThreadPoolExecutor(num_threads) as pool:
        assert list(pool.map(call, range(60), timeout=20)) == list(range(60))
    assert (places.under_way, places._left_of_cut) == (0, 0)
    assert places.limit is None or places.limit >= 1


def test_who_is_no_longer_wanted_stops_waiting() -> None:
    places = Places()
    [place] = taken(places, 1)
    place.refused()
    with pytest.raises(TimeoutError), places.one(_unwanted):
        pass
    assert places.under_way == 1


def test_a_call_within_a_call_has_a_place_already() -> None:
    """Invariant: an LM that asks another one of the run to answer does not wait for itself."""
    places = Places()
    with places.one() as outer:
        outer.refused()
        assert places.limit == 1
        with places.one(_unwanted) as inner:
            inner.answered()
            assert places.under_way == 1
    assert places.under_way == 0
