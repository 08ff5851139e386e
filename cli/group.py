"""The command group: options that hold for every command, wherever they stand."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

NO_COLOR = "--no-color"


class AnywhereGroup(TyperGroup):
    """Takes `--no-color` before or after the command's name."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Move the option to the front, where the group reads it; what follows `--` is left alone."""
        end = args.index("--") if "--" in args else len(args)
        if NO_COLOR in args[:end]:
            args = [NO_COLOR, *(arg for arg in args[:end] if arg != NO_COLOR), *args[end:]]
        return super().parse_args(ctx, args)


def common_options(
    no_color: Annotated[
        bool, typer.Option(NO_COLOR, help="Use no colours; so does the environment variable NO_COLOR.")
    ] = False,
) -> None:
    """Compile LLM programs from unlabelled prompts, under a reward that a judge LM makes (DRPO on DSPy)."""
    if no_color:
        os.environ["NO_COLOR"] = "1"  # what prints looks there: rich, and the libraries of others
