"""Vectors of texts without a model: words and letter groups, hashed.

Two texts that share words, or the beginnings and ends of words, come out near each other. That is all: a paraphrase
without a shared word is far away, unlike with a trained model.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
import unicodedata
from array import array
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

EMBEDDING_MODEL = "sim/embedding"
"""The name under which the simulated server offers these vectors."""
DIMENSIONS = 256
"""Length of a vector when the request states none."""

_WORD = re.compile(r"\w+")
_LETTERS_WEIGHT = 0.3  # shared letter groups hint at one stem; a shared word says more


def embed(text: str, *, dimensions: int = DIMENSIONS) -> list[float]:
    """Return the vector of a text, of length 1 (a text without a word: all zeros).

    Args:
        text: Any text; case and accents are ignored.
        dimensions: Length of the vector. At least 1.

    Example:
        >>> cat, cats, bank = (embed(text) for text in ("the cat sat", "The cats sat!", "stock prices fell"))
        >>> sum(a * b for a, b in zip(cat, cats)) > sum(a * b for a, b in zip(cat, bank))
        True
    """
    vector = [0.0] * dimensions
    letters = unicodedata.normalize("NFKD", text.casefold())
    words = _WORD.findall("".join(letter for letter in letters if not unicodedata.combining(letter)))
    for word in words:
        for number, weight in _features(word):
            # The sign comes from another bit of the hash: features that meet in one place cancel out on average.
            vector[(number >> 1) % dimensions] += weight if number & 1 else -weight
    for before, after in pairwise(words):
        number = _hash(f"{before} {after}")
        vector[(number >> 1) % dimensions] += _LETTERS_WEIGHT if number & 1 else -_LETTERS_WEIGHT
    length = math.sqrt(math.fsum(value * value for value in vector))
    return [value / length for value in vector] if length else vector


def as_base64(vector: Sequence[float]) -> str:
    """Return a vector as OpenAI's compact encoding: little-endian 32-bit floats in base64."""
    numbers = array("f", vector)
    if memoryview(b"\x01\x00").cast("H")[0] != 1:  # a big-endian machine
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode("ascii")


@lru_cache(maxsize=16_384)
def _features(word: str) -> tuple[tuple[int, float], ...]:
    framed = f"<{word}>"
    groups = {framed[start : start + 3] for start in range(len(framed) - 2)}
    return ((_hash(word), 1.0), *((_hash(group), _LETTERS_WEIGHT) for group in sorted(groups)))


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "backslashreplace"), digest_size=8).digest(), "big")
