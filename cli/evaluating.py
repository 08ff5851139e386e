"""`drpo evaluate`."""

from __future__ import annotations

import json
import os
import shlex
import sys
import threading
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ..errors import BudgetExceededError, ConfigError
from .options import AsJson, Quiet, Set, check_out, directory_of
from .saying import print_json, say_error, say_to


def evaluate_command(
    program: Annotated[
        str,
        typer.Argument(help="A compiled program (program.json), or builtin:responder; with PROGRAM2, the baseline."),
    ],
    program2: Annotated[
        str | None, typer.Argument(metavar="[PROGRAM2]", help="A second program, to compare with the first.")
    ] = None,
    suite: Annotated[
        str, typer.Option(help="just-eval: five aspects, and safety on safety queries. dynamic: the dynamic reward.")
    ] = "just-eval",
    data: Annotated[
        str | None,
        typer.Option(help="The queries. just-eval: a file with the columns id, instruction, dataset, category."),
    ] = None,
    config: Annotated[
        str | None, typer.Option(help="The config whose lms.task answers and whose lms.judge marks.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="In place of --config: the LiteLLM model that answers.")] = None,
    judge: Annotated[
        str | None, typer.Option(help="The LiteLLM model that marks, in place of the config's lms.judge.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="An earlier evaluation.json as the baseline, in place of a second program.")
    ] = None,
    ledger: Annotated[
        Path | None, typer.Option(help="With --suite dynamic: the ledger.json that says what each query is marked on.")
    ] = None,
    column: Annotated[str | None, typer.Option(help="With --suite dynamic: the column that holds the prompts.")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Draw so many queries, of each category and data set in proportion.")
    ] = None,
    no_pairwise: Annotated[
        bool, typer.Option("--no-pairwise", help="Do not compare two programs' answers with each other.")
    ] = False,
    log_dir: Annotated[
        Path | None,
        typer.Option(help="Where all is kept; an evaluation begun there goes on. Default: runs/evaluate-<time>."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Also save evaluation.json here (.json).")] = None,
    set_: Set = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Mark a program's answers by a judge of your choice, or compare two programs.

    Says beforehand how many calls it makes. Interrupted, killed or capped, the same command with the same --log-dir
    goes on, and pays for no call twice.

    Example: drpo evaluate builtin:responder runs/first/program.json --data just_eval_instruct.jsonl --config openai
    """
    from dspy.utils.exceptions import LMError

    from ..commands.evaluating import evaluate_by_config
    from ..reports.evaluation import print_evaluation
    from ..reports.summary import SIMULATED_BANNER
    from .saying import fail

    check_out(out)
    settings = _settings(config, model, judge, set_)
    with directory_of(log_dir, "evaluate") as folder:
        if settings.is_simulated:
            say_to(quiet)(SIMULATED_BANNER)
        again = f"go on by the same command with --log-dir {shlex.quote(str(folder))}"
        try:
            result = evaluate_by_config(
                settings, program, program2, data=data, suite=suite, ledger=ledger, column=column, against=against,
                pairwise=not no_pairwise, limit=limit, log_dir=folder, say=say_to(quiet), display_progress=not quiet,
            )  # fmt: skip
        except BudgetExceededError as error:
            raise typer.Exit(say_error(f"{error}; {again} and a higher cap", 1)) from None
        except LMError as error:
            raise typer.Exit(fail(error, remedy=again)) from None
        except KeyboardInterrupt:
            code = say_error(f"interrupted; {again}" if (folder / "config.json").exists() else "interrupted", 130)
            if any(not thread.daemon and thread is not threading.main_thread() for thread in threading.enumerate()):
                sys.stderr.flush()
                os._exit(code)  # calls that nobody waits for any longer; an ordinary exit would
            raise typer.Exit(code) from None
        if out is not None:
            out.write_bytes((folder / "evaluation.json").read_bytes())
        if as_json:
            print_json(result)
        else:
            print_evaluation(result, log_dir=folder, console=Console())


def _settings(config: str | None, model: str | None, judge: str | None, set_: list[str] | None) -> Any:
    """Return the settings of a config with another judge if one is named, or those of two models alone."""
    from ..configs.settings import RunSettings, load_settings

    if (config is None) == (model is None):
        raise ConfigError("give either --config or --model: a saved program names no model")
    if config is not None:
        named = [] if judge is None else [f"lms.judge={json.dumps(judge)}"]
        return load_settings(config, [*named, *(set_ or [])])
    if set_:
        raise ConfigError("--set changes a config: give --config in place of --model")
    if judge is None:
        raise ConfigError("--model needs --judge: name the model that marks")
    return RunSettings.model_validate({"lms": {"task": model, "judge": judge}})
