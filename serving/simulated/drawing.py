"""Chance that repeats: every random number is a function of what it is drawn for."""

from __future__ import annotations

import hashlib
import random
from functools import lru_cache
from statistics import NormalDist

_NORMAL = NormalDist()


def draws(*parts: object) -> random.Random:
    """Return a generator that belongs to these parts and to nothing else.

    Example:
        >>> draws("a", 1).random() == draws("a", 1).random()
        True
    """
    return random.Random(_number("\x1f".join(map(str, parts))))


@lru_cache(maxsize=65536)
def uniform(text: str) -> float:
    """Return a number in (0, 1) that belongs to a text."""
    return (_number(text) + 0.5) / 2.0**64


@lru_cache(maxsize=65536)
def gauss(text: str) -> float:
    """Return a standard normal number that belongs to a text."""
    return _NORMAL.inv_cdf(uniform(text))


def digest(text: str) -> str:
    """Return a short name of a text."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
