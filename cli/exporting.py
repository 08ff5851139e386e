"""`drpo export` and `drpo diff`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..errors import ConfigError
from .options import AsJson, Quiet
from .saying import print_json, say_to


def export_command(
    program: Annotated[
        Path | None, typer.Argument(help="A compiled program (program.json), or a run directory.")
    ] = None,
    format_: Annotated[
        str | None, typer.Option("--format", "-f", help="text (the default), openai, json, langchain or dspy.")
    ] = None,
    query: Annotated[
        str | None,
        typer.Option(help="Show the demonstrations retrieved for it. Default: a template with a placeholder."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write it here, byte for byte. Default: print it.")] = None,
    lock: Annotated[
        Path | None, typer.Option(help="Write a prompt lock: hashes of texts, models, data, reward, figures.")
    ] = None,
    check: Annotated[
        Path | None, typer.Option(help="Compare a lock with its program: exit code 1 if anything changed.")
    ] = None,
    config: Annotated[
        str | None, typer.Option(help="The config whose lms.task is sent to. Default: as the run says.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="In place of --config: a LiteLLM model string.")] = None,
    model_type: Annotated[
        str | None, typer.Option(help="chat, or text for a base model, which is sent one prompt.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Print a program's prompt exactly as its adapter sends it, for use elsewhere.

    Nothing is sent, and no key is needed. text: the prompt to read, of a base model the very prompt; openai: the body
    of a request; json: everything with hashes, and the whole pool of demonstrations with how it is retrieved from;
    langchain: a template for langchain_core.load.loads; dspy: the state of a plain dspy.Predict.

    Example: drpo export runs/first --format openai --query "How do I prune roses?"
    """
    from ..commands import exporting
    from ..reports.export.formats import FormatName

    say = say_to(quiet)
    if check is not None:
        if lock is not None or out is not None or format_ is not None or query is not None:
            raise ConfigError("--check goes without --format, --query, --out and --lock: it only compares")
        raise typer.Exit(_check(check, program, config, model, model_type, quiet=quiet))
    if program is None:
        raise ConfigError("give PROGRAM, a compiled program or a run directory")
    if format_ not in (None, *FormatName):
        raise ConfigError(f"--format {format_!r}: choose one of {', '.join(FormatName)}")
    for file in (out, lock):
        if file is not None and not file.absolute().parent.is_dir():
            raise ConfigError(f"{str(file)!r}: give a file in a folder that exists")
    settings = exporting.model_of(exporting.program_file(program), config=config, model=model, model_type=model_type)
    if lock is not None:
        _write(lock, _as_json(exporting.lock_of(program, lock, settings=settings)))
        say(f"locked in {lock}")
    if lock is not None and format_ is None and out is None and query is None:
        return
    text = exporting.export(program, format_=FormatName(format_ or "text"), query=query, settings=settings)
    if out is not None:
        _write(out, text)
        say(f"{len(text.encode('utf-8', 'surrogateescape')):,} bytes in {out}")
    else:
        _print(text)


def diff_command(
    first: Annotated[Path, typer.Argument(help="A compiled program, or a run directory.")],
    second: Annotated[Path, typer.Argument(help="Another one.")],
    as_json: AsJson = False,
) -> None:
    """Show what differs between two programs: instructions word by word, demonstrations, settings.

    Of two run directories also what was asked of the runs and what came of them. Exit code as of diff: 0 if they are
    equal, 1 if they differ, 2 if one cannot be read.

    Example: drpo diff runs/first runs/second
    """
    from ..reports.printed_diff import print_diff
    from ..reports.program_diff import Side, program_diff

    found = program_diff(Side.read(first), Side.read(second))
    if as_json:
        print_json(found)
    else:
        print_diff(found, console=Console(highlight=False))
    raise typer.Exit(0 if found["equal"] else 1)


def _check(
    lock: Path, program: Path | None, config: str | None, model: str | None, model_type: str | None, *, quiet: bool
) -> int:
    from ..commands import exporting
    from ..programs.boundary import visible
    from ..reports.export.lock import change_in_words

    asked = config is not None or model is not None or model_type is not None
    settings = exporting.model_of(Path(), config=config, model=model, model_type=model_type) if asked else None
    found = exporting.check(lock, program, settings=settings)
    for note in found.notes:
        say_to(quiet)(f"{lock}: {visible(note)}")
    for name, (before, after) in found.changed.items():
        print(visible(change_in_words(name, before, after)))
    if not found.changed:
        say_to(quiet)(f"{lock}: nothing changed")
    return 1 if found.changed else 0


def _print(text: str) -> None:
    from ..programs.boundary import visible

    if sys.stdout.isatty():  # a model's text may hold what a terminal obeys
        print(visible(text).rstrip("\n"))
    else:
        sys.stdout.flush()
        _bytes_out(text)


def _bytes_out(text: str) -> None:
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None:  # a stream of text, which has no bytes
        sys.stdout.write(text)
    else:
        buffer.write(text.encode("utf-8", "surrogateescape"))
        buffer.flush()


def _write(file: Path, text: str) -> None:
    try:
        file.write_bytes(text.encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise ConfigError(f"{str(file)!r}: cannot be written ({error.strerror}); give another file") from None


def _as_json(data: object) -> str:
    import json

    return json.dumps(data, ensure_ascii=False, indent=2) + "\n"
