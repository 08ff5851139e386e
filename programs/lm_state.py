"""What a saved program says of its LMs: which model and how it samples, never where it is and what signs in there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dspy

from .replacing import copied

LM_ENTRIES = frozenset(
    {"_dspy_lm_class", "model", "model_type", "engine", "cache", "num_retries", "temperature", "max_tokens", "top_p",
     "stop", "seed", "frequency_penalty", "presence_penalty", "reasoning_effort", "finetuning_model",
     "use_developer_role"}
)  # fmt: skip
"""What is written and taken over of an LM. DSPy leaves out the key only: headers and bodies hold keys as well."""


def public(state: dict[str, Any]) -> dict[str, Any]:
    """Return a predictor's state without what its LM must not tell."""
    lm = state.get("lm")
    if not isinstance(lm, dict):
        return state
    return {**state, "lm": {name: value for name, value in lm.items() if name in LM_ENTRIES}}


def save(program: dspy.Module, path: Path | str) -> None:
    """Do what `program.save(path)` does, for any program, without what its LMs must not tell.

    Args:
        program: The program; it is left as it is.
        path: The file, `.json`.
    """
    told = copied(program)
    for _, predictor in told.named_predictors():
        if predictor.lm is not None and not LM_ENTRIES.issuperset(predictor.lm.kwargs):
            # A copy of the LM would be made of its arguments; its state is made of these.
            lm = predictor.lm.copy()
            lm.kwargs = {name: value for name, value in lm.kwargs.items() if name in LM_ENTRIES}
            predictor.lm = lm
    told.save(path)
