"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ConfigError

Config = Annotated[
    str, typer.Argument(help="A YAML config, or the name of a preset: default, paper, openai, vllm, smollm2.")
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a key of the config, dotted: --set lms.task.temperature=0.7. Repeatable.",
    ),
]
Data = Annotated[
    str | None,
    typer.Option(help="Prompts in place of the config's data.prompts: a file, hf:<data set>, or builtin:prompts."),
]
Out = Annotated[Path | None, typer.Option(help="Also save the compiled program here (.json).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the figures as JSON instead of the summary.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress.")]


def settings_of(config: str, data: str | None, set_: list[str] | None) -> Any:
    """Return a config's settings with what the command line says in their place."""
    from ..configs.settings import load_settings

    overrides = list(set_ or [])
    if data is not None:
        overrides.append(f"data.prompts={data}")
    return load_settings(config, overrides)


def check_out(out: Path | None) -> None:
    """Refuse an `--out` that could not be written at the end.

    Raises:
        ConfigError: If it is no `.json` file in a folder that exists.
    """
    if out is not None and (out.suffix != ".json" or not out.absolute().parent.is_dir()):
        raise ConfigError(f"--out {str(out)!r}: give a .json file in a folder that exists")
