"""What a judge card is made of: judgements of answers whose quality is known in part, each a plain record."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from ..ledger import Source
from ..pairwise import Duel


class Kind(StrEnum):
    """Which answer to a query was judged."""

    OWN = "own"
    """The task model's answer."""
    OTHER = "other"
    """Another sample of it."""
    PADDED = "padded"
    """The own answer with empty words after it: no better."""
    BROKEN_OFF = "broken_off"
    """The own answer's first words: worse."""
    OFF_TOPIC = "off_topic"
    """The own answer to another query: worse."""
    CANARY = "canary"
    """A text that asks for a grade instead of earning it, alone or after the own answer."""


@dataclass(frozen=True)
class Reading:
    """One judgement."""

    query: int
    """Number of the query, from 0."""
    kind: Kind
    """Which answer it is."""
    scores: tuple[int | None, ...]
    """Score of each criterion of the query, 1 to 5; None where it is missing."""
    reward: float | None
    """The weighted mean in [0, 1], as the search sees it; None if no score could be read."""
    words: int = 0
    """Length of the answer."""
    sample: int = 0
    """Which judgement of this answer it is, from 0; each further one is drawn anew."""
    canary: str = ""
    """Name of the canary; empty for other answers."""


@dataclass(frozen=True)
class Pair:
    """Two answers compared in both orders; the first is the own one."""

    query: int
    """Number of the query, from 0."""
    other: Kind
    """What the own answer was compared with."""
    duel: Duel
    """The two comparisons."""


@dataclass(frozen=True)
class Labelled:
    """An answer that people have judged too."""

    mean: float | None
    """The judge's mean score, 1 to 5; None if it is missing."""
    score: float | None = None
    """What people gave, 1 to 5; None where they said good or bad."""
    good: bool | None = None
    """Whether people called it good; None where they gave a score."""


@dataclass(frozen=True)
class Evidence:
    """Everything that a card is computed from."""

    readings: tuple[Reading, ...]
    """Judgements of the judge."""
    second: tuple[Reading, ...] = ()
    """Judgements of a second judge, of some of the same answers; empty: there is none."""
    pairs: tuple[Pair, ...] = ()
    """Comparisons."""
    sources: tuple[Source, ...] = ()
    """Who chose the criteria of each query."""
    labelled: tuple[Labelled, ...] = ()
    """Answers that people have judged too."""

    @cached_property
    def _by_answer(self) -> dict[tuple[Kind, int, int], Reading]:
        return {(one.kind, one.sample, one.query): one for one in self.readings if not one.canary}

    def find(self, kind: Kind, query: int, *, sample: int = 0) -> Reading | None:
        """Return the judgement of an answer, None if there is none."""
        return self._by_answer.get((kind, sample, query))

    def reward(self, kind: Kind, query: int, *, sample: int = 0) -> float | None:
        """Return the reward of an answer in [0, 1], None if it is missing."""
        found = self.find(kind, query, sample=sample)
        return None if found is None else found.reward

    @property
    def queries(self) -> range:
        """The numbers of the queries."""
        return range(max((one.query + 1 for one in self.readings), default=0))

    def twice(self, *kinds: Kind) -> Iterator[tuple[Reading, Reading]]:
        """Yield each answer's judgement and the one drawn anew, where both are there."""
        for query in self.queries:
            for kind in kinds:
                first, again = self.find(kind, query), self.find(kind, query, sample=1)
                if first is not None and again is not None:
                    yield first, again
