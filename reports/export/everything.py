"""`json`: the whole bundle with hashes, enough to send the prompt, and to retrieve for it, without DSPy."""

from __future__ import annotations

import json
from typing import Any

from ...teleprompters.result import versions
from .assembly import assembly
from .bundle import Bundle
from .hashing import sha256

FORMAT = 1
"""Version of the export."""

HOW = (
    "The k demonstrations of the pool whose inputs are nearest to the query's, by the encoder's cosine similarity, "
    "nearest first, ties by their place in the pool, never one with the query's own inputs."
)
"""How demonstrations are retrieved, in words."""


def everything(bundle: Bundle) -> str:
    """Return the bundle as JSON."""
    return json.dumps(everything_data(bundle), ensure_ascii=False, indent=2) + "\n"


def everything_data(bundle: Bundle) -> dict[str, Any]:
    """Return the bundle as plain data."""
    retrieval = None
    if bundle.retrieval is not None:
        parts = assembly(bundle)
        retrieval = {
            "k": bundle.retrieval.k,
            "how": HOW,
            "encoder": dict(bundle.retrieval.encoder),
            "pool": [dict(demo) for demo in bundle.retrieval.pool],
            "before": parts.before if parts else None,
            "pieces": parts.pieces if parts else None,
            "after": parts.after if parts else None,
        }
    return {
        "format": FORMAT,
        "predictor": bundle.predictor,
        "adapter": bundle.adapter_name,
        "model_type": bundle.settings.model_type,
        "fields": {"inputs": list(bundle.signature.input_fields), "outputs": list(bundle.signature.output_fields)},
        "instruction": bundle.instruction,
        "inputs": bundle.inputs,
        "placeholders": bundle.placeholders,
        "shown": bundle.shown,
        "request": bundle.request,
        "retrieval": retrieval,
        "sha256": hashes(bundle),
        "versions": versions(),
    }


def hashes(bundle: Bundle) -> dict[str, str]:
    """Return the hash of the instruction, of what is shown, of the pool, and of what the model reads."""
    pool = bundle.retrieval.pool if bundle.retrieval else []
    return {
        "instruction": sha256(bundle.instruction),
        "shown": sha256(bundle.shown),
        "pool": sha256([dict(demo) for demo in pool]),
        "content": sha256(bundle.content),
    }
