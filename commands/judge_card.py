"""What `drpo judge-card` does: a config in, the card of its judge out, in a directory of its own."""

from __future__ import annotations

from pathlib import Path

from ..configs.prompts import load_prompts
from ..configs.settings import RunSettings
from ..metrics.judge_card.card import JudgeCard
from ..metrics.judge_card.labels import load_labels
from ..serving.caps import CapKind
from ..serving.engine import build_lm
from ..serving.settings import LMSettings
from ..serving.simulated.world import World
from ..teleprompters.judge_card import judge_card, planned_calls
from .compiling import responder_of, reward_of
from .resuming import signed
from .servers import Say, servers_of


def make_judge_card(
    settings: RunSettings,
    *,
    log_dir: Path,
    num_prompts: int,
    second_judge: str | None,
    labels: Path | None,
    date: str,
    display_progress: bool,
    say: Say,
) -> JudgeCard:
    """Return the card of a config's judge, on the config's prompts and the answers of its task model.

    Args:
        settings: The config.
        log_dir: The card's directory.
        num_prompts: How many prompts are drawn.
        second_judge: A LiteLLM model string, or the name of a role of the config whose model judges too. None: nobody.
        labels: A file of answers that people have judged. None: there is none.
        date: The day, as the card is to say it.
        display_progress: Whether steps are printed.
        say: Told what is read, what it will take, and which servers are started.

    Raises:
        DRPOError: If something is wrong; what can be checked is checked before the first call.
    """
    settings.check_environment()
    program, data = settings.program, settings.data
    prompts = load_prompts(data.prompts, column=data.column, limit=data.limit, fields=program.input_fields)
    say(str(prompts))
    given = load_labels(labels) if labels is not None else ()
    student, reward = responder_of(settings), reward_of(settings)
    planned = planned_calls(min(num_prompts, len(prompts)), labels=given, second_judge=second_judge is not None)
    by_role = ", ".join(f"{role} {count}" for role, count in planned.items())
    say(f"{sum(planned.values())} calls ({by_role}), a few more where a reply cannot be read")
    world = None if settings.world is None else World.named(settings.world)
    asked = {role: lm for role, lm in settings.lms.roles() if role != "prompt"}
    if second_judge is not None:
        asked["second_judge"] = dict(settings.lms.roles()).get(second_judge) or LMSettings(model=second_judge)
    with servers_of(settings, asked, log_dir=log_dir, say=say) as lms:
        built = {f"{role}_lm": build_lm(lm, world=world) for role, lm in lms.items()}
        return judge_card(
            student,
            prompts.examples,
            **built,
            reward=reward,
            labels=given,
            num_prompts=num_prompts,
            seed=settings.seed,
            date=date,
            log_dir=log_dir,
            num_threads=settings.num_threads,
            caps={kind.value: getattr(settings, kind.value) for kind in CapKind},
            call_timeout=settings.call_timeout,
            outage_patience=settings.outage_patience,
            display_progress=display_progress,
            run_config=signed(settings),
        )
