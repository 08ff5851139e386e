"""Answers that are no better or surely worse than the one they are made from."""

from __future__ import annotations

FIRST_WORDS = 8
"""How many words of a broken-off answer are left."""
LEAST_PADDING = 60
"""Empty words that are added at least; a longer answer is about doubled."""

EMPTY_WORDS: tuple[str, ...] = (
    "There is, of course, a great deal more that could be said at this point, and others have said it.",
    "It is worth pausing here for a moment, since a moment of pause is seldom wasted.",
    "Many people have thought about matters of this kind, each of them in their own way.",
    "What has been said above has been said above, and it holds as far as it goes.",
    "In a sense, everything hangs together with everything else, and so it is here.",
    "One could put it in other words, and the words would then be other ones.",
    "Be that as it may, the matter is what it is, and there we may leave it for now.",
    "Taken as a whole, and looked at from where one stands, it can be seen in several lights.",
)
"""Sentences that say nothing, in our own words."""


def padded(answer: str) -> str:
    """Return an answer with about as many empty words after it as it has itself.

    Example:
        >>> len(padded("Four.").split()) > 60
        True
    """
    wanted = max(LEAST_PADDING, len(answer.split()))
    sentences: list[str] = []
    words = 0
    while words < wanted:
        sentence = EMPTY_WORDS[len(sentences) % len(EMPTY_WORDS)]
        sentences.append(sentence)
        words += len(sentence.split())
    return f"{answer.rstrip()}\n\n{' '.join(sentences)}"


def broken_off(answer: str) -> str:
    """Return the first words of an answer, at most half of them.

    Example:
        >>> broken_off("Put the kettle on, and wait until the water boils.")
        'Put the kettle on, and'
    """
    words = answer.split()
    return " ".join(words[: max(1, min(FIRST_WORDS, len(words) // 2))])
