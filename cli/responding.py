"""`drpo respond` and `drpo import-official`: programs that are there already."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ConfigError
from .options import Quiet, Set, check_out
from .saying import say_to


def respond_command(
    program: Annotated[Path, typer.Argument(help="A compiled program (program.json).")],
    query: Annotated[str | None, typer.Argument(help="What to answer; '-' reads it from standard input.")] = None,
    config: Annotated[
        str | None, typer.Option(help="The config whose lms.task answers; its server is started if need be.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="In place of --config: a LiteLLM model string.")] = None,
    api_base: Annotated[str | None, typer.Option(help="With --model: the endpoint's address.")] = None,
    input_: Annotated[
        Path | None, typer.Option("--input", help="A file of prompts to answer in place of QUERY.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="With --input: the JSONL file to write.")] = None,
    column: Annotated[str | None, typer.Option(help="With --input: the column that holds the prompts.")] = None,
    num_threads: Annotated[int, typer.Option(min=1, help="With --input: calls under way at once.")] = 8,
    set_: Set = None,
    quiet: Quiet = False,
) -> None:
    """Answer one query, or a file of them, with a compiled program.

    A program holds no model and no address: name them by --config or --model.

    Example: drpo respond runs/first/program.json "How do I start a compost heap?" --config openai
    """
    from ..commands.responding import respond_file, respond_one
    from ..commands.servers import servers_of
    from ..configs.settings import load_settings
    from ..serving.engine import build_lm
    from ..serving.settings import LMSettings

    if (query is None) == (input_ is None):
        raise ConfigError("give either QUERY or --input, not both or neither")
    if (input_ is None) != (output is None):
        raise ConfigError("--input and --output go together")
    if (config is None) == (model is None):
        raise ConfigError("give either --config or --model: a saved program names no model")
    context: Any
    if config is not None:
        settings = load_settings(config, list(set_ or []))
        settings.check_environment()
        context = servers_of(settings, {"task": settings.lms.task}, log_dir=None, say=say_to(quiet))
    else:
        context = nullcontext({"task": LMSettings(model=str(model), api_base=api_base)})
    with context as lms:
        lm = build_lm(lms["task"])
        if input_ is not None and output is not None:
            count = respond_file(program, lm, input_, output, column=column, num_threads=num_threads)
            say_to(quiet)(f"{count} answers in {output}")
        else:
            print(respond_one(program, lm, sys.stdin.read() if query == "-" else str(query)))


def import_official_command(
    output: Annotated[Path, typer.Argument(help="output.json of a run that the paper's authors published.")],
    out: Annotated[Path, typer.Option(help="Where the program is saved (.json).")],
    demos: Annotated[Path | None, typer.Option(help="Their ICL_examples.json.")] = None,
    k: Annotated[int | None, typer.Option(min=0, help="Demonstrations shown per query. Default: 3.")] = None,
) -> None:
    """Turn a prompt that the paper's authors published into a program of ours (JSON only, never their pickles).

    Example: drpo import-official output.json --demos ICL_examples.json --out official.json
    """
    from ..programs.official import import_official

    check_out(out)
    program = import_official(output, demos=demos, k=k)
    program.save(out)
    say_to(False)(
        f"{out}: {len(program.respond.signature.instructions)} characters of instruction, "
        f"{len(program.respond.pool)} demonstrations"
    )
