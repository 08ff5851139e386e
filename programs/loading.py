"""Loading a compiled program: the structure is rebuilt, and what does not fit is said instead of half loaded."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import dspy

from ..errors import ConfigError, ProgramFileError, ProgramStructureError
from .encoders import Encoder
from .lm_state import LM_ENTRIES
from .replacing import copied, replace_predictors
from .responder import ABOUT, Responder
from .retrieval import RetrievingPredict, retrieving

logger = logging.getLogger(__name__)


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
    state = read_state(Path(path))
    try:
        return _loaded(state, student, encoder)
    except ProgramFileError as error:
        raise type(error)(f"{str(path)!r}: {error}") from error.__cause__
    except ConfigError:
        raise
    except Exception as error:  # DSPy raises whatever a foreign state runs into
        raise ProgramFileError(
            f"{str(path)!r}: its state cannot be used ({type(error).__name__}: {error}); save the program again"
        ) from error


def _loaded(state: dict[str, Any], student: dspy.Module | None, encoder: Encoder | str | None) -> dspy.Module:
    program = Responder.from_state(state, encoder=encoder) if student is None else copied(student)
    states = _predictor_states(state, program)
    expected = {name for name, _ in program.named_parameters()}
    if set(states) != expected:
        raise ProgramStructureError(
            f"was saved from a program with the predictors {sorted(states)}, and this one has {sorted(expected)}; give "
            "load(..., student=...) a program of the saved structure"
        )
    for name, predictor in program.named_parameters():
        _check(states[name], predictor, name)
    program = _made_retrieving(program, states, encoder)
    if type(program).load_state is not dspy.Module.load_state:
        program.load_state(state)
    else:
        # DSPy would first try it on a copy that it makes itself, and fails where it cannot make one; ours is a copy.
        for name, predictor in program.named_parameters():
            predictor.load_state(states[name])
    return program


def read_state(path: Path) -> dict[str, Any]:
    """Return what a saved program's file holds, without DSPy's `metadata`.

    Raises:
        ProgramFileError: If the file is missing, no JSON, truncated, or no saved program.
    """
    if path.suffix != ".json":
        raise ProgramFileError(
            f"{str(path)!r}: programs are read from .json files only, since pickles run code when loaded"
        )
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProgramFileError(f"{str(path)!r}: cannot be read ({error.strerror or error}); check the path") from error
    except (ValueError, RecursionError) as error:
        raise ProgramFileError(f"{str(path)!r}: is no JSON, or is cut off ({error}); save the program again") from error
    if not isinstance(state, dict) or not isinstance(state.pop("metadata", None), dict):
        raise ProgramFileError(f"{str(path)!r}: is not a saved DSPy program (it has no 'metadata')")
    return state


def _predictor_states(state: dict[str, Any], program: dspy.Module) -> dict[str, Any]:
    """Return the part of each predictor; that of a program which is a predictor itself is the whole state."""
    if isinstance(state.get("traces"), list):
        return {"self": state}
    about = {ABOUT} if isinstance(program, Responder) else set()
    return {name: part for name, part in state.items() if name not in about}


def _check(state: Any, predictor: Any, name: str) -> None:
    """Raise unless a predictor's part of the state is what DSPy can load; drop what would lead its LM elsewhere."""
    if not isinstance(state, dict):
        raise ProgramFileError(f"the predictor {name!r} has no state; save the program again")
    if type(predictor).load_state not in (dspy.Predict.load_state, RetrievingPredict.load_state):
        return  # a class of the user's, which knows what it saved
    # DSPy sets every other entry as an attribute: `config` would change where and how each call is sent.
    foreign = sorted(set(state) - {"traces", "train", "demos", "signature", "fields", "lm", "retrieval"})
    if foreign:
        raise ProgramFileError(f"the predictor {name!r} has the entries {foreign}, which no saved predictor has")
    demos = state.get("demos")
    if not isinstance(demos, list) or not all(isinstance(demo, dict) for demo in demos):
        raise ProgramFileError(f"the predictor {name!r} has damaged demonstrations; save the program again")
    signature = state.get("signature")
    if not isinstance(signature, dict) or not isinstance(signature.get("instructions"), str):
        raise ProgramFileError(f"the predictor {name!r} has no instruction; save the program again")
    saved, own = len(signature.get("fields") or ()), len(predictor.signature.fields)
    if saved != own:
        raise ProgramStructureError(f"the predictor {name!r} was saved with {saved} fields, and has {own} here")
    if isinstance(state.get("lm"), dict):
        foreign = sorted(set(state["lm"]) - LM_ENTRIES - {"launch_kwargs", "train_kwargs"})
        state["lm"] = {key: value for key, value in state["lm"].items() if key in LM_ENTRIES}
        if foreign:
            logger.warning("The LM of the predictor %r is loaded without %s: give it an LM of your own.", name, foreign)


def _made_retrieving(program: dspy.Module, states: dict[str, Any], encoder: Encoder | str | None) -> dspy.Module:
    """Return the program, retrieving wherever the state has a pool: a plain predictor would drop it."""

    def replace(name: str, predictor: dspy.Predict) -> dspy.Predict:
        if isinstance(predictor, RetrievingPredict) or "retrieval" not in states[name]:
            return predictor
        return retrieving(predictor, k=0, encoder=encoder)

    return replace_predictors(program, replace)
