"""The command line's entry: every command by name, and what a failure exits with.

Exit code 0 on success, 2 on a user's mistake (one line, no traceback), 1 on a failure, 130 after Ctrl-C in a run.
"""

from __future__ import annotations

import logging
import os
import sys
from functools import cache
from typing import Any

# LiteLLM and DSPy would fetch a price list at their import, which a machine without network waits for.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import typer

from drpo.cli.comparing import compare_command
from drpo.cli.compiling import compile_command, estimate_command, resume_command
from drpo.cli.evaluating import evaluate_command
from drpo.cli.exporting import diff_command, export_command
from drpo.cli.group import AnywhereGroup, common_options
from drpo.cli.judge_card import judge_card_command
from drpo.cli.responding import import_official_command, respond_command
from drpo.cli.saying import fail
from drpo.cli.serving import serve_command, simulate_command
from drpo.cli.tuning import tune_command
from drpo.cli.viewing import view_command

app = typer.Typer(
    name="drpo",
    cls=AnywhereGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.callback()(common_options)
app.command("compile")(compile_command)
app.command("resume")(resume_command)
app.command("estimate")(estimate_command)
app.command("compare")(compare_command)
app.command("evaluate")(evaluate_command)
app.command("judge-card")(judge_card_command)
app.command("tune")(tune_command)
app.command("respond")(respond_command)
app.command("view")(view_command)
app.command("export")(export_command)
app.command("diff")(diff_command)
app.command("serve")(serve_command)
app.command("simulate")(simulate_command)
app.command("import-official")(import_official_command)


@cache
def command() -> Any:
    """Return the whole command line, which takes typer some 20 milliseconds to make."""
    return typer.main.get_command(app)


def main() -> None:
    """Run the command line."""
    logging.getLogger("drpo").setLevel(logging.INFO)
    # DSPy warns of each reply that was cut off; the summary counts them.
    logging.getLogger("dspy.clients.lm").setLevel(logging.ERROR)
    try:
        command()()
    except Exception as error:
        sys.exit(fail(error))


if __name__ == "__main__":
    main()
