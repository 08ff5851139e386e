"""`drpo judge-card`."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from .options import AsJson, Config, Data, Quiet, Set, directory_of, settings_of
from .saying import fail, print_json, say_error, say_to


def judge_card_command(
    config: Config = "default",
    data: Data = None,
    log_dir: Annotated[
        Path | None,
        typer.Option(
            help="The card's directory; one that holds an interrupted card is resumed. "
            "Default: runs/<config>-judge-card-<time>."
        ),
    ] = None,
    prompts: Annotated[int, typer.Option(min=2, help="Prompts that are looked at; about 17 calls each.")] = 20,
    second_judge: Annotated[
        str | None,
        typer.Option(help="Another judge: a LiteLLM model string, or a role of the config (task, criteria, prompt)."),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="JSONL of answers that people judged: query, answer, and label (1 to 5, good or bad)."),
    ] = None,
    set_: Set = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Say what a judge is worth on your prompts before a search is paid for: lights, figures, and what to do.

    A few hundred calls; their number is said before the first one, and caps hold. Ctrl-C lets the calls under way end;
    the same command with the same --log-dir goes on, and pays for nothing twice. Exit code 0 whatever the light.

    Example: drpo judge-card openai --data prompts.jsonl --second-judge anthropic/claude-haiku-4-5
    """
    from dspy.utils.exceptions import LMError

    from ..commands.judge_card import make_judge_card
    from ..errors import BudgetExceededError
    from ..reports.judge_card import print_judge_card
    from ..reports.summary import SIMULATED_BANNER

    settings = settings_of(config, data, set_)
    with directory_of(log_dir, f"{Path(config).stem}-judge-card") as folder:
        again = f"go on by the same command with --log-dir {shlex.quote(str(folder))}: what is paid for is on record"
        if settings.is_simulated:
            say_to(quiet)(SIMULATED_BANNER)
        try:
            card = make_judge_card(
                settings,
                log_dir=folder,
                num_prompts=prompts,
                second_judge=second_judge,
                labels=labels,
                date=time.strftime("%Y-%m-%d"),
                display_progress=not quiet,
                say=say_to(quiet),
            )
        except KeyboardInterrupt:
            raise typer.Exit(say_error(f"interrupted; {again}", 130)) from None
        except BudgetExceededError as error:
            raise typer.Exit(say_error(f"{error}; raise it, and {again}", 1)) from None
        except LMError as error:
            raise typer.Exit(fail(error, remedy=again)) from None
        if as_json:
            print_json(card.as_dict())
        else:
            print_judge_card(card.as_dict(), log_dir=folder, console=Console())
