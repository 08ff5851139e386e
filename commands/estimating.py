"""What `drpo estimate` does: say what a run will take, before it is paid for.

five calls to the user's models                       how long theirs are, and how fast    `teleprompters/probe.py`
the same calls to simulated models in many worlds     how those compare                    `teleprompters/lengths.py`
the whole search on simulated models, several times   how many calls it makes              `teleprompters/rehearsal.py`
figures with a range                                                                       `teleprompters/forecast.py`

Each rehearsal is in a world of its own, and at another place between the shortest and the longest calls that the probe
leaves likely.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import dspy

from ..configs.prompts import load_prompts
from ..configs.settings import RunSettings
from ..metrics.reward import query_of
from ..serving.caps import RUN, Cap, CapKind, caps_of
from ..serving.engine import build_lm
from ..serving.prices import Prices
from ..serving.roles import Role
from ..serving.settings import LMSettings
from ..serving.simulated.world import World
from ..teleprompters.forecast import FIELDS, Bill, forecast
from ..teleprompters.lengths import Lengths, lengths
from ..teleprompters.presets import search_settings
from ..teleprompters.probe import QUERIES, ProbedCall, probe
from ..teleprompters.rehearsal import Rehearsal, rehearse, stand_ins
from .compiling import ARGUMENTS, responder_of, reward_of
from .servers import Say, servers_of

PLACES = (0.0, -1.28, 1.28, -0.64, 0.64)
"""Where each rehearsal is between short and long calls, in standard deviations; the outer ones hold four of five."""
MANY_CALLS, FEW = 1000, 3
"""A rehearsal of so many calls takes seconds: then only the first `FEW` places are rehearsed."""
PROBED_WORLDS = 12
"""In how many worlds the simulated models are probed."""
FIRST_WORLD = 9_000_000
"""Seed of the first world that is rehearsed in."""


@dataclass(frozen=True)
class Estimate:
    """What a run will take."""

    roles: dict[str, Bill]
    """By role."""
    total: Bill
    """All roles together; its seconds are those on the clock."""
    uncapped: Bill
    """The same if there were no caps."""
    caps: dict[str, str]
    """Cap to what it will do."""
    probe: list[ProbedCall] | None
    """The calls that were made to find out; None: there were to be none."""
    rehearsals: int
    """How often the search was rehearsed."""
    num_threads: int
    """Calls under way at once."""
    models: dict[str, str]
    """Role to model string."""
    priceless: list[str]
    """Models whose price is not known."""
    simulated: bool
    """Whether any model is a simulated one."""

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def estimate(settings: RunSettings, *, with_probe: bool = True, say: Say = lambda text: None) -> Estimate:
    """Return what a run of a config will take.

    Args:
        settings: The config.
        with_probe: Whether five calls are made to its models, whose servers are started if need be. False: none;
            nothing is known of seconds then, and of lengths only what is likely of any model.
        say: Told the steps.

    Raises:
        DRPOError: If the config cannot be run.
        LMError: If a model cannot be reached.

    Example:
        >>> from drpo.configs.settings import load_settings
        >>> small = load_settings("default", ["data.limit=8", "depth=1", "n_actions=1"])
        >>> estimate(small, with_probe=False).total.calls.expected > 20
        True
    """
    if with_probe:
        settings.check_environment()
    work = _Work(settings, say)
    found = work.probed() if with_probe else None
    thought = lengths(found, [work.probed_in(world) for world in itertools.islice(work.worlds(), PROBED_WORLDS)])
    caps = caps_of({kind.value: getattr(settings, kind.value) for kind in CapKind})
    rehearsals = work.rehearsals(thought)
    uncapped = bills = work.forecast(rehearsals)
    if any(_is_near(cap, uncapped) for cap in caps):
        rehearsals = work.rehearsals(thought, within=uncapped[None])
        bills = work.forecast(rehearsals, caps)
    return Estimate(
        roles={role.value: bills[role] for role in Role},
        total=bills[None],
        uncapped=uncapped[None],
        caps={str(cap): _effect(cap, uncapped, priceless=bool(work.priceless)) for cap in caps},
        probe=found,
        rehearsals=len(rehearsals),
        num_threads=work.num_threads,
        models={role.value: lm.model for role, lm in work.models.items()},
        priceless=work.priceless,
        simulated=settings.is_simulated,
    )


class _Work:
    """One estimate under way."""

    def __init__(self, settings: RunSettings, say: Say) -> None:
        data, program, lms = settings.data, settings.program, settings.lms
        prompts = load_prompts(data.prompts, column=data.column, limit=data.limit, fields=program.input_fields)
        say(str(prompts))
        self._settings, self._say = settings, say
        self._trainset, self._valset = prompts.split(data.num_val)
        # Which demonstrations are nearest makes no difference to their length, and finding them may take a model.
        plain = program.model_copy(update={"encoder": None})
        self._student = responder_of(settings.model_copy(update={"program": plain}))
        judge = lms.judge or lms.task
        self._asked = {
            "task": lms.task,
            "judge": judge,
            "criteria": lms.criteria or judge,
            "prompt": lms.prompt or judge,
        }
        self.models: dict[Role, LMSettings] = {
            Role(role): lm
            if lm.server is None
            else lm.model_copy(update={"api_base": settings.serve[lm.server].api_base})
            for role, lm in self._asked.items()
        }
        self.priceless = sorted(
            {lm.model for lm in self.models.values() if lm.hourly_price is None and Prices(lm).tokens(1, 1) is None}
        )
        self.num_threads: int = settings.num_threads or dspy.settings.num_threads
        names = ("beam_size", "n_actions", "depth", "max_depth_increase", "minibatch_size", "temperature")
        search = search_settings(settings.auto, {name: getattr(settings, name) for name in names})
        # Two of middling length: the same two for every model.
        queries = sorted(self._trainset, key=lambda example: len(query_of(example)))
        middle = len(queries) // 2
        chosen = [queries[middle], *queries[middle - 1 : middle]][:QUERIES]
        self._probe = partial(probe, student=self._student, examples=chosen, temperature=search.temperature)

    def worlds(self) -> Iterator[World]:
        """Yield the worlds to rehearse in: never the one that is billed, which a run knows nothing of either."""
        own = None if self._settings.world is None else World.named(self._settings.world)
        return (world for seed in itertools.count(FIRST_WORLD) if (world := World.random(seed)) != own)

    def probed(self) -> list[ProbedCall]:
        """Return what the probe of the user's models took."""
        self._say("five calls to your models")
        settings = self._settings
        world = None if settings.world is None else World.named(settings.world)
        with servers_of(settings, self._asked, log_dir=None, say=self._say) as lms:
            built = {role: build_lm(lms[role.value], world=world) for role in Role}
            return self._probe(built, reward=reward_of(settings))

    def probed_in(self, world: World) -> list[ProbedCall]:
        """Return what the same probe of the simulated models takes."""
        return self._probe(
            stand_ins(self.models, world=world, measures={}, calls=[], num_threads=1), reward=reward_of(self._settings)
        )

    def rehearsals(self, thought: Mapping[Role, Lengths], *, within: Bill | None = None) -> list[Rehearsal]:
        """Return rehearsals at all places, fewer if they have many calls.

        Args:
            thought: How long the calls are.
            within: What all roles take without caps, if these are to hold. None: without them.
        """
        arguments = {name: getattr(self._settings, name) for name in ARGUMENTS}
        arguments |= {kind.value: None for kind in CapKind} if within is None else self._caps(thought, within)
        found: list[Rehearsal] = []
        for place, world in zip(PLACES, self.worlds(), strict=False):
            if len(found) >= FEW and len(found[0].calls) >= MANY_CALLS:
                break
            self._say(f"rehearsal {len(found) + 1}{'' if within is None else ', within the caps'}")
            found.append(
                rehearse(
                    arguments, self._student, reward=reward_of(self._settings), trainset=self._trainset,
                    valset=self._valset, models=self.models, num_threads=self.num_threads, world=world,
                    measures={role: lengths.at(place) for role, lengths in thought.items()},
                )
            )  # fmt: skip
        return found

    def _caps(self, thought: Mapping[Role, Lengths], uncapped: Bill) -> dict[str, Any]:
        """Return the caps as rehearsals can keep them."""
        caps: dict[str, dict[str, float]] = {}
        for kind in CapKind:
            value = getattr(self._settings, kind.value)
            caps[kind.value] = dict(value) if isinstance(value, Mapping) else {} if value is None else {RUN: value}
        # A rehearsal takes no time of the run's: a cap on that is kept by calls, as many as there is time for.
        limit = caps[CapKind.SECONDS].pop(RUN, None)
        if limit is not None and uncapped.seconds is not None and limit < uncapped.seconds.expected:
            calls = max(1, round(uncapped.calls.expected * limit / uncapped.seconds.expected))
            caps[CapKind.LM_CALLS][RUN] = min(calls, caps[CapKind.LM_CALLS].get(RUN, calls))
        if any(lm.hourly_price is not None and thought[role].pace is None for role, lm in self.models.items()):
            caps[CapKind.COST].clear()
        return {kind: scopes or None for kind, scopes in caps.items()}

    def forecast(self, rehearsals: Sequence[Rehearsal], caps: Sequence[Cap] = ()) -> dict[Role | None, Bill]:
        """Return the bills of rehearsals."""
        return forecast(rehearsals, models=self.models, num_threads=self.num_threads, caps=caps)


def _is_near(cap: Cap, bills: Mapping[Role | None, Bill]) -> bool:
    """Tell whether a cap may make a difference: also one that is not reached may make a run plan smaller steps."""
    amount = getattr(bills[cap.role], FIELDS[cap.kind])
    return amount is None or cap.limit < 1.25 * amount.high


def _effect(cap: Cap, bills: Mapping[Role | None, Bill], *, priceless: bool) -> str:
    """Return what a cap will do, in words."""
    amount = getattr(bills[cap.role], FIELDS[cap.kind])
    if amount is None and cap.kind is CapKind.COST and priceless:
        return "ends the run at the first call whose price is unknown"
    if amount is None:
        return "is not known without a probe"
    if cap.limit >= amount.high:
        return "will not be reached"
    return "may end the run early" if cap.limit > amount.low else "will end the run early, or make it smaller"
