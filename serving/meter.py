"""What a run has used, role by role, and the caps on it."""

from __future__ import annotations

import copy
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, replace

from dspy.clients.errors import wrap_error
from dspy.lm15 import Response

from ..errors import BudgetExceededError
from .calls import current_task
from .caps import Cap, CapKind
from .roles import Role
from .services import Services

_TURN = 0.2  # seconds between two looks at whether a call that waits is still wanted


@dataclass(frozen=True)
class Usage:
    """What one role has used."""

    calls: int = 0
    """Calls that were answered."""
    errors: int = 0
    """Tries that failed; each was a request that came to nothing."""
    replayed: int = 0
    """Replies taken from the record of an earlier run instead of sending the request."""
    truncated: int = 0
    """Replies that ended at the token limit."""
    prompt_tokens: int = 0
    """Tokens read, as the server counts them."""
    completion_tokens: int = 0
    """Tokens written, as the server counts them."""
    seconds: float = 0.0
    """Sum of the answered calls' durations; calls overlap, so it exceeds the run's."""
    cost: float | None = 0.0
    """Price in dollars; None once a call's price is unknown."""

    @property
    def requests(self) -> int:
        """Requests sent: calls that were answered and tries that failed."""
        return self.calls + self.errors

    @property
    def tokens(self) -> int:
        """Tokens read and written."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True)
class TaskUsage:
    """What it took to do one task of a run, for example to answer and judge one query."""

    calls: int = 0
    """Calls that were answered."""
    tokens: int = 0
    """Tokens read and written."""
    cost: float | None = 0.0
    """Price in dollars; None once a call's price is unknown."""


@dataclass(frozen=True)
class RecordedCall:
    """One finished call as the record keeps it."""

    response: Response
    """The reply."""
    seconds: float
    """How long it took; with a simulated model, how long it would have taken."""
    cost: float | None
    """Its price in dollars; None if unknown."""


@dataclass(frozen=True)
class FailedCall:
    """One try of a call that came back with an error."""

    kind: str
    """The class of the error."""
    message: str
    """What it said, without secrets."""
    seconds: float
    """How long it took."""
    given_up: str | None = None
    """The code with which the call was given up for good, after this try; `message` says why then."""


class Meter:
    """Counts calls, tokens, seconds and money by role, and holds the caps.

    Args:
        caps: What the run may use.
        whole: The counter of what this is a part of. It counts what this one counts too, and its caps hold for all of
            its parts together: the first call beyond them halts it, and with it every part. None: it is no part.
        luck: Whether tries that failed count against its caps on calls. Without them a run ends at the same call
            whatever fails on the way.
    """

    def __init__(self, caps: Sequence[Cap] = (), *, whole: Meter | None = None, luck: bool = True) -> None:
        self.caps = tuple(caps)
        self._counted = "requests" if luck else "calls"
        self._whole = whole
        self.usage = {role: Usage() for role in Role}
        self.stopped: str | None = None
        """The first cap that was reached, in words; None while none is."""
        self.refusing: str | None = None
        """Why no further call is allowed; None while calls are allowed."""
        self.failures: dict[Role, Exception] = {}
        """The last error of each role that had one."""
        self.kinds: dict[Role, Counter[str]] = {role: Counter() for role in Role}
        """How often each kind of error occurred, by role."""
        self.given_up = dict.fromkeys(Role, 0)
        """How many calls were given up, by role: they are missing."""
        self.waited = dict.fromkeys(Role, 0.0)
        """Seconds that calls waited for their next try, or until their endpoint took more of them, by role."""
        self.services: Services = Services() if whole is None else whole.services
        """What is known of who is asked."""
        self._halted: BaseException | None = None
        self.abandoned: Future[None] = Future() if whole is None else whole.abandoned
        """Done once not even the calls under way are waited for."""
        self._tasks: dict[str, TaskUsage] = {}
        self._under_way: Counter[Role] = Counter()
        self._lock = threading.Lock()
        self._begin = time.monotonic()

    @property
    def halted(self) -> BaseException | None:
        """Why the run ends at once, with nothing more sent; None if it goes on.

        It was interrupted, its record cannot be written, no call would be answered, or, for one with parts, a cap is
        reached.
        """
        return self._halted if self._whole is None else self._whole.halted

    @halted.setter
    def halted(self, reason: BaseException | None) -> None:
        if self._whole is None:
            self._halted = reason
        else:
            self._whole.halted = reason

    @property
    def elapsed(self) -> float:
        """Seconds since the meter was made."""
        return time.monotonic() - self._begin

    def admit(self, role: Role) -> None:
        """Make room for a request that is about to be sent, or refuse it; `finish`, `fail` or `drop` follows.

        Raises:
            BudgetExceededError: If a cap is reached, the calls under way counted.
            KeyboardInterrupt, RunDirectoryError: If the run is halted.
        """
        self.go_on()
        with self._lock:
            self._check(role)
            self._admit_to_whole(role)
            self._under_way[role] += 1

    def still(self, role: Role) -> None:
        """Raise what `admit` would raise for a call that waits to be sent."""
        self.go_on()
        with self._lock:
            self._check(role)

    def wait(self, role: Role, seconds: float) -> None:
        """Wait between two tries of a call; ends early with what `admit` would raise.

        Args:
            role: Whose call it is.
            seconds: How long.
        """
        begin = time.monotonic()
        try:
            while True:
                self.still(role)
                left = begin + seconds - time.monotonic()
                if left <= 0:
                    return
                time.sleep(min(left, _TURN))
        finally:
            self.add_wait(role, time.monotonic() - begin)

    def add_wait(self, role: Role, seconds: float) -> None:
        """Count the seconds that a call has waited to be sent."""
        if self._whole is not None:
            self._whole.add_wait(role, seconds)
        with self._lock:
            self.waited[role] += seconds

    def go_on(self) -> None:
        """Raise if the run is halted.

        Raises:
            KeyboardInterrupt, RunDirectoryError, LMError: Why it is.
        """
        if self.halted is not None:
            raise copy.copy(self.halted)  # each thread its own: a traceback grows with every raising

    def finish(self, role: Role, call: RecordedCall, *, replayed: bool = False) -> None:
        """Count a call that was answered, now or, if it is replayed, in an earlier run."""
        used = call.response.usage
        if self._whole is not None:
            self._whole.finish(role, call, replayed=replayed)
        with self._lock:
            if not replayed:
                self._under_way[role] -= 1
            self._change(
                role,
                calls=1,
                replayed=int(replayed),
                truncated=int(call.response.finish_reason == "length"),
                prompt_tokens=used.input_tokens or 0,
                completion_tokens=used.output_tokens or 0,
                seconds=call.seconds,
            )
            self._pay(role, call.cost)
            # Criteria are chosen once per query, by whichever task asks first: they are nobody's alone.
            if (task := current_task()) and role is not Role.CRITERIA:
                self._tasks[task] = _added(self._tasks.get(task, TaskUsage()), call)

    def of_task(self, name: str) -> TaskUsage:
        """Return what a task has used so far, the choice of criteria left out.

        Args:
            name: The label that it was started with.
        """
        with self._lock:
            return self._tasks.get(name, TaskUsage())

    def fail(self, role: Role, failed: FailedCall, error: Exception | None = None) -> None:
        """Count a try that came back with an error, now or, if there is no `error`, in an earlier run."""
        if self._whole is not None:
            self._whole.fail(role, failed, error)
        with self._lock:
            if error is not None:
                self._under_way[role] -= 1
            self._change(role, errors=1)
            self.kinds[role][failed.kind] += 1
            if error is not None:
                self.failures[role] = error

    def lose(self, role: Role) -> None:
        """Count a call that is given up, now or in an earlier run."""
        if self._whole is not None:
            self._whole.lose(role)
        with self._lock:
            self.given_up[role] += 1

    def drop(self, role: Role) -> None:
        """Take back the room for a request of which nobody knows what became."""
        if self._whole is not None:
            self._whole.drop(role)
        with self._lock:
            self._under_way[role] -= 1

    def add(self, role: Role, usage: Usage) -> None:
        """Count what a part has used that was finished in an earlier run."""
        with self._lock:
            amounts = asdict(usage)
            cost = amounts.pop("cost")
            self._change(role, **amounts)
            self._pay(role, cost)

    def settle(self) -> None:
        """Wait until no call is under way: whoever began them may not have waited."""
        while not self.abandoned.done() and self._under_way.total():
            time.sleep(_TURN / 10)

    def refuse(self, why: str) -> None:
        """Refuse every further call, because a meter that stands behind this one does."""
        with self._lock:
            self.refusing = self.refusing or why
            self.stopped = self.stopped or self.refusing

    def check(self) -> None:
        """Raise if every request of a role failed: a program or a metric may have hidden that from its caller.

        Raises:
            LMError: The role's last failure.
        """
        for role, error in self.failures.items():
            if not self.usage[role].calls:
                raise wrap_error(error, model=role.value) from error

    def allow(self) -> None:
        """Let the next part of a run make calls, as far as the caps go: one on a single role leaves the others."""
        self.refusing = None

    def totals(self, name: str) -> int:
        """Return the sum over the roles of one count, `calls` or `tokens` for example."""
        return sum(getattr(usage, name) for usage in self.usage.values())

    def used(self, cap: Cap) -> float | None:
        """Return how much of what a cap bounds is used; None if a call's price is not known."""
        if cap.kind is CapKind.SECONDS and cap.role is None:
            return self.elapsed
        name = {
            CapKind.LM_CALLS: self._counted,
            CapKind.TOKENS: "tokens",
            CapKind.COST: "cost",
            CapKind.SECONDS: "seconds",
        }
        amounts = [getattr(self.usage[role], name[cap.kind]) for role in Role if cap.role in (None, role)]
        return None if None in amounts else sum(amounts)

    def _check(self, role: Role) -> None:
        self.refusing = self.refusing or self._reached(role)
        if self.refusing:
            self.stopped = self.stopped or self.refusing
            raise BudgetExceededError(self.refusing)

    def _admit_to_whole(self, role: Role) -> None:
        if self._whole is None:
            return
        try:
            self._whole.admit(role)
        except BudgetExceededError as error:  # whoever makes the calls of a part may hide it
            self._whole.halted = self._whole.halted or error
            raise

    def _reached(self, role: Role) -> str | None:
        """Return which cap a further call of a role would exceed, in words."""
        for cap in self.caps:
            if cap.role not in (None, role):
                continue
            used = self.used(cap)
            if used is None:
                return f"{cap}: a call has no known price; give the LM a price, or cap max_lm_calls or max_tokens"
            if cap.kind is CapKind.LM_CALLS:
                used += sum(count for one, count in self._under_way.items() if cap.role in (None, one))
            if used >= cap.limit:
                return f"{cap} is reached"
        return None

    def _pay(self, role: Role, cost: float | None) -> None:
        was = self.usage[role].cost
        self.usage[role] = replace(self.usage[role], cost=None if was is None or cost is None else was + cost)

    def _change(self, role: Role, **amounts: float) -> None:
        was = self.usage[role]
        self.usage[role] = replace(was, **{name: getattr(was, name) + amount for name, amount in amounts.items()})


def _added(before: TaskUsage, call: RecordedCall) -> TaskUsage:
    used = call.response.usage
    cost = None if before.cost is None or call.cost is None else before.cost + call.cost
    return TaskUsage(before.calls + 1, before.tokens + (used.input_tokens or 0) + (used.output_tokens or 0), cost)
