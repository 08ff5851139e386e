"""The world's parameters: one frozen record, read from YAML, a preset, or drawn from a seed.

Latent quality is a logit z; the quality it stands for is 1 / (1 + exp(-z)) in [0, 1], and the level 1 + 4 times that.
The defaults are fitted to the published runs (`benchmarks/calibration.py`); `docs/simulated.md` says which number comes
from which measurement, and which is an assumption.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ...errors import ConfigError
from .facets import BY_NAME, CRITERIA

if TYPE_CHECKING:
    import dspy

PRESETS = ("default", "weak-base", "instruct", "saturated", "noisy-judge", "safety-heavy", "needle")
"""The named worlds, each a YAML file beside this module; `default` is the calibrated one."""

_ABILITIES = {
    "Helpfulness": 2.3, "Clarity": 2.9, "Factuality": 1.5, "Depth": 1.1, "Engagement": 1.8, "Conciseness": 1.9,
    "Compliance": 2.3, "Limitations": 0.4, "Critical-Thinking": 0.4, "Creativity": 1.5, "Interactivity": 0.7,
    "Empathy": 1.9, "Sensitivity": 4.0, "Safety": 3.0,
}  # fmt: skip


@dataclass(frozen=True)
class World:
    """Everything that the simulated models are made of.

    Example:
        >>> World(judge_noise=0.0).seed
        0
        >>> World.preset("saturated").lift < World().lift
        True
    """

    seed: int = 0
    """Draws everything that is random. Two worlds of different seeds have queries of different difficulty."""
    model: int = 0
    """Which base model: draws what this one finds hard (the model x query part), and nothing else."""

    abilities: Mapping[str, float] = field(default_factory=lambda: dict(_ABILITIES), hash=False)
    """Criterion to the base model's logit under a bare instruction, on a query of middling difficulty."""
    criteria_weights: Mapping[str, float] = field(default_factory=dict, hash=False)
    """Criterion to a factor on how likely it is picked; 1 where it is not named."""
    lift: float = 2.4
    """How many logits full guidance on a criterion adds; 0 or more."""
    lifts: Mapping[str, float] = field(default_factory=dict, hash=False)
    """Criterion to a factor on `lift`; 1 where it is not named."""
    needle: str = ""
    """The name of one facet that counts on every criterion of every query; empty: there is none."""
    needle_lift: float = 0.0
    """How many logits the needle adds to each criterion, 0 or more."""

    query_spread: float = 1.9
    """Standard deviation of a query's difficulty, in logits, the same for all models."""
    model_query_spread: float = 1.6
    """Standard deviation of what one model finds hard about a query."""
    criterion_spread: float = 0.9
    """Standard deviation of a query's difficulty on one criterion."""
    generation_noise: float = 0.08
    """Standard deviation of one answer's luck, in logits: another prompt, another draw; the same prompt at
    temperature 0, the same draw."""
    slip_rate: float = 0.065
    """Share of answers that go astray, 0 to 1."""
    slip_size: float = 4.0
    """How many logits such an answer loses on every criterion."""

    interference: float = 1.0
    """Factor on how much guidance on one criterion costs another (Depth and Conciseness, for example); 0: nothing."""
    free_load: float = 9.0
    """How many firm directives are followed side by side without loss."""
    dilution: float = 0.05
    """By how much each further one weakens all."""
    free_words: int = 220
    """How long an instruction may be without loss, in words."""
    length_cost: float = 0.7
    """Logits lost on every criterion per e-fold of further length."""
    contradiction_cost: float = 0.9
    """Logits lost on every criterion per facet that is both asked for and forbidden."""
    demo_lift: float = 0.8
    """How many logits good demonstrations add to a criterion that they show; bad ones take as many."""

    judge_noise: float = 1.0
    """Standard deviation of the judge's reading of one criterion, in levels, where it is not sure."""
    judge_unsure: float = 0.07
    """Share of readings where it is not sure, 0 to 1; the others are exact up to rounding."""
    dither: bool = False
    """Whether the judge rounds a reading up or down by chance, in proportion, so that its mean score is the reading;
    else it rounds to the nearest whole score."""
    leniency: float = 0.3
    """Levels that the judge adds to every reading."""
    length_bias: float = 0.15
    """Levels that the judge adds per e-fold of length beyond 200 words (and takes for shorter answers)."""
    self_leniency: float = 0.5
    """Levels added on top where a model judges that is not the judge."""
    position_bias: float = 0.0
    """Levels by which the judge favours the first of two answers that it compares; below 0, the second."""
    tie_margin: float = 0.25
    """Levels within which two answers count as equally good to it, 0 or more."""
    flattery: float = 0.0
    """Levels that the judge adds where an answer praises itself, speaks to the judge or writes a verdict, 0 or more."""
    malformed_rate: float = 0.022
    """Share of the judge's replies that are no valid JSON, 0 to 1."""
    refusal_clash: float = 0.3
    """Share of refusals that the judge marks down to 1 on Compliance, 0 to 1."""

    criteria_counts: tuple[float, float, float, float] = (0.0, 0.02, 0.22, 0.76)
    """Shares of queries that get 2, 3, 4 and 5 criteria."""
    invention_rate: float = 0.04
    """Share of queries for which the selector invents a criterion, 0 to 1."""

    fix: float = 0.65
    """Chance that a rewrite answers a weakness that the feedback names, 0 to 1."""
    forget: float = 0.10
    """Chance that a rewrite loses a rule it does not touch."""
    garble: float = 0.08
    """Chance that a rewrite turns a rule into empty or opposite words."""
    bloat: float = 0.15
    """Chance that a rewrite adds words without content."""
    repeat: float = 0.06
    """Chance that a rewrite returns what it was shown."""
    guess: float = 0.5
    """Chance, without any feedback, that a proposal adds a rule (tried three times)."""

    noise_free: bool = False
    """Whether all luck, noise and bias is off: what `true_quality` runs with."""

    def __post_init__(self) -> None:
        for name in ("abilities", "criteria_weights", "lifts"):
            unknown = sorted(set(getattr(self, name)) - set(CRITERIA))
            if unknown:
                raise ConfigError(f"{name}: {unknown[0]!r} is no criterion; choose from {', '.join(CRITERIA)}")
            for criterion, value in getattr(self, name).items():
                _check(f"{name}[{criterion!r}]", value, float("-inf") if name == "abilities" else 0.0)
        object.__setattr__(self, "abilities", {**_ABILITIES, **self.abilities})
        if self.needle and self.needle not in BY_NAME:
            raise ConfigError(f"needle={self.needle!r}: choose one of {', '.join(BY_NAME)}, or leave it empty")
        for name in _SHARES:
            _check(name, getattr(self, name), 0.0, 1.0)
        for name in _AMOUNTS:
            _check(name, getattr(self, name), 0.0)
        _check("position_bias", self.position_bias, float("-inf"))
        counts = tuple(self.criteria_counts)
        if len(counts) != 4 or min(counts) < 0 or sum(counts) <= 0:
            raise ConfigError(f"criteria_counts={self.criteria_counts!r}: give four shares, for 2, 3, 4 and 5 criteria")
        object.__setattr__(self, "criteria_counts", counts)

    @classmethod
    def from_yaml(cls, path: str | Path) -> World:
        """Read a world from a YAML file that names the fields in which it differs from the default.

        Raises:
            ConfigError: If the file cannot be read, or names a field that does not exist or has a wrong value.
        """
        try:
            data = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
        except OSError as error:
            raise ConfigError(f"world={str(path)!r}: {error.strerror or error}; give a preset or a YAML file") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"world={str(path)!r} is no YAML: {error}") from None
        return cls._of(data, str(path))

    @classmethod
    def preset(cls, name: str) -> World:
        """Return a named world.

        Raises:
            ConfigError: If there is none of that name.
        """
        if name not in PRESETS:
            raise ConfigError(f"world={name!r}: choose one of {', '.join(PRESETS)}, random-<seed>, or a YAML file")
        return cls.from_yaml(Path(__file__).with_name("presets") / f"{name}.yaml")

    @classmethod
    def random(cls, seed: int) -> World:
        """Return a world drawn around the default: another base model, another judge, another rewriter.

        Args:
            seed: Any whole number of at least 0; equal seeds give equal worlds.
        """
        draw = random.Random(f"world {seed}")
        base = cls()
        shift = draw.gauss(-0.6, 0.9)
        return replace(
            base,
            seed=seed,
            model=seed,
            abilities={name: round(value + shift + draw.gauss(0, 0.7), 3) for name, value in base.abilities.items()},
            lift=round(draw.uniform(1.2, 3.2), 3),
            lifts={name: round(draw.uniform(0.5, 1.4), 3) for name in CRITERIA},
            query_spread=round(draw.uniform(1.3, 2.3), 3),
            generation_noise=round(draw.uniform(0.1, 0.5), 3),
            slip_rate=round(draw.uniform(0.03, 0.15), 3),
            judge_unsure=round(draw.uniform(0.05, 0.4), 3),
            leniency=round(draw.uniform(0.0, 0.5), 3),
            length_bias=round(draw.uniform(0.0, 0.3), 3),
            fix=round(draw.uniform(0.4, 0.85), 3),
            forget=round(draw.uniform(0.03, 0.25), 3),
            garble=round(draw.uniform(0.03, 0.2), 3),
        )

    @classmethod
    def named(cls, name: str) -> World:
        """Return the world that a config names: a preset, `random-<seed>`, or the path of a YAML file.

        Raises:
            ConfigError: If it is none of them.
        """
        kind, _, number = name.partition("-")
        if kind == "random" and number.isdecimal():
            return cls.random(int(number))
        return cls.from_yaml(name) if name.endswith((".yaml", ".yml")) else cls.preset(name)

    def quiet(self) -> World:
        """Return this world with all luck, noise and bias off."""
        return replace(self, noise_free=True)

    def true_quality(self, program: dspy.Module, queries: Sequence[str | dspy.Example]) -> float:
        """Return the expected reward in [0, 1] of a program, without a judge's noise or bias.

        The program is run as it is, with its own instructions, demonstrations and adapter; only its LM is a quiet
        `sim/base`. What that LM would be sent decides the latent quality of the answer, of which the mean over the
        criteria of each query is taken, and the mean of these over the queries.

        Args:
            program: Any DSPy program; it is left as it is. With several predictors the last call made counts, which
                is the one that sees what the earlier ones wrote.
            queries: Texts, given to the program's first input field, or examples.

        Raises:
            ConfigError: If there are no queries, or the program calls no LM for one of them.
        """
        from .quality import true_quality

        return true_quality(self, program, queries)

    def true_levels(
        self, program: dspy.Module, queries: Sequence[str | dspy.Example], *, samples: int = 8
    ) -> list[dict[str, float]]:
        """Return the level of each criterion, 1 to 5, that a program's answers show, expected over their luck.

        The program is run as in `true_quality`; then the answer to each query is written several times and its
        sentences are read exactly. No judge has a part in it: no noise, no leniency, no rounding to whole scores.

        Args:
            program: Any DSPy program; it is left as it is.
            queries: Texts, given to the program's first input field, or examples.
            samples: How often each answer is drawn, at least 1.

        Returns:
            Criterion to level, one mapping per query.

        Raises:
            ConfigError: If there are no queries, or the program calls no LM for one of them.
        """
        from .quality import true_levels

        return true_levels(self, program, queries, samples=samples)

    @classmethod
    def _of(cls, data: Any, source: str) -> World:
        if not isinstance(data, Mapping):
            raise ConfigError(f"world={source!r}: write `field: value` lines, not {data!r}")
        known = {item.name for item in fields(cls)} - {"noise_free"}
        unknown = sorted(map(str, set(data) - known))
        if unknown:
            raise ConfigError(
                f"world={source!r}: {unknown[0]!r} is no field of a world; it has {', '.join(sorted(known))}"
            )
        for name in ("abilities", "criteria_weights", "lifts"):
            if not isinstance(data.get(name, {}), Mapping):
                raise ConfigError(f"world={source!r}: {name}={data[name]!r}: write `criterion: number` lines")
        try:
            values = dict(data)
            if "criteria_counts" in values:
                values["criteria_counts"] = tuple(values["criteria_counts"])
            return cls(**values)
        except TypeError as error:
            raise ConfigError(f"world={source!r}: a value has the wrong type ({error})") from None


def _check(name: str, value: object, low: float, high: float = float("inf")) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high or value - value != 0:
        wanted = "a share from 0 to 1" if high == 1 else "a number" if low < 0 else "a number of at least 0"
        raise ConfigError(f"{name}={value!r}: give {wanted}")


_SHARES = ("slip_rate", "judge_unsure", "malformed_rate", "refusal_clash", "invention_rate",
           "fix", "forget", "garble", "bloat", "repeat", "guess")  # fmt: skip
_AMOUNTS = ("seed", "model", "lift", "needle_lift", "query_spread", "model_query_spread", "criterion_spread",
            "generation_noise", "slip_size", "interference", "free_load", "dilution", "free_words", "length_cost",
            "contradiction_cost", "demo_lift", "judge_noise", "leniency", "length_bias", "self_leniency",
            "tie_margin", "flattery")  # fmt: skip
