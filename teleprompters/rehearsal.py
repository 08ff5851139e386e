"""A rehearsal: the same search on simulated models, to see how many calls it makes and how long they are.

Nothing here knows how a search goes on: the real one runs, with the user's settings, prompts, caps and seed. Only its
models are others: they write what the simulated ones write, and count it as the user's models would (`Measure`).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import dspy
from dspy.lm15 import Request, Response, Usage, response_to_events

from ..errors import BudgetExceededError
from ..metrics.reward import DynamicReward
from ..serving.calls import current_task
from ..serving.prices import SECONDS_PER_HOUR, Prices
from ..serving.roles import Role
from ..serving.settings import LMSettings
from ..serving.simulated.engine import ROLES, SimulatedEngine
from ..serving.simulated.models import SimulatedModels
from ..serving.simulated.world import World
from .drpo import DRPOTeleprompter


@dataclass(frozen=True)
class Measure:
    """How the calls of a user's model compare with those of the simulated one in its place."""

    read: float = 1.0
    """Tokens read for each one that the simulated model reads."""
    written: float = 1.0
    """Tokens written for each one that the simulated model writes."""
    pace: float | None = None
    """Seconds for each token written; None if unknown."""


@dataclass(frozen=True)
class RehearsedCall:
    """One call, counted as the user's model would count it."""

    role: Role
    """Who asked."""
    task: str
    """What for: the name of the task, `level 1 judge 3/7` for example."""
    read: int
    """Tokens read."""
    written: int
    """Tokens written."""
    seconds: float | None
    """How long it takes; None if unknown."""
    cost: float | None
    """Its price in dollars; None if it is unknown, or by the hour."""


@dataclass(frozen=True)
class Rehearsal:
    """What one rehearsal took."""

    calls: tuple[RehearsedCall, ...]
    """Its calls, in the order in which they were made."""
    stopped: str | None
    """The cap that ended it early; None if none did."""

    def of(self, role: Role) -> list[RehearsedCall]:
        """Return the calls of a role."""
        return [call for call in self.calls if call.role is role]


class StandIn:
    """A simulated model in the place of one of the user's.

    Args:
        role: What it is used for.
        settings: The user's model.
        world: Where the simulated model lives.
        measure: How it counts.
        calls: Where each call is kept.
        num_threads: Calls that share a server's hours, where it is paid by the hour.
    """

    supports_function_calling = False
    supports_reasoning = False

    def __init__(
        self,
        role: Role,
        settings: LMSettings,
        *,
        world: World,
        measure: Measure,
        calls: list[RehearsedCall],
        num_threads: int,
    ) -> None:
        self._inner = SimulatedEngine(SimulatedModels(world))
        self._role, self._measure, self._calls = role, measure, calls
        self._longest = settings.max_tokens or math.inf
        self._prices, self._hourly = Prices(settings), settings.hourly_price
        self._num_threads = num_threads
        self.supports_response_schema = settings.structured_output is not False
        known = self._inner.supported_params
        self.supported_params = known if self.supports_response_schema else known - {"response_format"}

    def __deepcopy__(self, memo: dict[int, Any]) -> StandIn:
        return self

    def complete(self, request: Request) -> Response:
        """Return the simulated model's reply, counted as the user's model would count it."""
        reply = self._inner.complete(request)
        read = round((reply.usage.input_tokens or 0) * self._measure.read)
        written = round(min(self._longest, (reply.usage.output_tokens or 0) * self._measure.written))
        response = replace(reply, usage=Usage(input_tokens=read, output_tokens=written, total_tokens=read + written))
        call = RehearsedCall(
            self._role, current_task(), read, written, self.seconds(response), self._prices.tokens(read, written)
        )
        self._calls.append(call)
        return response

    def stream(self, request: Request) -> Iterator[Any]:
        """Yield the reply as one stream."""
        yield from response_to_events(self.complete(request))

    def price(self, response: Response) -> float | None:
        """Return the price of a reply in dollars, None if it is unknown."""
        if self._hourly is not None:
            seconds = self.seconds(response)
            return None if seconds is None else seconds / self._num_threads * self._hourly / SECONDS_PER_HOUR
        return self._prices.tokens(response.usage.input_tokens or 0, response.usage.output_tokens or 0)

    def seconds(self, response: Response) -> float | None:
        """Return how long a reply takes, None if it is unknown."""
        return None if self._measure.pace is None else (response.usage.output_tokens or 0) * self._measure.pace

    def close(self) -> None:
        """Do nothing: there is no connection."""


def stand_ins(
    models: Mapping[Role, LMSettings],
    *,
    world: World,
    measures: Mapping[Role, Measure],
    calls: list[RehearsedCall],
    num_threads: int,
) -> dict[Role, dspy.LM]:
    """Return a simulated LM in the place of each of the user's.

    Args:
        models: The user's models.
        world: Where the simulated ones live.
        measures: How each counts; a role that is missing counts as the simulated model does.
        calls: Where each call is kept.
        num_threads: Calls that share a server's hours.
    """
    return {
        role: dspy.LM(
            f"sim/{ROLES[role]}",
            engine=StandIn(
                role, settings, world=world, measure=measures.get(role, Measure()), calls=calls, num_threads=num_threads
            ),
            model_type=settings.model_type,
            temperature=settings.temperature,
            cache=False,
            num_retries=0,
        )
        for role, settings in models.items()
    }


def rehearse(
    arguments: Mapping[str, Any],
    student: dspy.Module,
    *,
    reward: DynamicReward,
    trainset: Sequence[dspy.Example],
    valset: Sequence[dspy.Example],
    models: Mapping[Role, LMSettings],
    measures: Mapping[Role, Measure],
    num_threads: int,
    world: World,
) -> Rehearsal:
    """Run a search on simulated models, in this thread and without a file.

    Args:
        arguments: The optimizer's, as the user gives them.
        student: The program that is compiled; it is left as it is.
        reward: What judges; of its own LMs none is asked. Its ledger is added to: give each rehearsal one of its own.
        trainset: Prompts of the search.
        valset: Held-out prompts; may be empty.
        models: The user's models, all four.
        measures: How the models in their place count.
        num_threads: Calls that the run makes at once; the rehearsal makes one after the other.
        world: Where these live. Never the one that the user's own models live in, if they are simulated themselves.
    """
    calls: list[RehearsedCall] = []
    lms = stand_ins(models, world=world, measures=measures, calls=calls, num_threads=num_threads)
    here = {"num_threads": 1, "call_timeout": None, "log_dir": None, "display_progress": False}
    optimizer = DRPOTeleprompter(reward, **{**arguments, **here}, **{f"{role}_lm": lm for role, lm in lms.items()})
    try:
        with _silence(), dspy.context(disable_history=True, callbacks=[], usage_tracker=None):
            program = optimizer.compile(student, trainset=trainset, valset=list(valset) or None)
    except BudgetExceededError as error:  # not even the student could be judged
        return Rehearsal(tuple(calls), str(error))
    return Rehearsal(tuple(calls), program.drpo_result["stopped"])


@contextmanager
def _silence() -> Iterator[None]:
    """Keep the steps of a rehearsal out of the log, where they would look like those of a run."""
    logger = logging.getLogger("drpo")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
