"""What commands say: steps, JSON, and errors as one line with an exit code."""

from __future__ import annotations

import json
import sys
from typing import Any

from ..errors import (
    ConfigError,
    DataError,
    DRPOError,
    MissingDependencyError,
    ProgramFileError,
    RunDirectoryError,
)

_MISTAKES = (ConfigError, DataError, MissingDependencyError, ProgramFileError, RunDirectoryError, NotImplementedError)

RESUME = "go on by `drpo resume DIR`, or by the same command with the same --log-dir"


def fail(error: Exception, *, remedy: str = RESUME) -> int:
    """Print an error as one line per problem, and return the exit code.

    Args:
        error: What ended the command.
        remedy: What to do once a model that could not be reached answers again.
    """
    if isinstance(error, _MISTAKES):
        return say_error(str(error), 2)
    if isinstance(error, DRPOError):
        return say_error(str(error), 1)
    from dspy.utils.exceptions import (
        LMAuthError,
        LMConfigurationError,
        LMError,
        LMUnsupportedModelError,
    )

    said = str(error).strip().partition("\n")[0]  # DSPy adds lines of advice for those who call it from Python
    if isinstance(error, LMAuthError):
        return say_error(f"the model's server refuses the key: {said}; set the variable that api_key_env names", 2)
    if isinstance(error, (LMConfigurationError, LMUnsupportedModelError)):
        return say_error(f"the model cannot be used: {said}; check lms.<role>.model and api_base", 2)
    if isinstance(error, LMError):
        return say_error(f"a model cannot be reached: {said}; {remedy}", 1)
    raise error


def say_error(text: str, code: int) -> int:
    """Print a line on the standard error stream, and return the exit code."""
    from ..programs.boundary import visible

    print(f"drpo: {visible(text)}", file=sys.stderr)  # it may quote a model or a file
    return code


def print_json(data: dict[str, Any]) -> None:
    """Print data for a script to read."""
    # A model's text may hold characters that a terminal obeys; programs that read JSON get them as they are.
    print(json.dumps(data, ensure_ascii=sys.stdout.isatty(), indent=2))


def say_to(quiet: bool) -> Any:
    """Return what prints a step on the standard error stream, or nothing at all."""
    return (lambda text: None) if quiet else (lambda text: print(text, file=sys.stderr, flush=True))
