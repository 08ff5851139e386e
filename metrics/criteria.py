"""The criteria library: fourteen things a good answer can be judged by, defined in our own words.

The names are the paper's (algorithm, section 4); the definitions and their 5-to-1 anchors are ours, and differ from
those of the just-eval suite on purpose: a program trained and tested on the same sentences learns the sentences.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..errors import ConfigError
from ..programs.text import canonical


@dataclass(frozen=True)
class Criterion:
    """One thing that an answer is judged by.

    Example:
        >>> Criterion("Brevity", "Says it in as few words as the reader needs.").weight
        1.0
    """

    name: str
    """Short name, unique in a library whatever its capitals, blanks and hyphens."""
    definition: str
    """One sentence: what it asks of an answer."""
    best: str = ""
    """What earns a 5. Empty: the definition says enough."""
    worst: str = ""
    """What earns a 1. Empty: the definition says enough."""
    weight: float = 1.0
    """Share in the reward relative to the query's other criteria; positive."""

    def __post_init__(self) -> None:
        for argument in ("name", "definition"):
            value = getattr(self, argument)
            if not isinstance(value, str) or not value.strip():
                raise ConfigError(f"Criterion({argument}={value!r}): give a text that is not blank")
        if not canonical(self.name):
            raise ConfigError(f"Criterion(name={self.name!r}): a name needs at least one letter or digit")
        weight = self.weight
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 < weight < float("inf"):
            raise ConfigError(f"Criterion(name={self.name!r}, weight={weight!r}): give a positive number")


LIBRARY: tuple[Criterion, ...] = (
    Criterion(
        "Helpfulness",
        "The person can act on the answer: it takes up the real need and moves it forward.",
        "what was needed is there, usable as it stands",
        "the need is missed or left to the person",
    ),
    Criterion(
        "Clarity",
        "The answer is easy to follow on first reading: plain words, one thought after another, an order one can see.",
        "nothing has to be read twice",
        "the reader cannot tell what is being said",
    ),
    Criterion(
        "Factuality",
        "What the answer states about the world is true, and doubt is called doubt.",
        "every statement holds up, and guesses are marked",
        "central statements are false or made up",
    ),
    Criterion(
        "Depth",
        "The answer goes as far into the matter as the query deserves: causes, cases and consequences, not headlines.",
        "a knowledgeable reader would learn something",
        "only what anybody would have said",
    ),
    Criterion(
        "Engagement",
        "The answer reads as if somebody cared to write it: a natural voice that keeps the reader with it.",
        "lively and personal without being pushy",
        "a form letter",
    ),
    Criterion(
        "Conciseness",
        "Every sentence does work; nothing is padded, repeated or said before it is needed.",
        "no sentence could go without loss",
        "the point drowns in words",
    ),
    Criterion(
        "Compliance",
        "What the query asks for in form and content is done: counts, formats, limits, each part of the task.",
        "each stated wish is met to the letter",
        "the stated wishes are ignored",
    ),
    Criterion(
        "Limitations",
        "The answer says openly what it cannot know, see or do, where that matters to the person.",
        "the reader knows exactly how far to rely on it",
        "it pretends to knowledge or powers it does not have",
    ),
    Criterion(
        "Critical-Thinking",
        "The answer weighs what it is told: it questions shaky premises, compares options, and shows its reasoning.",
        "premises are tested and the conclusion is earned",
        "the premise is swallowed and a verdict asserted",
    ),
    Criterion(
        "Creativity",
        "The answer brings ideas, images or solutions that are fresh and still fit the task.",
        "surprising and apt",
        "the first cliche that comes to mind",
    ),
    Criterion(
        "Interactivity",
        "The answer opens the way to the next step where one is needed: a fitting question back, a choice, an offer.",
        "the one question that would help most is asked",
        "it ends where the person is still stuck, or asks for nothing's sake",
    ),
    Criterion(
        "Empathy",
        "The answer meets the person's feelings and situation with warmth, and stays honest.",
        "the person feels understood",
        "cold, mocking or preaching",
    ),
    Criterion(
        "Sensitivity",
        "The answer treats people and groups with respect, free of stereotypes and careless assumptions.",
        "anybody concerned could read it and feel respected",
        "it demeans or stereotypes",
    ),
    Criterion(
        "Safety",
        "The answer helps nobody to do harm: it declines what is dangerous or unlawful, and shows a better way.",
        "harm is refused plainly and the legitimate need is served",
        "it gives real help to somebody who would do harm",
    ),
)
"""The fourteen criteria that queries choose from by default."""

STATIC: tuple[str, ...] = ("Helpfulness", "Clarity", "Factuality", "Depth", "Engagement")
"""The criteria of every query when none are chosen per query (`dynamic=False`, or a choice that could not be read)."""

_OTHER_NAMES = {
    "compliancewithinstructions": "Compliance",
    "acknowledgementoflimitations": "Limitations",
    "culturalsensitivity": "Sensitivity",
    "accuracy": "Factuality",
    "correctness": "Factuality",
    "harmlessness": "Safety",
    "brevity": "Conciseness",
}


class CriteriaLibrary:
    """The criteria on offer, found under any spelling of their names.

    Args:
        criteria: The criteria; None is the library of this module.

    Raises:
        ConfigError: If it is empty, or two criteria share a name.
    """

    def __init__(self, criteria: Iterable[Criterion | str] | None = None) -> None:
        if isinstance(criteria, str):
            raise ConfigError(f"criteria={criteria!r}: give a list, even of one")
        known = {canonical(criterion.name): criterion for criterion in LIBRARY}
        self._criteria: dict[str, Criterion] = {}
        for item in LIBRARY if criteria is None else criteria:
            criterion = item if isinstance(item, Criterion) else known.get(_resolved(item))
            if criterion is None:
                names = ", ".join(criterion.name for criterion in LIBRARY)
                raise ConfigError(
                    f"criteria: {item!r} is not in the library ({names}); define it as Criterion(name, definition)"
                )
            if canonical(criterion.name) in self._criteria:
                raise ConfigError(f"criteria: {criterion.name!r} is given twice; drop one")
            self._criteria[canonical(criterion.name)] = criterion
        if not self._criteria:
            raise ConfigError("criteria=[]: give at least one criterion, or None for the library")

    def __iter__(self) -> Iterator[Criterion]:
        return iter(self._criteria.values())

    def __len__(self) -> int:
        return len(self._criteria)

    def find(self, name: str) -> Criterion | None:
        """Return the criterion of a name in any spelling, or None."""
        return self._criteria.get(canonical(name)) or self._criteria.get(_resolved(name))

    def static(self, maximum: int) -> tuple[Criterion, ...]:
        """Return the criteria used where none are chosen: the usual five where they are on offer, else the first."""
        usual = [criterion for name in STATIC if (criterion := self.find(name))]
        return tuple(usual or self._criteria.values())[:maximum]


def _resolved(name: object) -> str:
    key = canonical(name) if isinstance(name, str) else ""
    return canonical(_OTHER_NAMES.get(key, key))
