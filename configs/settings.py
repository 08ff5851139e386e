"""Typed settings of one run: what a YAML config may say, checked as a whole before anything is paid for.

The optimizer's arguments stand at the top level under their own names; beside them `lms:`, `data:`, `program:`,
`reward:` and `serve:`. A missing argument is left to `auto`. `load_settings` reads a file or a preset of this folder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from ..errors import ConfigError
from ..serving.settings import LMSettings, ServerSettings
from ..serving.simulated import SIMULATED
from .checks import disagreements
from .problems import problems, suggestion
from .redaction import redacted
from .shorthand import ROLES, absolute_paths, name_served_models, spell_out_roles
from .yaml_text import apply_override, read_mapping


def _number(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


def _section(value: object) -> object:
    return {} if value is None else value  # a section whose lines are all commented out


_Whole = Annotated[int, Field(ge=0), BeforeValidator(_number)]
_Positive = Annotated[int, Field(ge=1), BeforeValidator(_number)]
_Amount = Annotated[float, Field(gt=0.0), BeforeValidator(_number)]


def _by_scope(value: object) -> str:
    return "scopes" if isinstance(value, Mapping) else "run"


_Number = TypeVar("_Number")
_Caps = Annotated[
    Annotated[_Number, Tag("run")]
    | Annotated[dict[Literal["run", "task", "judge", "criteria", "prompt"], _Number], Tag("scopes")],
    Discriminator(_by_scope),
]
"""A cap over all roles, or caps by role."""


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class LMsSettings(_Settings):
    """Which model fills which role; a bare model string is short for `model: <string>`."""

    task: LMSettings
    """Answers the queries; its instruction is what gets optimized."""
    judge: LMSettings | None = None
    """Scores the answers. null: the task model, which is lenient with itself."""
    criteria: LMSettings | None = None
    """Picks the criteria of each query. null: the judge."""
    prompt: LMSettings | None = None
    """Rewrites the instructions. null: the judge."""

    @field_validator(*ROLES, mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        return {"model": value} if isinstance(value, str) else value

    def roles(self) -> tuple[tuple[str, LMSettings], ...]:
        """Return the name and the settings of each role that is set."""
        return tuple((role, lm) for role in ROLES if (lm := getattr(self, role)) is not None)


class DataSettings(_Settings):
    """Which prompts the search sees, which it does not, and the demonstrations."""

    prompts: str = Field(default="builtin:prompts", min_length=1)
    """A file (.jsonl, .json, .csv, .tsv, .parquet, .txt), `hf:<data set>[/<config>][:<split>]` or `builtin:prompts`."""
    demos: str | None = Field(default=None, min_length=1)
    """The same kinds of source, or `builtin:demos`; each demonstration has all fields of the program. null: none."""
    column: str | None = Field(default=None, min_length=1)
    """The column that holds the prompts. null: guessed, and an error where that is not safe."""
    limit: _Positive | None = None
    """How many prompts are read, held-out ones included. null: all."""
    num_val: _Whole = 0
    """How many of them, the last ones, are held out for the final comparison. 0: the default search holds out a part
    itself, and the paper's search compares nothing."""


class ProgramSettings(_Settings):
    """The program that is compiled: a `Responder`."""

    signature: str = "query -> response"
    """Its input and output fields, as DSPy writes signatures."""
    instructions: str | None = None
    """The instruction that the search starts from. null: the responder's own."""
    encoder: str | None = Field(default=None, min_length=1)
    """What finds the nearest demonstrations. null: word overlap, which needs no model."""
    adapter: Literal["prose", "chat", "json", "xml"] = "prose"
    """How a call is laid out. `prose`: the instruction is the system message, the whole reply is the answer."""

    @field_validator("signature")
    @classmethod
    def _readable(cls, value: str) -> str:
        inputs, outputs = _fields(value)
        if not inputs or not outputs:
            raise ValueError("must be a signature with inputs and outputs, such as 'query -> response'")
        return value

    @field_validator("instructions")
    @classmethod
    def _not_blank(cls, value: str | None) -> str | None:
        if value is not None and not value.strip():
            raise ValueError("must be text that is not blank, or null for the responder's own")
        return value

    @property
    def input_fields(self) -> tuple[str, ...]:
        """The names of the signature's input fields."""
        return _fields(self.signature)[0]

    @property
    def output_fields(self) -> tuple[str, ...]:
        """The names of the signature's output fields."""
        return _fields(self.signature)[1]


class CriterionSettings(_Settings):
    """A criterion of the user's own."""

    name: str = Field(min_length=1)
    """What the judge and the reports call it."""
    definition: str = Field(min_length=1)
    """One sentence: what it asks of an answer."""
    best: str = ""
    """What earns a 5. Empty: the definition says enough."""
    worst: str = ""
    """What earns a 1. Empty: the definition says enough."""
    weight: Annotated[float, Field(gt=0.0), BeforeValidator(_number)] = 1.0
    """Share in the reward, relative to the query's other criteria."""


def _name_or_own(value: object) -> str:
    return "own" if isinstance(value, (Mapping, CriterionSettings)) else "name"


_Criterion = Annotated[
    Annotated[str, Field(min_length=1), Tag("name")] | Annotated[CriterionSettings, Tag("own")],
    Discriminator(_name_or_own),
]


class RewardSettings(_Settings):
    """How answers are judged."""

    dynamic: bool = True
    """Whether criteria are picked per query. false: the same ones for every query."""
    criteria: tuple[_Criterion, ...] | None = None
    """What can be picked: names from the built-in library, or criteria of your own. null: the whole library."""
    min_criteria: Annotated[_Positive, Field(le=10)] = 2
    """How many criteria a query has at least."""
    max_criteria: Annotated[_Positive, Field(le=10)] = 5
    """How many criteria a query has at most."""
    ledger: Path | None = None
    """A file of criteria choices to start from. null: none."""


class TuneSettings(_Settings):
    """What `drpo tune` tries, and when it ends."""

    trials: _Positive = 20
    """Settings that are tried at most, the config's own included, by all processes together."""
    folds: Annotated[_Positive, Field(le=100)] = 3
    """Compiles per trial, each with a seed and held-out prompts of its own."""
    confirm: Annotated[_Whole, Field(le=100)] = 6
    """Fresh folds on which the best trial is compared with the config's own settings. 0: it is not."""
    objective: Literal["gain_per_call", "gain"] = "gain_per_call"
    """What is to be high: held-out gain per 1,000 LM calls, or held-out gain whatever it costs."""
    pruner: Literal["median", "hyperband", "none"] = "median"
    """How a trial that falls behind is ended before all of its folds."""
    timeout: _Amount | None = None
    """Seconds after which a process begins no further compile. null: no limit."""
    max_lm_calls: _Positive | None = None
    """Calls that the whole study may make, over all processes. null: no cap."""
    max_tokens: _Positive | None = None
    """The same for tokens."""
    max_cost: _Amount | None = None
    """The same for dollars."""
    space: Annotated[dict[str, tuple[int | float | str, ...] | None], BeforeValidator(_section)] = Field(
        default_factory=dict
    )
    """Setting to `[lowest, highest]`, or to the choices of `select`. null: it stays as the config has it."""


class CompareSettings(_Settings):
    """What `drpo compare` does: who takes part, how often, and with how many calls."""

    optimizers: tuple[Annotated[str, Field(min_length=1)], ...] = ("drpo", "miprov2", "copro", "gepa", "simba")
    """Names of optimizers; the baselines take part in any case."""
    budget: _Positive = 400
    """LM calls over all roles that an optimizer may make per seed."""
    seeds: _Positive = 3
    """How often each optimizer runs, as seeds 0, 1, ..."""
    num_test: _Positive = 60
    """Prompts that no optimizer sees, chosen by a hash of their text; at most half of all. With `data.num_val` it is
    those that no optimizer sees."""

    @field_validator("optimizers", mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


class RunSettings(_Settings):
    """Everything one `drpo compile` needs to know.

    Example:
        >>> settings = load_settings("paper", ["lms.task.model=openai/gpt-4.1-mini", "seed=7"])
        >>> settings.lms.task.model, settings.seed
        ('openai/gpt-4.1-mini', 7)
    """

    auto: Literal["light", "medium", "heavy", "paper"] | None = "light"
    """What fills the arguments below that are null. `paper`: the official search. null: nothing fills them."""
    beam_size: _Positive | None = None
    """Instructions kept per level."""
    n_actions: _Positive | None = None
    """Rewrites per kept instruction."""
    depth: _Positive | None = None
    """Levels of rewriting; in the paper's search the levels, the start included."""
    max_depth_increase: _Whole | None = None
    """Levels added at most for queries that turned out too easy; only the paper's search has this."""
    minibatch_size: _Positive | None = None
    """Queries that the winner of a level is judged on; the paper's search has 1."""
    temperature: Annotated[float, Field(ge=0.0, le=2.0), BeforeValidator(_number)] | None = None
    """Sampling temperature of the rewrites."""
    k: _Whole | None = None
    """Demonstrations retrieved per query. 0: none are shown, and none are collected."""
    optimize_demos: bool | None = None
    """Whether demonstrations are collected and improved. null: yes, but not in the paper's search."""
    demo_iters: _Whole | None = None
    """Rewrites per demonstration at most."""
    rewrite_given_demos: bool = False
    """Whether the demonstrations of `data.demos` may be rewritten too; the paper's search does it in any case."""
    select: Literal["beam", "greedy", "pareto", "mc"] | None = None
    """Which instructions go on to the next level. null: `beam`. Not in the paper's search."""
    credit: Literal["trace", "round_robin", "all"] = "trace"
    """Which predictors of a program a level rewrites; a `Responder` has one. Not in the paper's search."""
    on_no_gain: Literal["seed", "best"] = "seed"
    """What is returned if the held-out prompts show no significant gain. Not in the paper's search."""
    call_timeout: Annotated[float, Field(gt=0.0), BeforeValidator(_number)] | None = 600.0
    """Seconds after which an LM call is given up, its retries included. null: no limit."""
    outage_patience: Annotated[float, Field(ge=0.0), BeforeValidator(_number)] = 300.0
    """Seconds without any answer of a model, though it is asked again and again, after which the run ends; it can be
    resumed."""
    max_lm_calls: _Caps[_Positive] | None = None
    """The run ends gracefully before it makes more calls than this, all roles together; or caps by role:
    `{judge: 500, run: 2000}`. null: no cap."""
    max_tokens: _Caps[_Positive] | None = None
    """The same for tokens, read and written. The longest reply is `lms.<role>.max_tokens`."""
    max_cost: _Caps[_Amount] | None = None
    """The same for money, in dollars."""
    max_seconds: _Caps[_Amount] | None = None
    """The same for time since the run began or was resumed; for a role, the sum of its calls' durations."""
    num_threads: Annotated[_Positive, Field(le=1024)] | None = None
    """Calls in flight at a time. The result does not depend on it."""
    max_errors: _Positive | None = None
    """Failures of the program after which the run stops."""
    seed: Annotated[_Whole, Field(lt=2**32)] = 0
    """Makes a run repeatable."""
    lms: LMsSettings
    """The models, by role."""
    data: Annotated[DataSettings, BeforeValidator(_section)] = DataSettings()
    """The prompts and the demonstrations."""
    program: Annotated[ProgramSettings, BeforeValidator(_section)] = ProgramSettings()
    """The program that is compiled."""
    reward: Annotated[RewardSettings, BeforeValidator(_section)] = RewardSettings()
    """How answers are judged."""
    tune: Annotated[TuneSettings, BeforeValidator(_section)] = TuneSettings()
    """What `drpo tune` does; a compile does not read it."""
    compare: Annotated[CompareSettings, BeforeValidator(_section)] = CompareSettings()
    """What `drpo compare` does beside."""
    world: str | None = Field(default=None, min_length=1)
    """Where simulated models (`sim/base`, ...) live: a preset, `random-<seed>` or a file. null: the calibrated one."""
    serve: Annotated[dict[str, ServerSettings], BeforeValidator(_section)] = Field(default_factory=dict)
    """Local vLLM servers, by a name of yours that roles refer to as `server: <name>`."""

    @model_validator(mode="after")
    def _fit_together(self) -> RunSettings:
        if lines := list(disagreements(self)):
            raise ValueError("\n".join(lines))
        return self

    @property
    def is_simulated(self) -> bool:
        """Whether any role is played by a simulated model."""
        return any(lm.model.startswith(SIMULATED) for _, lm in self.lms.roles())

    def check_environment(self, environment: Mapping[str, str] | None = None) -> None:
        """Refuse a run whose keys are not in the environment.

        Args:
            environment: Where to look. None: the process's own environment.

        Raises:
            ConfigError: One line per role whose `api_key_env` names a variable that is unset or blank.
        """
        environment = os.environ if environment is None else environment
        missing = [
            f"lms.{role}.api_key_env: the environment has no variable {lm.api_key_env!r}; export it, or name another"
            for role, lm in self.lms.roles()
            if lm.api_key_env is not None and not environment.get(lm.api_key_env, "").strip()
        ]
        if missing:
            raise ConfigError("\n".join(missing))

    def as_dict(self) -> dict[str, Any]:
        """Return every setting as plain JSON data, with what looks like a secret hidden."""
        settings: dict[str, Any] = redacted(self.model_dump(mode="json"))
        return settings


def load_settings(source: Path | str, overrides: Sequence[str] = ()) -> RunSettings:
    """Return the settings of a config file or a preset, checked.

    Relative paths in a file are relative to its folder; in a preset and in overrides, to the current folder. A model
    of `serve:` is a path if it begins with `.`, `~` or `/`, else a Hugging Face id.

    Args:
        source: A path, or as text the name of a preset: see `preset_names`. `./paper` and `Path("paper")` are paths.
        overrides: `key=value` texts with dotted keys and YAML values, applied in order: `lms.task.temperature=0.5`.

    Raises:
        ConfigError: One line per problem: the key, its value, what is allowed.

    Example:
        >>> load_settings("paper", ["beam_size=3"]).beam_size
        3
    """
    label, text, folder = _read(source)
    settings = read_mapping(text, label)
    absolute_paths(settings, folder)
    for override in overrides:
        spell_out_roles(settings)
        apply_override(settings, override)
    absolute_paths(settings, Path.cwd())
    spell_out_roles(settings)
    name_served_models(settings)
    try:
        return RunSettings.model_validate(settings)
    except ValidationError as error:
        found = problems(error, RunSettings, settings)
        raise ConfigError("\n".join(f"{label}: {line}" for line in found)) from None


def preset_names() -> tuple[str, ...]:
    """Return the names of the presets that come with the package, sorted."""
    files = resources.files(__package__).iterdir()
    return tuple(sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml")))


def settings_schema() -> dict[str, Any]:
    """Return the JSON schema of a config, for editors that check and complete YAML."""
    schema = RunSettings.model_json_schema()
    definition = schema["$defs"]["LMSettings"]
    definition.pop("required", None)  # `server` names the model too
    schema["$defs"]["LMSettings"] = {
        "anyOf": [{"type": "string", "description": "A LiteLLM model string."}, definition]
    }
    return schema


def _read(source: Path | str) -> tuple[str, str, Path]:
    """Return what messages call a config, its text, and the folder that its relative paths start from."""
    name = str(source)
    presets = preset_names()
    if isinstance(source, str) and name in presets:
        text = resources.files(__package__).joinpath(f"{name}.yaml").read_text(encoding="utf-8")
        return f"preset {name}", text, Path.cwd()
    path = Path(source)
    try:
        path = path.expanduser().absolute()
        return name, path.read_text(encoding="utf-8-sig"), path.parent
    except FileNotFoundError:
        near = suggestion(path.name.removesuffix(".yaml"), presets)
        meant = f"did you mean the preset {near!r}? " if near else ""
        raise ConfigError(f"config {name!r}: no such file; {meant}presets: {', '.join(presets)}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"config {name!r}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except (OSError, ValueError, RuntimeError) as error:  # a NUL byte in the name; `~nobody`
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"config {name!r}: cannot be read: {reason}") from None


def _fields(signature: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    import dspy  # the settings themselves are cheap to import

    try:
        parsed = dspy.Signature(signature)
    except (ValueError, TypeError, SyntaxError) as error:
        raise ValueError(
            f"must be a DSPy signature such as 'query -> response' ({' '.join(str(error).split())})"
        ) from None
    return tuple(parsed.input_fields), tuple(parsed.output_fields)
