"""What `drpo compile` does: a config in, a program and a run directory out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dspy

from ..configs.prompts import load_demos, load_prompts
from ..configs.settings import CriterionSettings, RunSettings
from ..errors import ConfigError
from ..metrics.criteria import Criterion
from ..metrics.ledger import Ledger
from ..metrics.reward import DynamicReward
from ..programs.prose import output_field
from ..programs.responder import Responder
from ..serving.engine import build_lm
from ..serving.simulated.world import World
from ..teleprompters.candidates import candidate_of
from ..teleprompters.drpo import DRPOTeleprompter
from ..teleprompters.held_out import split
from ..teleprompters.plan import expected_calls
from ..teleprompters.presets import PaperSettings, search_settings
from .resuming import signed
from .servers import Say, servers_of

ARGUMENTS = (
    "auto", "beam_size", "n_actions", "depth", "max_depth_increase", "minibatch_size", "temperature", "k",
    "optimize_demos", "demo_iters", "rewrite_given_demos", "select", "credit", "on_no_gain", "call_timeout",
    "outage_patience", "max_lm_calls", "max_tokens", "max_cost", "max_seconds", "num_threads", "max_errors", "seed",
)  # fmt: skip
"""The optimizer's arguments that stand at the top level of a config."""


@dataclass(frozen=True)
class Compiled:
    """What `drpo compile` made."""

    program: dspy.Module
    """The compiled program."""
    result: dict[str, Any]
    """What `result.json` says."""
    seed_instructions: dict[str, str]
    """Predictor name to the instruction before."""


def compile_program(settings: RunSettings, *, log_dir: Path, display_progress: bool, say: Say) -> Compiled:
    """Compile a responder as a config says, starting and stopping the servers that its roles need.

    Args:
        settings: The config.
        log_dir: The run directory.
        display_progress: Whether each level is printed.
        say: Told what is read and which servers are started.

    Raises:
        DRPOError: If something is wrong; what can be checked is checked before the first call.
    """
    settings.check_environment()
    program = settings.program
    prompts = load_prompts(
        settings.data.prompts, column=settings.data.column, limit=settings.data.limit, fields=program.input_fields
    )
    say(str(prompts))
    trainset, valset = prompts.split(settings.data.num_val)
    student = responder_of(settings)
    reward = reward_of(settings)
    say(_plan(settings, trainset, valset))
    world = None if settings.world is None else World.named(settings.world)
    with servers_of(settings, dict(settings.lms.roles()), log_dir=log_dir, say=say) as lms:
        optimizer = DRPOTeleprompter(
            reward,
            **{f"{role}_lm": build_lm(lm, world=world) for role, lm in lms.items()},
            **{name: getattr(settings, name) for name in ARGUMENTS},
            log_dir=log_dir,
            display_progress=display_progress,
            run_config=signed(settings),
        )
        compiled = optimizer.compile(student, trainset=trainset, valset=valset or None)
    return Compiled(compiled, compiled.drpo_result, dict(candidate_of(student)))


def _plan(settings: RunSettings, trainset: list[dspy.Example], valset: list[dspy.Example]) -> str:
    """Say which prompts are for what, and what the run will about take."""
    names = ("beam_size", "n_actions", "depth", "max_depth_increase", "minibatch_size", "temperature", "k",
             "demo_iters")  # fmt: skip
    search = search_settings(settings.auto, {name: getattr(settings, name) for name in names})
    if isinstance(search, PaperSettings):
        held = f"{len(valset)} held out" if valset else "none held out, so nothing will be said about a gain"
        return f"{len(trainset)} for the search, {held}"
    queries, held_out = trainset, valset
    if not valset:
        queries, held_out = split(trainset, num_val=search.num_val, num_search=search.first_size)
    demos = settings.optimize_demos is not False and search.k > 0
    calls = expected_calls(search, num_train=len(queries), num_val=len(held_out), optimize_demos=demos)
    cap = settings.max_lm_calls if isinstance(settings.max_lm_calls, int) else (settings.max_lm_calls or {}).get("run")
    fewer = f"; max_lm_calls={cap} allows fewer of all" if cap is not None and cap < calls else ""
    used = min(search.first_size, len(queries))
    return (
        f"{used} of {len(queries)} for the search, {len(held_out)} others held out for the final selection; "
        f"about {calls} calls{fewer}"
    )


def responder_of(settings: RunSettings) -> Responder:
    """Return the program that a config describes, with its demonstrations."""
    program, k = settings.program, settings.k
    output = output_field(dspy.Signature(program.signature))
    demos = (
        ()
        if settings.data.demos is None
        else load_demos(settings.data.demos, inputs=program.input_fields, output=output)
    )
    if not demos:
        k = None  # it is meant for the demonstrations that the search will collect
    elif k is not None and k > len(demos):
        raise ConfigError(
            f"k={k}: data.demos={settings.data.demos!r} has {len(demos)} demonstrations; lower k or add some"
        )
    return Responder(
        program.signature,
        instructions=program.instructions,
        demos=demos,
        k=k,
        encoder=program.encoder,
        adapter=program.adapter,
    )


def reward_of(settings: RunSettings) -> DynamicReward:
    """Return the reward that a config describes, with a ledger of its own."""
    reward = settings.reward
    criteria = None
    if reward.criteria is not None:
        criteria = [
            Criterion(**item.model_dump()) if isinstance(item, CriterionSettings) else item for item in reward.criteria
        ]
    return DynamicReward(
        criteria=criteria,
        dynamic=reward.dynamic,
        min_criteria=reward.min_criteria,
        max_criteria=reward.max_criteria,
        ledger=None if reward.ledger is None else Ledger.load(reward.ledger),
    )
