"""What `drpo compare` does: a config in, a comparison and its reports out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..configs.prompts import load_demos, load_prompts
from ..configs.settings import RunSettings
from ..errors import RunDirectoryError
from ..reports.comparison_markdown import comparison_markdown
from ..reports.comparison_plot import comparison_svg
from ..serving.caps import CapKind
from ..serving.engine import build_lm
from ..serving.simulated.world import World
from ..teleprompters.comparison.compare import compare
from .compiling import responder_of, reward_of
from .resuming import signed
from .servers import Say, servers_of

ARGUMENTS = (*map(str, CapKind), "num_threads", "call_timeout", "outage_patience")
"""The arguments of a comparison that stand at the top level of a config; the others are an optimizer's own."""


def compare_optimizers(settings: RunSettings, *, log_dir: Path, display_progress: bool, say: Say) -> dict[str, Any]:
    """Compare optimizers as a config says, starting and stopping the servers that its roles need.

    Args:
        settings: The config.
        log_dir: The run directory.
        display_progress: Whether steps are printed.
        say: Told what is read and which servers are started.

    Returns:
        What `comparison.json` says.

    Raises:
        DRPOError: If something is wrong; what can be checked is checked before the first call.
    """
    settings.check_environment()
    data, asked = settings.data, settings.compare
    prompts = load_prompts(data.prompts, column=data.column, limit=data.limit, fields=settings.program.input_fields)
    say(str(prompts))
    trainset, testset = prompts.split(data.num_val)
    student, reward = responder_of(settings), reward_of(settings)
    world = None if settings.world is None else World.named(settings.world)
    with servers_of(settings, dict(settings.lms.roles()), log_dir=log_dir, say=say) as lms:
        found = compare(
            student,
            trainset=trainset,
            testset=testset or None,
            optimizers=asked.optimizers,
            budget=asked.budget,
            seeds=asked.seeds,
            num_test=asked.num_test,
            demos=_demos_of(settings),
            metric=reward,
            **{f"{role}_lm": build_lm(lm, world=world) for role, lm in lms.items()},
            **{name: getattr(settings, name) for name in ARGUMENTS},
            log_dir=log_dir,
            display_progress=display_progress,
            run_config=signed(settings),
        )
    write_reports(found.result, log_dir)
    return found.result


def _demos_of(settings: RunSettings) -> tuple[dict[str, Any], ...]:
    """Return what the baseline `retrieved` shows: the config's demonstrations, else our own if they fit the program."""
    program = settings.program
    own = (program.input_fields, program.output_fields) == (("query",), ("response",))
    source = settings.data.demos or ("builtin:demos" if own else None)
    return () if source is None else load_demos(source, inputs=program.input_fields, output=program.output_fields[0])


def finished_comparison(folder: Path) -> dict[str, Any] | None:
    """Return what a finished comparison says, None if it is not finished.

    Raises:
        RunDirectoryError: If its file cannot be read.
    """
    file = folder / "comparison.json"
    if not file.exists():
        return None
    try:
        result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return result
    except (OSError, ValueError) as error:
        raise RunDirectoryError(f"{file}: cannot be read ({error}); delete it, and it is made again") from None


def write_reports(result: dict[str, Any], folder: Path) -> None:
    """Write what people look at beside `comparison.json`.

    Raises:
        RunDirectoryError: If it cannot be written.
    """
    for name, text in (("comparison.md", comparison_markdown(result)), ("comparison.svg", comparison_svg(result))):
        try:
            (folder / name).write_text(text, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise RunDirectoryError(
                f"{folder / name}: cannot be written ({error.strerror}); the figures are in comparison.json"
            ) from error
