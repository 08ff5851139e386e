"""The options that several commands share."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
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


@contextmanager
def directory_of(log_dir: Path | None, name: str) -> Iterator[Path]:
    """Yield the directory that was given, else `runs/<name>-<time>`: of this command alone, and gone if it stays empty.

    Commands that begin in the same second have directories of their own: the second one's ends in `-2`.

    Args:
        log_dir: What was given.
        name: What the directory's name begins with.
    """
    if log_dir is not None:
        yield log_dir
        return
    stem = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    folders = (Path("runs") / (stem if number == 1 else f"{stem}-{number}") for number in count(1))
    folder = next(filter(_is_made, folders))
    try:
        yield folder
    finally:
        with suppress(OSError):  # it holds something
            folder.rmdir()


def _is_made(folder: Path) -> bool:
    """Make a directory, unless it is there; one that cannot be made counts as made: who writes into it says why not."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return False
    except OSError:
        pass
    return True
