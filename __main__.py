"""The command line: reads arguments, calls one function of `commands.py`, prints.

Exit code 0 on success, 2 on a user's mistake (one line, no traceback), 1 on a failure, 130 after Ctrl-C in a run.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

# LiteLLM and DSPy would fetch a price list at their import, which a machine without network waits for.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import typer
from rich.console import Console

from drpo.errors import (
    ConfigError,
    DataError,
    DRPOError,
    MissingDependencyError,
    ProgramFileError,
    RunDirectoryError,
)

app = typer.Typer(
    name="drpo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Compile LLM programs from unlabelled prompts, under a reward that a judge LM makes (DRPO on DSPy).",
)

_MISTAKES = (ConfigError, DataError, MissingDependencyError, ProgramFileError, RunDirectoryError, NotImplementedError)

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


@app.command("compile")
def compile_command(
    config: Config = "default",
    data: Data = None,
    log_dir: Annotated[
        Path | None,
        typer.Option(
            help="The run directory; one that holds an interrupted run is resumed. Default: runs/<config>-<time>."
        ),
    ] = None,
    out: Out = None,
    set_: Set = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Optimize a responder's instruction and demonstrations for your prompts, and save it as a program.

    The result is checked on held-out prompts; without a significant gain the program stays as it was. Ctrl-C lets the
    calls under way end and stops; a second Ctrl-C stops at once; `drpo resume` goes on.

    Without CONFIG simulated models play all roles: no key, no network, some seconds.

    Example: drpo compile openai --data prompts.jsonl --log-dir runs/first
    """
    _check_out(out)
    settings = _settings(config, data, set_)
    folder = log_dir or Path("runs") / f"{Path(config).stem}-{time.strftime('%Y%m%d-%H%M%S')}"
    _compile(settings, folder, out=out, as_json=as_json, quiet=quiet)


@app.command()
def resume(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The run directory.")],
    out: Out = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change what the outcome does not depend on: max_lm_calls, max_tokens, max_cost, num_threads, "
            "lms.<role>.api_base. Repeatable.",
        ),
    ] = None,
    trust: Annotated[
        bool, typer.Option("--trust", help="Follow the endpoints and servers that somebody else's DIR names.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Go on with a run that was interrupted or killed, or that a cap or an outage ended.

    Calls that are on record are not made again; keys come from the environment, as before. A run that is finished is
    shown again.

    Example: drpo resume runs/first --set max_lm_calls=2000
    """
    from drpo.resuming import CAPS, finished_run, resumed_settings

    _check_out(out)
    settings = resumed_settings(directory, list(set_ or []), trust=trust)
    finished = finished_run(directory)
    if finished is None or (
        finished[0].get("stopped") and any(text.partition("=")[0].strip() in CAPS for text in set_ or [])
    ):
        _compile(settings, directory, out=out, as_json=as_json, quiet=quiet)
        return
    result, seed_instructions = finished
    more = f"; {result['stopped']}: raise it by --set to go on" if result.get("stopped") else ""
    _say(quiet)(f"{directory}: this run is finished, nothing is asked{more}")
    if out is not None:
        out.write_bytes((directory / "program.json").read_bytes())
    _show(result, seed_instructions, directory, as_json=as_json)


@app.command("estimate")
def estimate_command(
    config: Config = "default",
    data: Data = None,
    set_: Set = None,
    no_probe: Annotated[
        bool, typer.Option("--no-probe", help="Make no call: then minutes are not known, and tokens less exactly.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON instead of the table.")] = False,
    quiet: Quiet = False,
) -> None:
    """Say before what a run will take: calls, tokens, money and minutes by role, each with a range.

    Your models are asked five times, about your prompts; then the whole search is rehearsed on simulated models, with
    your settings and caps, in this process. Nothing is written.

    Example: drpo estimate openai --data prompts.jsonl --set max_cost=2
    """
    from dspy.utils.exceptions import LMError

    from drpo.estimating import estimate
    from drpo.reports.estimate import print_estimate
    from drpo.reports.summary import SIMULATED_BANNER

    settings = _settings(config, data, set_)
    if settings.is_simulated:
        _say(quiet)(SIMULATED_BANNER)
    try:
        found = estimate(settings, with_probe=not no_probe, say=_say(quiet)).as_dict()
    except LMError as error:
        raise typer.Exit(_fail(error, remedy="estimate again once it answers, or without it by --no-probe")) from None
    if as_json:
        _print_json(found)
    else:
        print_estimate(found, console=Console())


def _settings(config: str, data: str | None, set_: list[str] | None) -> Any:
    """Return a config's settings with what the command line says in their place."""
    from drpo.configs.settings import load_settings

    overrides = list(set_ or [])
    if data is not None:
        overrides.append(f"data.prompts={data}")
    return load_settings(config, overrides)


def _compile(settings: Any, folder: Path, *, out: Path | None, as_json: bool, quiet: bool) -> None:
    """Run a config in a run directory, and show what came of it."""
    from drpo.commands import compile_program
    from drpo.reports.summary import SIMULATED_BANNER

    if settings.is_simulated:
        _say(quiet)(SIMULATED_BANNER)
    try:
        compiled = compile_program(settings, log_dir=folder, display_progress=not quiet, say=_say(quiet))
    except KeyboardInterrupt:
        started = (folder / "config.json").exists()
        code = _say_error(
            f"interrupted; go on with: drpo resume {shlex.quote(str(folder))}" if started else "interrupted", 130
        )
        if any(not thread.daemon and thread is not threading.main_thread() for thread in threading.enumerate()):
            sys.stderr.flush()
            os._exit(code)  # calls that nobody waits for any longer; an ordinary exit would
        raise typer.Exit(code) from None
    if out is not None:
        compiled.program.save(out)
    _show(compiled.result, compiled.seed_instructions, folder, as_json=as_json)


def _show(result: dict[str, Any], seed_instructions: dict[str, str], folder: Path, *, as_json: bool) -> None:
    from drpo.reports.summary import print_summary

    if as_json:
        _print_json(result)
    else:
        print_summary(result, seed_instructions=seed_instructions, log_dir=folder, console=Console())


@app.command()
def respond(
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
    from drpo.commands import respond_file, respond_one, servers_of
    from drpo.configs.settings import load_settings
    from drpo.serving.engine import build_lm
    from drpo.serving.settings import LMSettings

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
        context = servers_of(settings, {"task": settings.lms.task}, log_dir=None, say=_say(quiet))
    else:
        context = nullcontext({"task": LMSettings(model=str(model), api_base=api_base)})
    with context as lms:
        lm = build_lm(lms["task"])
        if input_ is not None and output is not None:
            count = respond_file(program, lm, input_, output, column=column, num_threads=num_threads)
            _say(quiet)(f"{count} answers in {output}")
        else:
            print(respond_one(program, lm, sys.stdin.read() if query == "-" else str(query)))


@app.command()
def serve(
    config: Config,
    log_dir: Annotated[Path, typer.Option(help="Where the servers' logs are written.")] = Path("runs/serve"),
    set_: Set = None,
    quiet: Quiet = False,
) -> None:
    """Start the vLLM servers that a config names under serve:, and keep them until Ctrl-C.

    Example: drpo serve vllm
    """
    from drpo.configs.settings import load_settings
    from drpo.serving.foreground import serve_forever

    settings = load_settings(config, list(set_ or []))
    if not settings.serve:
        raise ConfigError(f"config {config!r}: it has no serve: section, so there is nothing to start")
    serve_forever(settings.serve, log_dir=log_dir, on_progress=_say(quiet))


@app.command()
def simulate(
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0: a free one.")] = 8000,
    host: Annotated[
        str, typer.Option(help="Address to listen on; anything but loopback opens it to the network.")
    ] = "127.0.0.1",
    world: Annotated[str, typer.Option(help="A preset, random-<seed>, or a YAML file.")] = "default",
    latency: Annotated[float, typer.Option(min=0.0, help="Median seconds before a reply (log-normal).")] = 0.0,
    fault: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND=SHARE",
            help="Share that fails: rate_limited, server_error, timed_out, dropped, malformed, refused. Repeatable.",
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Serve the simulated models by an OpenAI-compatible HTTP server, until Ctrl-C.

    Example: drpo simulate --port 8000 --world weak-base --fault rate_limited=0.1
    """
    from drpo.serving.simulated.faults import Faults
    from drpo.serving.simulated.models import SimulatedModels
    from drpo.serving.simulated.server import run_server
    from drpo.serving.simulated.world import World

    shares: dict[str, Any] = _shares(fault or [])
    faults = Faults(latency=latency, latency_sigma=0.5 if latency else 0.0, **shares)
    run_server(SimulatedModels(World.named(world)), host=host, port=port, faults=faults, say=_say(quiet))


@app.command("import-official")
def import_official_command(
    output: Annotated[Path, typer.Argument(help="output.json of a run that the paper's authors published.")],
    out: Annotated[Path, typer.Option(help="Where the program is saved (.json).")],
    demos: Annotated[Path | None, typer.Option(help="Their ICL_examples.json.")] = None,
    k: Annotated[int | None, typer.Option(min=0, help="Demonstrations shown per query. Default: 3.")] = None,
) -> None:
    """Turn a prompt that the paper's authors published into a program of ours (JSON only, never their pickles).

    Example: drpo import-official output.json --demos ICL_examples.json --out official.json
    """
    from drpo.programs.official import import_official

    _check_out(out)
    program = import_official(output, demos=demos, k=k)
    program.save(out)
    _say(False)(
        f"{out}: {len(program.respond.signature.instructions)} characters of instruction, "
        f"{len(program.respond.pool)} demonstrations"
    )


def main() -> None:
    """Run the command line."""
    logging.getLogger("drpo").setLevel(logging.INFO)
    # DSPy warns of each reply that was cut off; the summary counts them.
    logging.getLogger("dspy.clients.lm").setLevel(logging.ERROR)
    try:
        app()
    except Exception as error:
        sys.exit(_fail(error))


RESUME = "go on by `drpo resume DIR`, or by the same command with the same --log-dir"


def _fail(error: Exception, *, remedy: str = RESUME) -> int:
    """Print an error as one line per problem, and return the exit code.

    Args:
        error: What ended the command.
        remedy: What to do once a model that could not be reached answers again.
    """
    if isinstance(error, _MISTAKES):
        return _say_error(str(error), 2)
    if isinstance(error, DRPOError):
        return _say_error(str(error), 1)
    from dspy.utils.exceptions import (
        LMAuthError,
        LMConfigurationError,
        LMError,
        LMUnsupportedModelError,
    )

    said = str(error).strip().partition("\n")[0]  # DSPy adds lines of advice for those who call it from Python
    if isinstance(error, LMAuthError):
        return _say_error(f"the model's server refuses the key: {said}; set the variable that api_key_env names", 2)
    if isinstance(error, (LMConfigurationError, LMUnsupportedModelError)):
        return _say_error(f"the model cannot be used: {said}; check lms.<role>.model and api_base", 2)
    if isinstance(error, LMError):
        return _say_error(f"a model cannot be reached: {said}; {remedy}", 1)
    raise error


def _say_error(text: str, code: int) -> int:
    from drpo.programs.boundary import visible

    print(f"drpo: {visible(text)}", file=sys.stderr)  # it may quote a model or a file
    return code


def _print_json(data: dict[str, Any]) -> None:
    # A model's text may hold characters that a terminal obeys; programs that read JSON get them as they are.
    print(json.dumps(data, ensure_ascii=sys.stdout.isatty(), indent=2))


def _say(quiet: bool) -> Any:
    return (lambda text: None) if quiet else (lambda text: print(text, file=sys.stderr, flush=True))


def _shares(given: list[str]) -> dict[str, float]:
    """Return the fault kinds and shares of `--fault KIND=SHARE`."""
    kinds = ("rate_limited", "server_error", "timed_out", "dropped", "malformed", "refused")
    shares = {}
    for text in given:
        kind, _, share = text.partition("=")
        try:
            shares[kind] = float(share)
        except ValueError:
            raise ConfigError(f"--fault {text!r}: write KIND=SHARE with a share from 0 to 1") from None
        if kind not in kinds:
            raise ConfigError(f"--fault {text!r}: choose one of {', '.join(kinds)}")
    return shares


def _check_out(out: Path | None) -> None:
    if out is not None and (out.suffix != ".json" or not out.absolute().parent.is_dir()):
        raise ConfigError(f"--out {str(out)!r}: give a .json file in a folder that exists")


if __name__ == "__main__":
    main()
