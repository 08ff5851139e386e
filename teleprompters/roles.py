"""The LMs of one run: resolved when `compile` runs, then wrapped so that every call is counted under its role."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from typing import Any

import dspy

from ..errors import ConfigError
from ..metrics.reward import DynamicReward, default_judge
from ..programs.replacing import copied
from ..serving.caps import caps_of
from ..serving.door import CallRecord, metered
from ..serving.engine import LiteLLMEngine
from ..serving.meter import Meter
from ..serving.retrying import PATIENCE
from ..serving.roles import Role, as_lm
from ..serving.simulated import world_of
from .evaluation import Metric

_SECRET = re.compile(r"key|token$|secret|password|auth|header|base", re.IGNORECASE)


@dataclass(frozen=True)
class RunLMs:
    """Who does what in a run."""

    task: dspy.BaseLM | None
    """Answers; None if every predictor has an LM of its own."""
    judge: dspy.BaseLM | None
    """Scores; None under a metric of the user's that was given no judge."""
    criteria: dspy.BaseLM | None
    """Chooses criteria; None where the judge is None."""
    prompt: dspy.BaseLM
    """Rewrites."""
    metric: Metric
    """What scores: a dynamic reward, bound to its LMs, or a metric of the user's."""
    meter: Meter
    """Counts and caps."""
    record: CallRecord | None = None
    """Where calls are kept."""
    timeout: float | None = None
    """Seconds that a reply is waited for; None: as long as the engine waits."""
    patience: float = PATIENCE
    """Seconds that an outage is waited for."""

    def metered(self, record: CallRecord | None, *, timeout: float | None = None, patience: float = PATIENCE) -> RunLMs:
        """Return these LMs with every call counted, tried again if need be, and recorded if there is a record.

        Args:
            record: Where calls are kept. None: nowhere.
            timeout: Seconds after which a try is given up. None: never.
            patience: Seconds that an outage is waited for.
        """
        kept = replace(self, record=record, timeout=timeout, patience=patience)
        task, judge = kept._through(self.task, Role.TASK), kept._through(self.judge, Role.JUDGE)
        criteria, prompt = kept._through(self.criteria, Role.CRITERIA), kept._through(self.prompt, Role.PROMPT)
        bound = replace(kept, task=task, judge=judge, criteria=criteria, prompt=prompt)
        return (
            bound
            if self.reward is None
            else replace(bound, metric=self.reward.bound(judge_lm=judge, criteria_lm=criteria))
        )

    @property
    def reward(self) -> DynamicReward | None:
        """Return the dynamic reward, None under a metric of the user's."""
        return self.metric if isinstance(self.metric, DynamicReward) else None

    def working(self, program: dspy.Module) -> dspy.Module:
        """Return a copy of a program for the run: predictors with an LM of their own have it counted as the task's."""
        own = {name: predictor.lm for name, predictor in program.named_sub_modules(dspy.Predict)}
        result = copied(program)
        for name, predictor in result.named_sub_modules(dspy.Predict):
            if own[name] is not None:
                predictor.lm = self._through(own[name], Role.TASK)
        return result

    def _through(self, lm: dspy.BaseLM | None, role: Role) -> Any:
        if lm is None:
            return None
        return metered(
            lm, role=role, meter=self.meter, record=self.record, timeout=self.timeout, patience=self.patience
        )

    @property
    def models(self) -> dict[str, str]:
        """Return the model string of each role that has an LM."""
        return {role: lm.model for role, lm in self._named() if lm is not None}

    @property
    def described(self) -> dict[str, Any]:
        """Return each role's model and sampling, without keys and endpoints."""
        return {
            role: {
                "model": lm.model,
                "model_type": lm.model_type,
                **{
                    key: digest(value) if isinstance(value, dict) else value  # bodies may hold keys under any name
                    for key, value in lm.kwargs.items()
                    if not _SECRET.search(key) or key.startswith("max_")
                },
                **_behind(lm),
            }
            for role, lm in self._named()
            if lm is not None
        }

    def _named(self) -> list[tuple[str, dspy.BaseLM | None]]:
        return [
            (Role.TASK.value, self.task),
            (Role.JUDGE.value, self.judge),
            (Role.CRITERIA.value, self.criteria),
            (Role.PROMPT.value, self.prompt),
        ]


def resolve_lms(optimizer: Any, student: dspy.Module) -> RunLMs:
    """Return the LMs of a run, from the optimizer's arguments, the metric's own, and DSPy's settings.

    Args:
        optimizer: The optimizer; read are its metric, its four LMs and its caps.
        student: The program that answers.

    Raises:
        ConfigError: If a role has no LM.
    """
    given = {
        name: as_lm(getattr(optimizer, name), name=name) for name in ("task_lm", "judge_lm", "criteria_lm", "prompt_lm")
    }
    task = given["task_lm"] or dspy.settings.lm
    if task is None and any(predictor.lm is None for predictor in student.predictors()):
        raise ConfigError("task_lm=None and no LM is configured: give task_lm=... or call dspy.configure(lm=...)")
    metric = DynamicReward() if optimizer.metric is None else optimizer.metric
    judge, criteria = given["judge_lm"], given["criteria_lm"]
    if isinstance(metric, DynamicReward):
        judge = metric.judge_lm or judge or default_judge()
        criteria = metric.criteria_lm or criteria or judge
    prompt = given["prompt_lm"] or judge or dspy.settings.lm or task
    if prompt is None:
        raise ConfigError("prompt_lm=None and no judge or LM is configured: give prompt_lm=...")
    return RunLMs(task, judge, criteria, prompt, metric, Meter(caps_of(optimizer.caps)))


def digest(value: Any) -> str:
    """Return a name of plain data that says nothing of what it holds."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode("utf-8", "surrogatepass")).hexdigest()


def _behind(lm: dspy.BaseLM) -> dict[str, str]:
    """Return what else an LM's replies depend on; as a digest, since it may hold what is nobody's business."""
    engine, world = getattr(lm, "engine", None), world_of(lm)
    if world is not None:
        return {"world": digest(repr(world))}
    if not isinstance(engine, LiteLLMEngine):
        return {}
    fields = {"extra_body", "structured_output", "string_limit"}
    told = engine.settings.model_dump(mode="json", include=fields, exclude_defaults=True)
    return {"request": digest(told)} if told else {}
