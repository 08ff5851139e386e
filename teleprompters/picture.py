"""What is shown of a run under way: one moment of it, and the words for it."""

from __future__ import annotations

from dataclasses import dataclass

from .pace import clock, in_words


@dataclass(frozen=True)
class Picture:
    """A run at one moment."""

    stage: str
    """What is done now: `level 2 of 4`."""
    found: str
    """What was found so far: candidates, the best value; empty before anything is."""
    calls: int
    """Calls that were answered."""
    planned: int | None
    """Calls that the run will about make in all; None if nobody knows."""
    tokens: int
    """Tokens read and written."""
    money: str
    """Dollars spent, and the cap if there is one; empty if a price is unknown, or all is free."""
    elapsed: float
    """Seconds since the run began."""
    left: float | None
    """Seconds that it will about take; None while too little is known."""
    ending: bool
    """Whether the run was interrupted, and only waits for the calls under way."""

    @property
    def title(self) -> str:
        """What is done and what was found, in a line."""
        if self.ending:
            return "interrupted: waiting for the calls under way; Ctrl-C again stops at once"
        return "; ".join(part for part in (self.stage, self.found) if part)

    @property
    def amounts(self) -> str:
        """What was used, in a line."""
        return ", ".join(part for part in (f"{short(self.tokens)} tokens", self.money) if part)

    @property
    def times(self) -> str:
        """The time that has passed and that is left, in a line."""
        left = "" if self.left is None or self.ending else f", about {in_words(self.left)} left"
        return f"{clock(self.elapsed)}{left}"

    @property
    def count(self) -> str:
        """The calls, in a line."""
        return f"{self.calls:,} calls" if self.planned is None else f"{self.calls:,} of about {self.planned:,} calls"

    @property
    def line(self) -> str:
        """All of it, in a line."""
        return f"{self.title}; {self.count}, {self.amounts}, {self.times}"


def short(number: int) -> str:
    """Return a count in few characters.

    Example:
        >>> [short(number) for number in (950, 64_321, 1_250_000)]
        ['950', '64k', '1.2M']
    """
    if number < 10_000:
        return f"{number:,}"
    return f"{number / 1e3:.0f}k" if number < 999_500 else f"{number / 1e6:.1f}M"
