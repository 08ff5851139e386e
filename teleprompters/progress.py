"""What a run shows while it runs: one line per level, on the terminal and in the log."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ..serving.meter import Meter
from .beam import Level
from .board import Board
from .candidates import Candidate
from .minibatch import Round

logger = logging.getLogger("drpo")


class Progress:
    """Tell a run's steps, in plain lines.

    Args:
        shown: Whether they are printed on the standard error stream too. None: if that is a terminal.
    """

    def __init__(self, shown: bool | None) -> None:
        self.shown = sys.stderr.isatty() if shown is None else shown
        """Whether they are printed."""

    def say(self, text: str) -> None:
        """Tell one step."""
        logger.info(text)
        if self.shown:
            print(text, file=sys.stderr, flush=True)

    @contextmanager
    def warning(self) -> Iterator[None]:
        """Print warnings of the services meanwhile: a run that waits for one must not look dead."""
        if not self.shown or logging.getLogger().handlers:  # those would show them a second time
            yield
            return
        handler = logging.StreamHandler(sys.stderr)
        services = logging.getLogger("drpo.serving")
        services.addHandler(handler)
        try:
            yield
        finally:
            services.removeHandler(handler)

    def halted(self, meter: Meter) -> None:
        """Write into the log why a run ended at once, if it did."""
        if meter.halted is not None:
            why = str(meter.halted) or "interrupted"
            logger.warning(f"halted after {meter.totals('calls')} calls: {why}")

    def round(self, finished: Round[Candidate], board: Board[Candidate], meter: Meter) -> None:
        """Tell that a level of the default search is finished."""
        leader = finished.leader
        self.say(
            f"level {finished.number}: {len(finished.members)} new, {len(board.members)} in all; the leader is "
            f"{leader.number} ({leader.origin.value}), {board.value(leader) / 4:+.3f} beside the seed (scale 0 to 1); "
            f"{meter.totals('calls')} calls, {meter.totals('tokens')} tokens"
        )

    def level(self, level: Level[Candidate], meter: Meter) -> None:
        """Tell that a level is finished."""
        rewards = [node.evaluation.reward for node in level.children or level.beam]
        shown = ", ".join("missing" if reward is None else f"{reward:.2f}" for reward in rewards)
        self.say(
            f"level {level.number} of {level.depth - 1}: rewards {shown}; best path value {level.best.value:.3f} of 5; "
            f"{meter.totals('calls')} calls, {meter.totals('tokens')} tokens"
        )
