"""What a run tells while it runs: lines for the log and whoever looks, and where it is at any moment."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from ..metrics.judgement import to_unit
from ..serving.caps import CapKind
from ..serving.meter import Meter
from ..serving.roles import Role
from .beam import Level
from .board import Board
from .candidates import Candidate
from .displays import Display, Lines, Nothing, display, wanted
from .minibatch import Round
from .pace import Pace, in_words
from .picture import Picture, short
from .steps import Steps

logger = logging.getLogger("drpo")


@dataclass(frozen=True)
class _Standing:
    """Where a run is."""

    stage: str
    """What is done now."""
    found: str = ""
    """What was found so far."""
    begun: int = 0
    """Calls that were answered when the stage began."""
    calls: float | None = None
    """Calls that the stage will about make; None if nobody knows."""
    later: float = 0.0
    """Calls that follow the stage."""


class Progress:
    """Tell a run's steps, and show where it is.

    Args:
        shown: Whether anything is shown beside the log. None: in a notebook, or if the standard error stream is a
            terminal.
        meter: The run's counter. None: nothing is known of its calls.
    """

    def __init__(self, shown: bool | None, meter: Meter | None = None) -> None:
        self.shown = wanted(shown)
        """Whether anything is shown."""
        self._meter = meter or Meter()
        self._display: Display = Lines() if self.shown else Nothing()
        self._standing = _Standing("under way")
        self._steps: Steps | None = None
        self._pace = Pace()

    @property
    def draws(self) -> bool:
        """Whether what is shown is drawn anew all the time, so that nothing else may write there."""
        return self._display.draws

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Show the run meanwhile, and the services' warnings: a run that waits for one must not look dead."""
        self._display = display(self.shown, self.picture)
        self._pace.left(calls=0, made=0, now=self._meter.elapsed)  # where the first measurement begins
        services, handler = logging.getLogger("drpo.serving"), _ToDisplay(self._display)
        warns = self.shown and not logging.getLogger().handlers  # those would show them a second time
        if warns:
            services.addHandler(handler)
        try:
            yield
        finally:
            services.removeHandler(handler)
            self._display.close()
            self._display = Lines() if self.shown else Nothing()

    def say(self, text: str) -> None:
        """Tell one step."""
        logger.info(text)
        self._display.say(text)

    def begin(self, stage: str, *, calls: float | None = None, later: float = 0.0) -> None:
        """Tell which stage begins, for who looks at the run.

        Args:
            stage: What it is, in a few words.
            calls: How many calls it will about make. None: nobody knows.
            later: How many calls follow it.
        """
        begun = self._meter.totals("calls")
        self._standing = replace(self._standing, stage=stage, begun=begun, calls=calls, later=later)

    def follow(self, steps: Steps, last: int) -> None:
        """Take the steps that a search will make as its plan.

        Args:
            steps: Their calls.
            last: The number of its last level.
        """
        self._steps = steps
        self._begin_level(0, last)

    def round(self, finished: Round[Candidate], board: Board[Candidate]) -> None:
        """Tell that a level of the default search is finished."""
        leader, number = finished.leader, finished.number
        best = f"{board.value(leader) / 4:+.3f} beside the seed"
        if number:
            what = f"{len(finished.members)} new, {len(board.members)} in all; leader {leader.number} "
            what += f"({leader.origin.value}) {best}"
        else:
            what = f"the seed, reward {to_unit(board.expected(leader)):.3f}"
        self._found(f"{len(board.members)} candidates, best {best}" if number else "")
        last = None if self._steps is None else len(self._steps.levels) - 1
        if last is not None:
            self._begin_level(number + 1, last)
        self._tell_level(number, what, last=last)

    def level(self, level: Level[Candidate]) -> None:
        """Tell that a level of the paper's search is finished."""
        rewards = [node.evaluation.reward for node in level.children or level.beam]
        shown = ", ".join("missing" if reward is None else f"{reward:.2f}" for reward in rewards)
        last = level.depth - 1
        best = f"best path {level.best.value:.3f} of 5"
        self._found(best)
        self._begin_level(level.number + 1, last)
        self._tell_level(level.number, f"rewards {shown}; {best}", last=last)

    def halted(self) -> None:
        """Write into the log why a run ended at once, if it did."""
        meter = self._meter
        if meter.halted is not None:
            why = str(meter.halted) or "interrupted"
            logger.warning(f"halted after {meter.totals('calls')} calls: {why}")

    def picture(self) -> Picture:
        """Return the run at this moment."""
        meter, now = self._meter, self._standing
        calls = meter.totals("calls")
        ahead = self._ahead(now, calls)
        left = None
        if ahead is not None:
            fresh = calls - meter.totals("replayed")
            left = self._pace.left(calls=ahead, made=fresh, now=meter.elapsed)
        return Picture(
            stage=now.stage,
            found=now.found,
            calls=calls,
            planned=None if ahead is None else calls + round(ahead),
            tokens=meter.totals("tokens"),
            money=self._money(),
            elapsed=meter.elapsed,
            left=None if left is None else min([left, *self._limits(CapKind.SECONDS)]),
            ending=meter.halted is not None,
        )

    def _tell_level(self, number: int, what: str, *, last: int | None) -> None:
        of = "" if last is None else f" of {last}"
        used = f"{self._meter.totals('calls'):,} calls, {short(self._meter.totals('tokens'))} tokens"
        line = "; ".join([f"level {number}{of}: {what}", ", ".join(filter(None, [used, self._money()]))])
        logger.info(line)
        self._display.say(line + ("" if self._display.draws else self._left_in_words()))

    def _left_in_words(self) -> str:
        """Return how long the run will about take, for a line; a guess by the clock has no place in the log."""
        with suppress(Exception):  # whatever is shown ends no run
            left = self.picture().left
            return "" if left is None else f"; about {in_words(left)} left"
        return ""

    def _found(self, found: str) -> None:
        self._standing = replace(self._standing, found=found)

    def _begin_level(self, number: int, last: int) -> None:
        steps = self._steps
        if number > last:
            self.begin("final steps", calls=steps.rest if steps else None)
        elif steps is None:
            self.begin(f"level {number} of {last}")
        else:
            stage = f"level {number} of {last}" if number else "judging the program as it is"
            self.begin(stage, calls=steps.of(number), later=steps.after(number, last))

    def _ahead(self, now: _Standing, calls: int) -> float | None:
        """Return how many calls are about to come: those of the plan, or fewer if a cap ends the run."""
        if now.calls is None:
            return None
        ahead = max(0.0, now.calls - (calls - now.begun)) + now.later
        return max(0.0, min([ahead, *self._limits(CapKind.LM_CALLS)]))

    def _limits(self, kind: CapKind) -> list[float]:
        """Return what is left under the caps of a kind on the whole run."""
        caps = [cap for cap in self._meter.caps if cap.kind is kind and cap.role is None]
        return [cap.limit - (self._meter.used(cap) or 0.0) for cap in caps]

    def _money(self) -> str:
        costs = [self._meter.usage[role].cost for role in Role]
        known = [cost for cost in costs if cost is not None]
        if len(known) < len(costs) or not sum(known):
            return ""
        limits = [cap.limit for cap in self._meter.caps if cap.kind is CapKind.COST and cap.role is None]
        spent = sum(known)
        return (f"${spent:,.2f}" if spent >= 1 else f"${spent:.4f}") + (f" of ${min(limits):,.2f}" if limits else "")


class _ToDisplay(logging.Handler):
    """Shows warnings where the progress is shown."""

    def __init__(self, shown: Display) -> None:
        super().__init__()
        self._shown = shown

    def emit(self, record: logging.LogRecord) -> None:
        self._shown.say(record.getMessage())
