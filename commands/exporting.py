"""What `drpo export` and `drpo diff` do: a program's prompt for use elsewhere, its lock, and two programs compared."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import dspy

from ..configs.settings import load_settings
from ..errors import ConfigError
from ..programs.loading import load
from ..reports.export.bundle import UNKNOWN, Bundle
from ..reports.export.formats import FORMATS, FormatName
from ..reports.export.lock import FORMAT, Check, checked, lock_data
from ..reports.run_files import PROGRAM, RunFiles
from ..serving.settings import LMSettings

_BODY = ("model", "model_type", "temperature", "max_tokens", "top_p", "seed", "structured_output", "string_limit",
         "extra_body")  # fmt: skip
"""What a request's body depends on."""


def model_of(
    program: Path, *, config: str | None = None, model: str | None = None, model_type: str | None = None
) -> LMSettings | None:
    """Return the model that a program's requests are for; None if nobody says it.

    Args:
        program: The program's file; beside a run's `program.json` its config says the model.
        config: In its place the config whose `lms.task` is meant.
        model: In its place a LiteLLM model string.
        model_type: In its place `chat` or `text`.

    Raises:
        ConfigError: If config and model are given, or the type is another.
    """
    if config is not None and model is not None:
        raise ConfigError("give either --config or --model, not both")
    if model_type not in (None, "chat", "text"):
        raise ConfigError(f"--model-type {model_type!r}: choose chat or text")
    told: Mapping[str, Any] | None = None
    if config is not None:
        told = load_settings(config).as_dict()["lms"]["task"]
    elif model is not None:
        told = {"model": model}
    elif run := RunFiles.beside(program).config:
        told = ((run.get("settings") or {}).get("lms") or run.get("lms") or {}).get("task")
    if told is None:
        return None if model_type is None else _of_type(UNKNOWN, model_type)
    settings = LMSettings(**{name: told[name] for name in _BODY if told.get(name) is not None})
    return settings if model_type is None else _of_type(settings, model_type)


def export(path: Path, *, format_: FormatName, query: str | None = None, settings: LMSettings | None = None) -> str:
    """Return a saved program's prompt in one of the formats.

    Args:
        path: The program, or the run directory with it.
        format_: What it is for.
        query: What is asked; a JSON object if the program has several inputs. None: placeholders.
        settings: The model that is sent to.
    """
    program = load(program_file(path))
    inputs = None if query is None else _inputs(program, query)
    return FORMATS[format_](Bundle(program, settings=settings, inputs=inputs))


def lock_of(path: Path, lock: Path, *, settings: LMSettings | None) -> dict[str, Any]:
    """Return what a lock at a place says of a program."""
    file = program_file(path)
    bundles = _bundles(load(file), settings)
    told = lock_data(os.path.relpath(file, lock.absolute().parent), bundles, RunFiles.beside(file))
    as_saved: dict[str, Any] = json.loads(json.dumps(told))
    return as_saved


def check(lock: Path, path: Path | None, *, settings: LMSettings | None) -> Check:
    """Return what differs between a lock and a program.

    Args:
        lock: The lock's file.
        path: The program. None: the one that the lock names.
        settings: The model that is sent to. None: as the run, or else the lock, says.

    Raises:
        ConfigError: If the lock is none, or of another version.
    """
    locked = _read(lock)
    file = program_file(path or lock.parent / str(locked["program"]))
    known = settings or model_of(file)
    if known is None:
        types = {prompt.get("model_type") for prompt in locked["prompt"].values()}
        known = _of_type(UNKNOWN, "text" if types == {"text"} else "chat")
    return checked(locked, lock_of(file, lock, settings=known))


def program_file(path: Path) -> Path:
    """Return the program's file of a run directory; a file is returned as it is.

    Raises:
        ConfigError: If there is no program in the directory.
    """
    if not path.is_dir():
        return path
    if not (path / PROGRAM).exists():
        raise ConfigError(f"{str(path)!r}: there is no {PROGRAM} in it; is it a run directory, and is it finished?")
    return path / PROGRAM


def _bundles(program: dspy.Module, settings: LMSettings | None) -> list[Bundle]:
    return [Bundle(program, predictor=name, settings=settings) for name, _ in program.named_predictors()]


def _inputs(program: dspy.Module, query: str) -> dict[str, Any]:
    names = list(program.respond.signature.input_fields)
    if len(names) == 1:
        return {names[0]: query}
    try:
        values = json.loads(query)
    except ValueError:
        values = None
    if not isinstance(values, dict) or set(values) != set(names):
        raise ConfigError(f"--query {query[:60]!r}: this program has the inputs {names!r}; give them as a JSON object")
    return values


def _of_type(settings: LMSettings, model_type: str) -> LMSettings:
    kind: Literal["chat", "text"] = "text" if model_type == "text" else "chat"
    return settings.model_copy(update={"model_type": kind})


def _read(lock: Path) -> dict[str, Any]:
    try:
        data = json.loads(lock.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"--check {str(lock)!r}: cannot be read ({error}); make it anew by --lock") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT or not isinstance(data.get("prompt"), dict):
        raise ConfigError(f"--check {str(lock)!r}: is no prompt lock of this version; make it anew by --lock")
    return data
