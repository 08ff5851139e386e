"""`drpo compile`, `drpo resume` and `drpo estimate`."""

from __future__ import annotations

import os
import shlex
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from .options import AsJson, Config, Data, Out, Quiet, Set, check_out, directory_of, settings_of
from .saying import fail, print_json, say_error, say_to


def compile_command(
    config: Config = "default",
    data: Data = None,
    log_dir: Annotated[
        Path | None,
        typer.Option(
            help="The run directory; one that holds an interrupted run is resumed. Default: runs/<config>-<time>."
        ),
    ] = None,
    out: Out = None,
    set_: Set = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Optimize a responder's instruction and demonstrations for your prompts, and save it as a program.

    The result is checked on held-out prompts; without a significant gain the program stays as it was. Ctrl-C lets the
    calls under way end and stops; a second Ctrl-C stops at once; `drpo resume` goes on.

    Without CONFIG simulated models play all roles: no key, no network, some seconds.

    Example: drpo compile openai --data prompts.jsonl --log-dir runs/first
    """
    check_out(out)
    settings = settings_of(config, data, set_)
    with directory_of(log_dir, Path(config).stem) as folder:
        _compile(settings, folder, out=out, as_json=as_json, quiet=quiet)


def resume_command(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The run directory.")],
    out: Out = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change what the outcome does not depend on: max_lm_calls, max_tokens, max_cost, num_threads, "
            "lms.<role>.api_base. Repeatable.",
        ),
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Follow the endpoints and servers that somebody else's DIR names.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Go on with a compile or a comparison that was interrupted or killed, or that a cap or an outage ended.

    Calls that are on record are not made again; keys come from the environment, as before. A run that is finished is
    shown again.

    Example: drpo resume runs/first --set max_lm_calls=2000
    """
    from ..commands.resuming import CAPS, command_of, finished_run, resumed_settings

    check_out(out)
    settings = resumed_settings(directory, list(set_ or []), trust=trust)
    if command_of(directory) == "compare":
        _resume_comparison(settings, directory, out=out, as_json=as_json, quiet=quiet)
        return
    finished = finished_run(directory)
    if finished is None or (
        finished[0].get("stopped") and any(text.partition("=")[0].strip() in CAPS for text in set_ or [])
    ):
        _compile(settings, directory, out=out, as_json=as_json, quiet=quiet)
        return
    result, seed_instructions = finished
    more = f"; {result['stopped']}: raise it by --set to go on" if result.get("stopped") else ""
    say_to(quiet)(f"{directory}: this run is finished, nothing is asked{more}")
    if out is not None:
        out.write_bytes((directory / "program.json").read_bytes())
    _show(result, seed_instructions, directory, as_json=as_json)


def estimate_command(
    config: Config = "default",
    data: Data = None,
    set_: Set = None,
    no_probe: Annotated[
        bool, typer.Option("--no-probe", help="Make no call: then minutes are not known, and tokens less exactly.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON instead of the table.")] = False,
    quiet: Quiet = False,
) -> None:
    """Say before what a run will take: calls, tokens, money and minutes by role, each with a range.

    Your models are asked five times, about your prompts; then the whole search is rehearsed on simulated models, with
    your settings and caps, in this process. Nothing is written.

    Example: drpo estimate openai --data prompts.jsonl --set max_cost=2
    """
    from dspy.utils.exceptions import LMError

    from ..commands.estimating import estimate
    from ..reports.estimate import print_estimate
    from ..reports.summary import SIMULATED_BANNER

    settings = settings_of(config, data, set_)
    if settings.is_simulated:
        say_to(quiet)(SIMULATED_BANNER)
    try:
        found = estimate(settings, with_probe=not no_probe, say=say_to(quiet)).as_dict()
    except LMError as error:
        raise typer.Exit(fail(error, remedy="estimate again once it answers, or without it by --no-probe")) from None
    if as_json:
        print_json(found)
    else:
        print_estimate(found, console=Console())


def _resume_comparison(settings: Any, directory: Path, *, out: Path | None, as_json: bool, quiet: bool) -> None:
    from ..commands.comparing import finished_comparison
    from .comparing import run_comparison, show_comparison

    finished = finished_comparison(directory)
    if finished is None:
        run_comparison(settings, directory, out=out, as_json=as_json, quiet=quiet)
    else:
        show_comparison(finished, directory, out=out, as_json=as_json, quiet=quiet)


def _compile(settings: Any, folder: Path, *, out: Path | None, as_json: bool, quiet: bool) -> None:
    """Run a config in a run directory, and show what came of it."""
    from ..commands.compiling import compile_program
    from ..reports.summary import SIMULATED_BANNER

    if settings.is_simulated:
        say_to(quiet)(SIMULATED_BANNER)
    with ending_well(folder):
        compiled = compile_program(settings, log_dir=folder, display_progress=not quiet, say=say_to(quiet))
    if out is not None:
        compiled.program.save(out)
    _show(compiled.result, compiled.seed_instructions, folder, as_json=as_json)


@contextmanager
def ending_well(folder: Path) -> Iterator[None]:
    """Say after Ctrl-C how the work in a run directory goes on, and end the process with exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        started = (folder / "config.json").exists()
        code = say_error(
            f"interrupted; go on with: drpo resume {shlex.quote(str(folder))}" if started else "interrupted", 130
        )
        if any(not thread.daemon and thread is not threading.main_thread() for thread in threading.enumerate()):
            sys.stderr.flush()
            os._exit(code)  # calls that nobody waits for any longer; an ordinary exit would
        raise typer.Exit(code) from None


def _show(result: dict[str, Any], seed_instructions: dict[str, str], folder: Path, *, as_json: bool) -> None:
    from ..reports.summary import print_summary

    if as_json:
        print_json(result)
    else:
        print_summary(result, seed_instructions=seed_instructions, log_dir=folder, console=Console())
