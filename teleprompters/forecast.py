"""From rehearsals to figures with a range: calls, tokens, dollars and minutes, role by role.

expected   the mean over the rehearsals
range      from the least to the most of them, by `MARGIN` further on either side: a run is another draw
clock      see `clock_seconds`; the range ends at its two bounds
hours      a server is busy while a call of its roles is under way: with c calls under way on average, of which a
share p are its own, that is 1 - (1 - p)^c of the time. Its roles share that by the length of their calls
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..serving.caps import Cap, CapKind
from ..serving.prices import SECONDS_PER_HOUR, server_of
from ..serving.roles import Role
from ..serving.settings import LMSettings
from .rehearsal import Rehearsal, RehearsedCall

FIELDS = {
    CapKind.LM_CALLS: "calls",
    CapKind.TOKENS: "tokens",
    CapKind.COST: "cost",
    CapKind.SECONDS: "seconds",
}
"""Where a `Bill` has what a cap bounds."""
RUNGS = 3
"""In how many steps a race is run at most."""
MARGIN = 1.15
"""By what factor a range goes beyond the rehearsals. Calibrated: see `benchmarks/estimates.py`."""


@dataclass(frozen=True)
class Amount:
    """A figure that is not known yet."""

    expected: float
    """What is expected."""
    low: float
    """The least that is likely."""
    high: float
    """The most that is likely."""


@dataclass(frozen=True)
class Bill:
    """What a role, or all of them, will take."""

    calls: Amount
    """Calls that are answered."""
    tokens: Amount
    """Tokens read and written."""
    cost: Amount | None
    """Dollars; None if a price is unknown."""
    seconds: Amount | None
    """Of a role: the durations of its calls, added up. Of all: on the clock. None if unknown."""


def forecast(
    rehearsals: Sequence[Rehearsal], *, models: Mapping[Role, LMSettings], num_threads: int, caps: Sequence[Cap] = ()
) -> dict[Role | None, Bill]:
    """Return the bill of each role, and of all together under None.

    Args:
        rehearsals: At least one.
        models: The user's models, all four.
        num_threads: Calls under way at once.
        caps: What the run cannot exceed by more than the calls under way.
    """
    found = [_Figures(one.calls, models, num_threads) for one in rehearsals]
    bills: dict[Role | None, Bill] = {}
    for role in (*Role, None):
        longest = [call for one in rehearsals for call in one.calls if role in (None, call.role)]
        bill = Bill(
            _amount([_exactly(len(one.calls_of(role))) for one in found]),
            _amount([_exactly(sum(call.read + call.written for call in one.calls_of(role))) for one in found]),
            _known([one.cost(role) for one in found]),
            _known([one.seconds(role) for one in found]),
        )
        bills[role] = _within(bill, role, caps, longest, num_threads)
    return bills


def clock_seconds(calls: Sequence[RehearsedCall], *, num_threads: int) -> tuple[float, float]:
    """Return the least and the most seconds that calls of known length take on the clock (Graham's bounds).

    work = the sum of all calls' seconds, shared out evenly among the threads
    path = the sum over the steps, which follow each other, of the longest task in each
    least = the greater of both; most = their sum

    Steps are the rewriting and the judging of each level, the demonstrations, and the final selection. Where candidates
    race, judging has up to `RUNGS` steps.

    Args:
        calls: Calls of one task follow each other; tasks that only choose criteria run ahead of all steps.
        num_threads: How many are under way at once.
    """
    steps: dict[tuple[str, bool], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for call in calls:
        if call.role is not Role.CRITERIA:
            steps[_stage(call.task), call.role is Role.PROMPT][call.task] += call.seconds or 0.0
    work = sum(call.seconds or 0.0 for call in calls) / num_threads
    path = sum(
        max(tasks.values()) * (RUNGS if _is_race(tasks) and not writes else 1) for (_, writes), tasks in steps.items()
    )
    return max(work, path), work + path


def _is_race(tasks: Iterable[str]) -> bool:
    """Tell whether candidates are judged one beside the other: their tasks bear their numbers or names.

    Example:
        >>> _is_race(["level 1 judge 2/7", "level 1 judge 3/7"]), _is_race(["level 1 judge/0"])
        (True, False)
    """
    return len({task.partition("/")[0] for task in tasks}) > 1


def _stage(task: str) -> str:
    """Return the part of the search that a task belongs to: its level, else its first word.

    Example:
        >>> [_stage(task) for task in ("level 2 judge 7/3", "held-out both/4", "demonstrations/1")]
        ['level 2', 'held-out', 'demonstrations']
    """
    found = re.match(r"level \d+|[^\s/]+", task)
    return found.group() if found else task


_Triple = tuple[float, float, float]  # what is expected, the least, the most


class _Figures:
    """What one rehearsal took."""

    def __init__(self, calls: Sequence[RehearsedCall], models: Mapping[Role, LMSettings], num_threads: int) -> None:
        self._calls, self._models = calls, models
        self._durations = {role: self._sum(role, "seconds") for role in Role}
        self._clock: _Triple | None = None
        if None not in self._durations.values():
            least, most = clock_seconds(calls, num_threads=num_threads)
            self._clock = ((least + most) / 2, least, most)

    def calls_of(self, role: Role | None) -> list[RehearsedCall]:
        return [call for call in self._calls if role in (None, call.role)]

    def seconds(self, role: Role | None) -> _Triple | None:
        if role is None:
            return self._clock
        duration = self._durations[role]
        return None if duration is None else _exactly(duration)

    def cost(self, role: Role | None) -> _Triple | None:
        if role is None:
            parts = [self.cost(one) for one in Role]
            known = [part for part in parts if part is not None]
            return tuple(map(sum, zip(*known, strict=True))) if len(known) == len(parts) else None  # type: ignore[return-value]
        if not self.calls_of(role):
            return _exactly(0.0)
        rate = self._models[role].hourly_price
        if rate is None:
            cost = self._sum(role, "cost")
            return None if cost is None else _exactly(cost)
        if self._clock is None:
            return None
        return tuple(rate / SECONDS_PER_HOUR * self._busy(role, clock) for clock in self._clock)  # type: ignore[return-value]

    def _busy(self, role: Role, clock: float) -> float:
        """Return the seconds of a server's busy time that a role has to pay for."""
        server = server_of(self._models[role])
        durations = {one: seconds or 0.0 for one, seconds in self._durations.items()}
        everything = sum(durations.values())
        own = sum(seconds for one, seconds in durations.items() if server_of(self._models[one]) == server)
        if not own or not clock:
            return 0.0
        idle = float((1 - own / everything) ** (everything / clock))
        return clock * (1 - idle) * durations[role] / own

    def _sum(self, role: Role, name: str) -> float | None:
        values = [getattr(call, name) for call in self.calls_of(role)]
        return None if None in values else sum(values)


def _exactly(value: float) -> _Triple:
    return value, value, value


def _known(found: Sequence[_Triple | None]) -> Amount | None:
    known = [one for one in found if one is not None]
    return _amount(known) if len(known) == len(found) else None


def _amount(found: Sequence[_Triple]) -> Amount:
    expected = sum(one[0] for one in found) / len(found)
    return Amount(expected, min(one[1] for one in found) / MARGIN, max(one[2] for one in found) * MARGIN)


def _within(bill: Bill, role: Role | None, caps: Sequence[Cap], calls: Sequence[RehearsedCall], threads: int) -> Bill:
    """Return a bill whose range ends where a cap of its scope does, the calls under way beyond it."""
    for cap in caps:
        if cap.role is not role:
            continue
        name = FIELDS[cap.kind]
        beyond = 0.0
        if cap.kind is CapKind.TOKENS:
            beyond = threads * max((call.read + call.written for call in calls), default=0)
        elif cap.kind is CapKind.COST:
            beyond = threads * max((call.cost or 0.0 for call in calls), default=0.0)
        elif cap.kind is CapKind.SECONDS:
            beyond = (1 if role is None else threads) * max((call.seconds or 0.0 for call in calls), default=0.0)
        amount: Amount | None = getattr(bill, name)
        if amount is not None and cap.limit + beyond < amount.high:
            high = cap.limit + beyond
            bill = replace(bill, **{name: Amount(min(amount.expected, high), min(amount.low, high), high)})
    return bill
