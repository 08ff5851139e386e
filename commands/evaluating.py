"""What `drpo evaluate` does: a config and saved programs in, their marks by a suite out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..configs.settings import RunSettings
from ..errors import ConfigError
from ..serving.caps import CapKind
from ..serving.engine import build_lm
from ..serving.simulated.world import World
from .compiling import reward_of
from .evaluation.evaluate import evaluate
from .evaluation.suites import SuiteName, suite_name
from .evaluation.work import prepared
from .servers import Say, servers_of


def evaluate_by_config(
    settings: RunSettings, program: Path | str, other: Path | str | None = None, *, data: str | None, suite: str,
    log_dir: Path, say: Say, display_progress: bool, ledger: Path | None = None, column: str | None = None,
    against: Path | None = None, pairwise: bool = True, limit: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Evaluate saved programs as a config says, starting and stopping the servers that its LMs need.

    Args:
        settings: The config: `lms.task` answers, `lms.judge` marks, `lms.criteria` chooses criteria; its caps, `seed`,
            `num_threads` and, under `dynamic`, `reward` and `data` hold too.
        program: See `evaluate`, as for all that follow.
        other: A second program.
        data: The suite's queries. None: the config's own, under `dynamic`.
        suite: The suite.
        log_dir: The directory.
        say: Told which servers are started.
        display_progress: Whether steps are printed.
        ledger: Criteria by query.
        column: The column of the prompts.
        against: An earlier result.
        pairwise: Whether answers are compared with each other.
        limit: How many queries are drawn.

    Raises:
        DRPOError: If something is wrong; what can be checked is checked before the first call.
    """
    settings.check_environment()
    is_dynamic = suite_name(suite) is SuiteName.DYNAMIC
    if data is None and not is_dynamic:
        raise ConfigError(
            "--data is not given: name the queries, such as just_eval_instruct.jsonl of Re-Align/just-eval (not "
            "shipped) or builtin:prompts; its columns are instruction, category (regular or safety), dataset and id"
        )
    if settings.lms.judge is None:
        raise ConfigError("lms.judge is not set: name a judge by --judge, best one that the program was not trained by")
    lms = {"task": settings.lms.task, "judge": settings.lms.judge}
    if is_dynamic and settings.lms.criteria is not None:
        lms["criteria"] = settings.lms.criteria
    world = None if settings.world is None else World.named(settings.world)
    asked: dict[str, Any] = {
        "data": data or settings.data.prompts,
        "suite": suite,
        "reward": reward_of(settings) if is_dynamic else None,
        "ledger": ledger,
        "column": column or (settings.data.column if is_dynamic and data is None else None),
        "against": against,
        "pairwise": pairwise,
        "limit": limit,
        "seed": settings.seed,
    }
    caps = {str(kind): getattr(settings, kind) for kind in CapKind}
    models = {f"{role}_lm": build_lm(lm, world=world) for role, lm in lms.items()}
    prepared(program, other, **asked, **models, caps=caps)  # a mistake shows before a server is waited for
    with servers_of(settings, lms, log_dir=log_dir, say=say) as reached:
        return evaluate(
            program,
            other,
            **asked,
            **caps,
            **{f"{role}_lm": build_lm(lm, world=world) for role, lm in reached.items()},
            **{name: getattr(settings, name) for name in _ARGUMENTS},
            log_dir=log_dir,
            display_progress=display_progress,
        )


_ARGUMENTS = ("num_threads", "max_errors", "call_timeout", "outage_patience")
"""Further arguments that stand at the top level of a config."""
