"""The errors of `drpo`: one tree, each class also the standard error it replaces.

    DRPOError
    ├── ConfigError (ValueError)              a setting, an argument or a config file is wrong
    ├── DataError (ValueError)                a prompts or demonstrations file cannot be used
    ├── ProgramFileError (ValueError)         a saved program cannot be read
    │   └── ProgramStructureError (KeyError)  it was saved from a program of another structure
    ├── MissingJudgementError (ValueError)    no criterion of an answer could be judged
    ├── JudgeError (RuntimeError)             judgements fail so often that the run means nothing
    ├── ProgramFailureError (RuntimeError)    the student failed `max_errors` times
    ├── BudgetExceededError (RuntimeError)    a cap on calls, tokens or cost stops the next call
    ├── RunDirectoryError (RuntimeError)      a run directory is damaged, in use, or of another run
    ├── ServerError (RuntimeError)            a local model server did not start, or died
    └── MissingDependencyError (ImportError)  an optional package is not installed

A message names the argument, its value and the remedy. Errors of the LMs themselves stay what DSPy makes of them
(`dspy.utils.exceptions.LMError` and its children): an outage is never a score, so it is never caught here.
"""


class DRPOError(Exception):
    """Base class of every error that `drpo` raises on purpose."""


class ConfigError(DRPOError, ValueError):
    """A setting, an argument or a config file is wrong."""


class DataError(DRPOError, ValueError):
    """A file of prompts or demonstrations is missing, empty or unreadable."""


class ProgramFileError(DRPOError, ValueError):
    """A saved program is missing, truncated or of an unknown format version."""


class ProgramStructureError(ProgramFileError, KeyError):
    """A saved program has other predictors than the program it is loaded into."""

    __str__ = Exception.__str__  # KeyError would quote the message


class MissingJudgementError(DRPOError, ValueError):
    """No criterion of one answer could be judged, so it has no reward."""


class JudgeError(DRPOError, RuntimeError):
    """So many judgements are missing that going on would spend money on nothing."""


class ProgramFailureError(DRPOError, RuntimeError):
    """The student program failed as often as `max_errors` allows."""


class BudgetExceededError(DRPOError, RuntimeError):
    """A cap on LM calls, tokens or cost forbids the next call."""


class RunDirectoryError(DRPOError, RuntimeError):
    """A run directory is damaged, in use by another process, or belongs to another run."""


class ServerError(DRPOError, RuntimeError):
    """A local model server did not start, or died while it was needed."""


class MissingDependencyError(DRPOError, ImportError):
    """An optional package is needed for what was asked and is not installed."""
