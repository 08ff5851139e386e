"""The command line's reference: every command with its arguments and options, as `drpo --help` has them."""

from __future__ import annotations

import html
import re

import typer
from typer.cli import get_docs_for_click

HEAD = """# Command line

Exit code 0: success. 2: a mistake of yours, said in one line. 1: a failure. 130: Ctrl-C.
"""


def page() -> str:
    """Return the page, made from the commands themselves."""
    from drpo.__main__ import app

    command = typer.main.get_command(app)
    made = html.unescape(get_docs_for_click(obj=command, ctx=typer.Context(command), name="drpo"))
    body = made.partition("## ")[2]  # what comes before is the list of commands, cut to the width of a terminal
    body = re.sub(r"^Examples?: (drpo .+)$", r"```console\n$ \1\n```", f"## {body}", flags=re.MULTILINE)
    body = re.sub(r"\*\*(Usage|Arguments|Options|Commands)\*\*:", r"**\1**", body)
    body = "\n".join(line for line in body.splitlines() if not line.startswith("* `--help`"))
    return f"{HEAD}\n{_escaped(body)}\n"


def _escaped(text: str) -> str:
    """Keep `<name>` outside of code from being read as a tag."""
    parts = re.split(r"(```.*?```|`[^`\n]*`)", text, flags=re.DOTALL)
    return "".join(part if part.startswith("`") else part.replace("<", "&lt;") for part in parts)
