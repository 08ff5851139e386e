"""`drpo compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from .compiling import ending_well
from .options import AsJson, Config, Data, Quiet, Set, check_out, directory_of, settings_of
from .saying import print_json, say_to


def compare_command(
    config: Config = "default",
    optimizers: Annotated[
        str | None,
        typer.Option(
            help="Who takes part, separated by commas: drpo, drpo-paper, miprov2, miprov2-0shot, copro, gepa, simba, "
            "bootstrap-rs, infer-rules. Default: the config's, or drpo,miprov2,copro,gepa,simba."
        ),
    ] = None,
    budget: Annotated[
        int | None, typer.Option(min=1, help="LM calls that each optimizer may make per seed, all roles. Default: 400.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="How often each optimizer runs. Default: 3.")] = None,
    data: Data = None,
    log_dir: Annotated[
        Path | None,
        typer.Option(
            help="The run directory; one that holds an interrupted comparison is resumed. "
            "Default: runs/compare-<config>-<time>."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Also write the figures here (.json).")] = None,
    set_: Set = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Compare prompt optimizers on your prompts and models, each with the same number of LM calls.

    Criteria are chosen once and billed apart; what each optimizer ends with is judged on prompts that none of them saw.
    Three baselines take part in any case: the seed, a prompt written by hand, and retrieved demonstrations. One
    optimizer's failure is a line of the table. Ctrl-C, kills and outages: as in `drpo compile`; `drpo resume` goes on.

    Without CONFIG simulated models play all roles: no key, no network, some minutes.

    Example: drpo compare openai --data prompts.jsonl --optimizers drpo,miprov2,gepa --budget 400 --seeds 3
    """
    check_out(out)
    overrides = list(set_ or [])
    given = {"optimizers": optimizers, "budget": budget, "seeds": seeds}
    overrides += [f"compare.{name}={value}" for name, value in given.items() if value is not None]
    settings = settings_of(config, data, overrides)
    with directory_of(log_dir, f"compare-{Path(config).stem}") as folder:
        run_comparison(settings, folder, out=out, as_json=as_json, quiet=quiet)


def run_comparison(settings: Any, folder: Path, *, out: Path | None, as_json: bool, quiet: bool) -> None:
    """Run a comparison in a run directory, or go on with it, and show what came of it."""
    from ..commands.comparing import compare_optimizers
    from ..reports.summary import SIMULATED_BANNER

    if settings.is_simulated:
        say_to(quiet)(SIMULATED_BANNER)
    with ending_well(folder):
        result = compare_optimizers(settings, log_dir=folder, display_progress=not quiet, say=say_to(quiet))
    _show(result, folder, out=out, as_json=as_json)


def show_comparison(result: dict[str, Any], folder: Path, *, out: Path | None, as_json: bool, quiet: bool) -> None:
    """Show a finished comparison again; its pages are written anew, if a kill prevented that."""
    from ..commands.comparing import write_reports

    say_to(quiet)(f"{folder}: this comparison is finished, nothing is asked")
    write_reports(result, folder)
    _show(result, folder, out=out, as_json=as_json)


def _show(result: dict[str, Any], folder: Path, *, out: Path | None, as_json: bool) -> None:
    from ..reports.comparison import print_comparison

    if out is not None:
        out.write_bytes((folder / "comparison.json").read_bytes())
    if as_json:
        print_json(result)
    else:
        print_comparison(result, log_dir=folder, console=Console())
