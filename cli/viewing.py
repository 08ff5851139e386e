"""`drpo view`: look at a run in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import ConfigError
from .options import Quiet
from .saying import say_to


def view_command(
    directory: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="The directory of a run, a comparison, a judge card or an evaluation."),
    ],
    out: Annotated[Path | None, typer.Option(help="The page to write (.html). Default: index.html in DIR.")] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the page on this machine instead, following a run under way.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="With --serve: TCP port; 0: a free one.")] = 8800,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in your browser.")] = False,
    quiet: Quiet = False,
) -> None:
    """Show a run in a browser: the tree of the search, every answer and judgement, what was decided and what it took.

    The page is one file that asks nobody for anything: it can be opened offline, kept, and sent to others. It holds
    your prompts and your models' answers.

    Example: drpo view runs/first
    """
    from ..commands.viewing import serve_page, write_page

    opener = typer.launch if open_ else None
    if serve:
        if out is not None:
            raise ConfigError("--out and --serve: give one of them; a served page is no file")
        serve_page(directory, port=port, say=say_to(quiet), ready=opener)
        return
    if out is not None and (out.suffix not in (".html", ".htm") or not out.absolute().parent.is_dir()):
        raise ConfigError(f"--out {str(out)!r}: give a .html file in a folder that exists")
    written = write_page(directory, out)
    say_to(quiet)(f"{written}: open it in a browser")
    if opener is not None:
        opener(written.absolute().as_uri())
