"""What `config.json` says: all that a run's outcome depends on, and no key or endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import dspy

from ..metrics.ledger import Source
from ..metrics.reward import query_of
from .candidates import candidate_of
from .result import versions
from .roles import RunLMs, digest
from .run_directory import FORMAT, saved_state


def run_config(
    *,
    optimizer: dict[str, Any],
    base: dspy.Module,
    lms: RunLMs,
    trainset: Sequence[dspy.Example],
    valset: Sequence[dspy.Example],
    seed: int,
    caps: dict[str, Any],
    settings: dict[str, Any] | None,
) -> dict[str, Any]:
    """Return the configuration of a run as plain data; two runs with the same one are the same run.

    Args:
        optimizer: The optimizer's settings, resolved.
        base: The student's copy that candidates are made from.
        lms: The run's LMs.
        trainset: Queries of the search.
        valset: Held-out queries.
        seed: The run's seed.
        caps: What the run may use; a resumed one may be given more.
        settings: What the caller wants to be shown beside; the command line gives its whole config.

    Raises:
        ConfigError: If the student cannot be saved, which must not show only when everything has been paid for.
    """
    reward = lms.reward
    judged = None
    if reward is not None:
        judged = {
            "criteria": [criterion.name for criterion in reward.library],
            "definitions": digest([asdict(criterion) for criterion in reward.library]),
            "dynamic": reward.dynamic,
            "min_criteria": reward.min_criteria,
            "max_criteria": reward.max_criteria,
            # What an LM chose is an outcome: a ledger that an earlier compile filled does not make another run.
            "ledger": digest(
                [asdict(entry) for entry in reward.ledger if entry.source in (Source.USER, Source.OFFICIAL)]
            ),
        }
    return {
        "format": FORMAT,
        "optimizer": optimizer,
        "lms": lms.described,
        "reward": judged,
        "student": {
            "class": type(base).__name__,
            "instructions": dict(candidate_of(base)),
            "state": digest(saved_state(base)),
        },
        "data": {
            "num_train": len(trainset),
            "train": digest([query_of(example) for example in trainset]),
            "num_val": len(valset),
            "val": digest([query_of(example) for example in valset]),
        },
        "seed": seed,
        "caps": caps,
        "settings": settings,
        "versions": versions(),
    }
