"""What the commands do: settings in, programs and files out. The command line only reads arguments and prints."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dspy

from drpo.configs.prompts import load_demos, load_prompts
from drpo.configs.settings import CriterionSettings, RunSettings
from drpo.errors import ConfigError
from drpo.metrics.criteria import Criterion
from drpo.metrics.ledger import Ledger
from drpo.metrics.reward import DynamicReward
from drpo.programs.loading import load
from drpo.programs.prose import output_field
from drpo.programs.responder import Responder
from drpo.resuming import signed
from drpo.serving.engine import build_lm
from drpo.serving.settings import LMSettings
from drpo.serving.simulated.world import World
from drpo.serving.vllm import VLLMServers
from drpo.teleprompters.candidates import candidate_of
from drpo.teleprompters.drpo import DRPOTeleprompter
from drpo.teleprompters.held_out import split
from drpo.teleprompters.plan import expected_calls
from drpo.teleprompters.presets import PaperSettings, search_settings

ARGUMENTS = (
    "auto", "beam_size", "n_actions", "depth", "max_depth_increase", "minibatch_size", "temperature", "k",
    "optimize_demos", "demo_iters", "rewrite_given_demos", "select", "credit", "on_no_gain", "call_timeout",
    "outage_patience", "max_lm_calls", "max_tokens", "max_cost", "max_seconds", "num_threads", "max_errors", "seed",
)  # fmt: skip
"""The optimizer's arguments that stand at the top level of a config."""

Say = Callable[[str], None]
"""Where a command tells its steps."""


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


def respond_one(path: Path, lm: dspy.BaseLM, query: str) -> str:
    """Return a saved program's answer to one query."""
    program = load(path)
    return str(respond_all(program, lm, [{_only_input(program): query}], num_threads=1)[0]["response"])


def respond_file(
    path: Path, lm: dspy.BaseLM, source: Path, target: Path, *, column: str | None, num_threads: int
) -> int:
    """Answer a file of prompts into a JSONL file, a line for each that is not blank, and return how many there were."""
    program = load(path)
    fields = list(program.respond.signature.input_fields)
    prompts = load_prompts(source, column=column, fields=fields, unique=False)
    rows = respond_all(program, lm, [dict(example.inputs()) for example in prompts.examples], num_threads=num_threads)
    with target.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return len(rows)


def respond_all(
    program: dspy.Module, lm: dspy.BaseLM, inputs: list[dict[str, Any]], *, num_threads: int
) -> list[dict[str, Any]]:
    """Return each input with its answer under `response`, in order.

    Raises:
        Exception: The first failure: an answer that is missing must not look like an empty one.
    """
    output = output_field(program.respond.signature)
    with dspy.context(lm=lm):
        run = dspy.Parallel(num_threads=num_threads, max_errors=1, disable_progress_bar=True, provide_traceback=False)
        done = run([(program, dspy.Example(**values).with_inputs(*values)) for values in inputs])
    return [
        {**values, "response": getattr(prediction, output)} for values, prediction in zip(inputs, done, strict=True)
    ]


@contextmanager
def servers_of(
    settings: RunSettings, lms: dict[str, LMSettings], *, log_dir: Path | None, say: Say
) -> Iterator[dict[str, LMSettings]]:
    """Run the servers that some LMs name, and yield the LMs with the servers' addresses.

    A server that answers already is used and left alone.

    Args:
        settings: The config whose `serve:` is meant.
        lms: The LMs, by role.
        log_dir: Where the servers' logs are kept.
        say: Told the servers' progress.
    """
    needed = {lm.server: settings.serve[lm.server] for lm in lms.values() if lm.server is not None}
    with VLLMServers(needed, log_dir=log_dir, on_progress=say, reuse=True):
        yield {
            role: lm
            if lm.server is None
            else lm.model_copy(update={"api_base": needed[lm.server].api_base, "server": None})
            for role, lm in lms.items()
        }


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


def _only_input(program: dspy.Module) -> str:
    names = list(program.respond.signature.input_fields)
    if len(names) != 1:
        raise ConfigError(f"QUERY: this program has the inputs {names!r}; give them as columns of a file with --input")
    return str(names[0])
