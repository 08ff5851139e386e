"""A run of its own process that is to be interrupted: `python interrupted.py DIR MODE THREADS SECONDS [TIMEOUT]`.

Each call takes so many seconds. On the standard output stand `asked N` and `answered N` of every call, and at the end
`ended KIND` with the kind of error that `compile` raised, and how many threads are left.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

import dspy
from contract_programs import examples
from contract_world import World
from dspy import lm15  # noqa: F401  # imported before the first signal may come

MODES: dict[str, dict[str, Any]] = {
    "default": {"auto": "light", "n_actions": 2, "depth": 1, "max_depth_increase": None, "minibatch_size": 3},
    "paper": {"auto": "paper", "depth": 3},
}


def interrupted_run(world: World, folder: Path, mode: str, **options: Any) -> dspy.Module:
    """Compile what the interrupted runs compile."""
    both = examples(13)
    return world.optimizer(log_dir=folder, display_progress=True, **{**MODES[mode], **options}).compile(
        dspy.Predict("question -> answer"), trainset=both[:5], valset=both[5:]
    )


def main() -> None:
    """Run until the end or until a signal."""
    folder, mode, num_threads, seconds, *timeout = sys.argv[1:]
    lock, asked = threading.Lock(), [0]

    def slow(role: str, prompt: object) -> None:
        with lock:
            asked[0] += 1
            print("asked", asked[0], flush=True)
        time.sleep(float(seconds))
        with lock:
            print("answered", flush=True)

    options: dict[str, Any] = {} if not timeout else {"call_timeout": float(timeout[0]) or None}
    try:
        interrupted_run(World(before=slow), Path(folder), mode, num_threads=int(num_threads), **options)
    except BaseException as error:
        left = [thread.name for thread in threading.enumerate() if not thread.daemon]
        print("ended", type(error).__name__, len(left), flush=True)
    else:
        print("finished", flush=True)


if __name__ == "__main__":
    main()
