"""`drpo tune`."""

from __future__ import annotations

import os
import shlex
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .options import AsJson, Config, Data, Quiet, Set, settings_of
from .saying import print_json, say_error, say_to


def tune_command(
    config: Config = "default",
    data: Data = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Trials of the whole study, in place of tune.trials (20).")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds after which no further compile begins, in place of tune.timeout.")
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            help="Where the study is kept: a URL as Optuna takes it, sqlite:///, postgresql:// or mysql://. "
            "Default: a SQLite file in the directory."
        ),
    ] = None,
    study: Annotated[str | None, typer.Option(help="The study's name. Default: made from the config.")] = None,
    log_dir: Annotated[
        Path | None, typer.Option(help="Where trials and results are kept. Default: runs/<study>.")
    ] = None,
    set_: Set = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Choose the search's own settings by trying them: the most held-out gain per LM call.

    Each trial compiles your prompts several times with other settings, so a study costs as much as that many runs: cap
    it by --set tune.max_lm_calls=... or tune.max_cost. The same command goes on with a study that was interrupted;
    several at once share it. At the end the best settings are compared with your own on fresh folds
    (tune.confirm), which tells whether to take them, and lie in a config: tuned.yaml.

    Example: drpo tune openai --data prompts.jsonl --trials 12 --set tune.max_cost=5 --set tune.space.depth=[1,2]
    """
    from ..commands.tuning import tuning
    from ..reports.summary import SIMULATED_BANNER
    from ..reports.tuning import print_tuning

    overrides = list(set_ or [])
    overrides += [f"tune.{name}={value}" for name, value in (("trials", trials), ("timeout", timeout)) if value]
    settings = settings_of(config, data, overrides)
    if settings.is_simulated:
        say_to(quiet)(SIMULATED_BANNER)
    try:
        tuned = tuning(settings, log_dir=log_dir, storage=storage, study=study, say=say_to(quiet))
    except KeyboardInterrupt:
        where = "" if log_dir is None else f" --log-dir {shlex.quote(str(log_dir))}"
        code = say_error(f"interrupted; go on by the same command: drpo tune {shlex.quote(config)}{where} ...", 130)
        if any(not thread.daemon and thread is not threading.main_thread() for thread in threading.enumerate()):
            sys.stderr.flush()
            os._exit(code)  # calls that nobody waits for any longer; an ordinary exit would
        raise typer.Exit(code) from None
    if as_json:
        print_json(tuned.data)
    else:
        print_tuning(tuned.data, directory=tuned.directory, console=Console())
