"""What every durable piece of work stands in: its directory, its counted LMs, its pool of threads, its Ctrl-C.

A compile, a comparison, an evaluation and a judge card are each a function of the replies of their LMs. Within a
session every reply is on record before it is used, so each of them is resumed by running it again in the same
directory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dspy

from ..serving.retrying import PATIENCE
from .interrupts import interruptible
from .pool import TaskPool
from .progress import Progress
from .roles import RunLMs
from .run_directory import RunDirectory


@dataclass(frozen=True)
class Session:
    """One piece of work under way."""

    directory: RunDirectory | None
    """Where it is written down; None: nowhere."""
    lms: RunLMs
    """Its LMs, every call counted, tried again if need be, and on record if there is a directory."""
    pool: TaskPool
    """What its tasks run in."""
    progress: Progress
    """Told its steps."""


@contextmanager
def session(
    lms: RunLMs,
    *,
    log_dir: Path | str | None,
    config: dict[str, Any] | None = None,
    num_threads: int | None = None,
    timeout: float | None = None,
    patience: float = PATIENCE,
    display_progress: bool | None = None,
) -> Iterator[Session]:
    """Open a session; within it `dspy.settings.lm` is the task LM, and the global trace is left alone.

    Args:
        lms: The LMs, as they were resolved.
        log_dir: Its directory; one that holds the same work, begun before, is resumed. None: nowhere.
        config: What `config.json` says: two sessions with the same one are the same work. Needed with a `log_dir`.
        num_threads: Calls under way at once, at least 1. None: `dspy.settings.num_threads`.
        timeout: Seconds after which a try of a call is given up. None: never.
        patience: Seconds that an outage is waited for.
        display_progress: Whether steps are shown. None: in a notebook, or if the standard error stream is a terminal.

    Raises:
        RunDirectoryError: If the directory is in use, damaged, of other work, or cannot be written.
        LMError: If an LM cannot be reached; the work can be resumed.
        KeyboardInterrupt: After Ctrl-C: the first lets the calls under way end, the second does not.
    """
    with ExitStack() as stack:
        directory = None
        if log_dir is not None:
            directory = stack.enter_context(RunDirectory(log_dir, config=config or {}))
        bound = lms.metered(directory.calls if directory else None, timeout=timeout, patience=patience)
        progress = Progress(display_progress, bound.meter)
        stack.enter_context(progress.showing())
        stack.enter_context(interruptible(bound.meter, shown=progress.shown and not progress.draws))
        stack.callback(progress.halted)
        pool = stack.enter_context(TaskPool(num_threads or dspy.settings.num_threads, meter=bound.meter))
        stack.enter_context(dspy.context(lm=bound.task, trace=[]))
        yield Session(directory, bound, pool, progress)
