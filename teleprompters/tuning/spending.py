"""What a compile that came to nothing took, read from its record of calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson


def spent_in(directory: Path) -> dict[str, Any]:
    """Return calls, tokens and dollars of a run directory, failed tries counted as calls as caps count them.

    Args:
        directory: It; nothing was spent where there is none.
    """
    calls, tokens, cost = 0, 0, 0.0
    priced = True
    file = directory / "calls.jsonl"
    for line in file.read_bytes().splitlines() if file.exists() else ():
        try:
            item = orjson.loads(line)
        except ValueError:  # torn by a kill, or half of a surrogate pair
            calls += 1
            continue
        calls += 1
        if "response" not in item:
            continue
        usage = item["response"].get("usage") or {}
        tokens += (usage.get("input_tokens") or 0) + (usage.get("output_tokens") or 0)
        priced = priced and item["cost"] is not None
        cost += item["cost"] or 0.0
    return {"lm_calls": calls, "tokens": tokens, "cost": cost if priced else None}
