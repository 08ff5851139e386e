"""What settings a trial has: those it is given, or what Optuna's TPE draws from the trials finished before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .silence import quiet

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

STARTUP = 8
"""Trials at random before the sampler learns from them."""


def seeded_sampler(
    seed: int, given: Callable[[optuna.trial.FrozenTrial], Mapping[str, Any] | None]
) -> optuna.samplers.BaseSampler:
    """Return a TPE sampler whose draws for a trial depend on the seed, the trial's number and finished trials alone.

    Optuna's own draws from one stream: a process that goes on with a study would draw its first settings again.

    Args:
        seed: The seed.
        given: Returns the settings that a trial is given. None: they are drawn.
    """
    import optuna

    class Seeded(optuna.samplers.BaseSampler):
        def __init__(self) -> None:
            self._of: tuple[int, optuna.samplers.TPESampler, Mapping[str, Any] | None] | None = None

        def _for(
            self, trial: optuna.trial.FrozenTrial
        ) -> tuple[int, optuna.samplers.TPESampler, Mapping[str, Any] | None]:
            if self._of is None or self._of[0] != trial.number:
                with quiet():
                    sampler = optuna.samplers.TPESampler(
                        seed=(seed * 1_000_003 + trial.number) % 2**32, n_startup_trials=STARTUP, multivariate=True,
                        constant_liar=True, warn_independent_sampling=False,
                    )  # fmt: skip
                self._of = (trial.number, sampler, given(trial))
            return self._of

        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, BaseDistribution]:
            _, sampler, _ = self._for(trial)
            return sampler.infer_relative_search_space(study, trial)

        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
            _, sampler, settings = self._for(trial)
            return sampler.sample_relative(study, trial, search_space) if settings is None else {}

        def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
            _, sampler, settings = self._for(trial)
            if settings is not None:
                return settings[param_name]
            return sampler.sample_independent(study, trial, param_name, param_distribution)

    return Seeded()
