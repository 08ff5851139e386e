"""Loading a compiled program: the structure is rebuilt, and what does not fit is said instead of half loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dspy

from ..errors import ProgramFileError, ProgramStructureError
from .encoders import Encoder
from .replacing import replace_predictors
from .responder import Responder
from .retrieval import RetrievingPredict, retrieving


def load(path: Path | str, *, student: dspy.Module | None = None, encoder: Encoder | str | None = None) -> dspy.Module:
    """Return the program that `program.save(path)` wrote as JSON.

    Args:
        path: The file.
        student: A program of the structure that was compiled; it is left as it is. None: a `Responder` is rebuilt.
        encoder: What makes queries comparable, where the file alone cannot say it (an embedding endpoint, for example).

    Raises:
        ProgramFileError: If the file is missing, no JSON, truncated, or of an unknown version.
        ProgramStructureError: If it was saved from a program of another structure.

    Example:
        >>> Responder(instructions="Answer briefly.").save("brief.json")
        >>> load("brief.json").respond.signature.instructions
        'Answer briefly.'
    """
    state = _read(Path(path))
    program = Responder.from_state(state, encoder=encoder) if student is None else student.deepcopy()
    saved = set(state) - {"metadata", "responder"}
    expected = {name for name, _ in program.named_parameters()}
    if saved != expected:
        raise ProgramStructureError(
            f"{path}: was saved from a program with the predictors {sorted(saved)}, and this one has {sorted(expected)}; "
            "give load(..., student=...) a program of the saved structure"
        )
    program = _made_retrieving(program, state, encoder)
    try:
        program.load_state({name: value for name, value in state.items() if name != "metadata"})
    except (ProgramFileError, ProgramStructureError):
        raise
    except Exception as error:  # DSPy raises whatever a foreign state runs into
        raise ProgramFileError(
            f"{path}: its state cannot be used ({type(error).__name__}: {error}); save the program again"
        ) from error
    return program


def _read(path: Path) -> dict[str, Any]:
    if path.suffix != ".json":
        raise ProgramFileError(
            f"{str(path)!r}: programs are read from .json files only, since pickles run code when loaded"
        )
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProgramFileError(f"{str(path)!r}: cannot be read ({error.strerror or error}); check the path") from error
    except ValueError as error:
        raise ProgramFileError(f"{str(path)!r}: is no JSON, or is cut off ({error}); save the program again") from error
    if not isinstance(state, dict) or not isinstance(state.get("metadata"), dict):
        raise ProgramFileError(f"{str(path)!r}: is not a saved DSPy program (it has no 'metadata')")
    return state


def _made_retrieving(program: dspy.Module, state: dict[str, Any], encoder: Encoder | str | None) -> dspy.Module:
    """Return the program with a retrieving predictor wherever the state has one, since a plain one would drop its pool."""

    def replace(name: str, predictor: dspy.Predict) -> dspy.Predict:
        if isinstance(predictor, RetrievingPredict) or "retrieval" not in state[name]:
            return predictor
        return retrieving(predictor, k=0, encoder=encoder)

    return replace_predictors(program, replace)
