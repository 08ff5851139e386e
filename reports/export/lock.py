"""The prompt lock: hashes of what is sent, and whose judgement it stands on, to be committed beside a program.

Everything in a lock is read or rendered again when it is checked. What cannot be (the run directory is elsewhere) is
said, and is no difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...teleprompters.result import versions
from ..flat import MISSING, differences
from ..run_files import RunFiles
from .bundle import Bundle
from .everything import hashes
from .hashing import sha256

FORMAT = 1
"""Version of the lock."""
FROM_THE_RUN = ("models", "data", "reward", "run", "versions")
"""The parts that stand in a run directory, and not in a program."""
FIGURES = ("optimizer", "decision", "returned", "seed_reward", "reward", "gain", "gain_ci", "num_train", "num_val",
           "stopped", "simulated", "seed")  # fmt: skip
"""What a lock keeps of `result.json`."""


def lock_data(program: str, bundles: Sequence[Bundle], files: RunFiles) -> dict[str, Any]:
    """Return a program's lock.

    Args:
        program: Where the program lies, seen from the lock's folder.
        bundles: Each predictor's prompt, without a query.
        files: What stands beside the program.
    """
    return {
        "format": FORMAT,
        "program": program,
        "prompt": {bundle.predictor: _prompt(bundle) for bundle in bundles},
        **_of_the_run(files),
        "rendered_by": versions(),
    }


@dataclass(frozen=True)
class Check:
    """What a lock and its program have to say to each other."""

    changed: dict[str, tuple[Any, Any]]
    """What differs, by its dotted name in the lock: locked and now."""
    notes: list[str]
    """What could not be compared, or is no matter of the prompt."""


def checked(locked: Mapping[str, Any], now: Mapping[str, Any]) -> Check:
    """Return what differs between a lock and what would be locked now.

    Args:
        locked: What the lock says.
        now: What `lock_data` says of its program.
    """
    notes = []
    absent = [part for part in FROM_THE_RUN if locked.get(part) and not now[part]]
    if absent:
        notes.append(f"not compared, as the run directory is not beside the program: {', '.join(absent)}")
    new = [part for part in FROM_THE_RUN if now[part] and not locked.get(part)]
    if new:
        notes.append(f"not in the lock, which was made away from the run directory: {', '.join(new)}")
    left_out = {"format", "program", "rendered_by", *absent, *new}
    before, after = ({name: one[name] for name in one if name not in left_out} for one in (locked, now))
    changed = differences(before, after)
    for name, (then, today) in differences(locked.get("rendered_by", {}), now["rendered_by"]).items():
        notes.append(f"rendered by {name} {today}, locked by {then}")
    return Check(changed, notes)


def change_in_words(name: str, before: Any, after: Any) -> str:
    """Return a line on one thing that differs.

    Example:
        >>> change_in_words("prompt.respond.demonstrations", ["a", "b"], ["b", "c", "d"])
        'prompt.respond.demonstrations: 2 added, 1 removed'
        >>> change_in_words("run.seed", 0, 1)
        'run.seed: was 0, is 1'
    """
    if isinstance(before, list) and isinstance(after, list) and name.endswith(".demonstrations"):
        pairs = {"added": (after, before), "removed": (before, after)}
        sizes = {word: len([one for one in ones if one not in others]) for word, (ones, others) in pairs.items()}
        counts = [f"{size} {word}" for word, size in sizes.items() if size]
        return f"{name}: {', '.join(counts) or 'in another order'}"
    if MISSING not in (before, after) and _is_hash(before) and _is_hash(after):
        return f"{name}: changed"
    return f"{name}: was {before!r}, is {after!r}"


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")


def _prompt(bundle: Bundle) -> dict[str, Any]:
    demos = bundle.retrieval.pool if bundle.retrieval else bundle.shown
    found = hashes(bundle)
    return {
        "adapter": bundle.adapter_name,
        "model_type": bundle.settings.model_type,
        "instruction": found["instruction"],
        "demonstrations": [sha256(dict(demo)) for demo in demos],
        "k": bundle.retrieval.k if bundle.retrieval else None,
        "encoder": dict(bundle.retrieval.encoder) if bundle.retrieval else None,
        "rendered": found["content"],
    }


def _of_the_run(files: RunFiles) -> dict[str, Any]:
    if not files.config:
        return dict.fromkeys(FROM_THE_RUN)
    reward = files.config.get("reward")
    return {
        "models": files.config.get("lms"),
        "data": files.config.get("data"),
        "reward": None if reward is None else {**reward, "ledger": sha256(files.ledger.get("entries"))},
        "run": {name: files.result.get(name) for name in FIGURES},
        "versions": files.result.get("versions"),
    }
