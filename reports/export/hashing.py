"""Hashes of texts and of plain data."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def sha256(value: Any) -> str:
    """Return the SHA-256 of a text's UTF-8, or of plain data as JSON with sorted keys and no blanks.

    Example:
        >>> sha256("abc")[:8], sha256({"b": 1, "a": "é"}) == sha256('{"a":"é","b":1}')
        ('ba7816bf', True)
    """
    text = value if isinstance(value, str) else json.dumps(
        value, ensure_ascii=False, sort_keys=True, separators=(",", ":")
    )  # fmt: skip
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
