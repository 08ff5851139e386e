"""Copying a program and replacing its predictors, wherever they stand."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import dspy

from ..errors import ConfigError

_RUNTIME = frozenset({"history", "callbacks"})
"""Attributes of a module that its copies begin without, as in DSPy."""


def copied(program: dspy.Module) -> dspy.Module:
    """Return a copy of a program that shares no predictor with it, but its LMs, and what cannot be copied at all.

    `Module.deepcopy` copies attribute by attribute once it meets a lock or a client. A predictor under two names then
    becomes two, and predictors in a list beside such an object stay those of the original, which a change would reach.
    It copies LMs too: with their history, with callbacks that would count apart, with an engine that may hold a model.

    Args:
        program: Any program; it is untouched.

    Raises:
        ConfigError: If even so it cannot be copied.
    """
    lms = {id(predictor.lm): predictor.lm for _, predictor in program.named_sub_modules(dspy.Predict) if predictor.lm}
    try:
        return copy.deepcopy(program, dict(lms))
    except Exception:  # whatever a foreign object raises
        shared = lms | {id(value): value for value in _uncopyable(program)}
    try:
        return copy.deepcopy(program, shared)
    except Exception as error:
        raise ConfigError(
            f"student={type(program).__name__}: it cannot be copied ({type(error).__name__}: {error}); let the class "
            "of the object that refuses define __deepcopy__"
        ) from error


def replace_predictors(program: dspy.Module, replace: Callable[[str, dspy.Predict], dspy.Predict]) -> dspy.Module:
    """Return a copy of a program with each predictor replaced, wherever it stands, in lists and dicts too.

    Args:
        program: The program; a bare `dspy.Predict` is its own only predictor.
        replace: From a predictor's name and the predictor to what takes its place; the same object keeps it.
    """
    result = copied(program)
    new = {id(predictor): replace(name, predictor) for name, predictor in result.named_predictors()}
    if isinstance(result, dspy.Predict):
        return new[id(result)]
    for _, module in result.named_sub_modules():
        for attribute, value in list(vars(module).items()):
            swapped = _swapped(value, new)
            if swapped is not value:
                setattr(module, attribute, swapped)
    return result


def _swapped(value: object, new: Mapping[int, dspy.Predict]) -> object:
    # By identity: one predictor may stand under several names and must stay one.
    if id(value) in new:
        return new[id(value)]
    if isinstance(value, (list, tuple)) and any(id(item) in new for item in value):
        return type(value)(new.get(id(item), item) for item in value)
    if isinstance(value, dict) and any(id(item) in new for item in value.values()):
        return {key: new.get(id(item), item) for key, item in value.items()}
    return value


def _uncopyable(program: dspy.Module) -> Iterator[Any]:
    """Yield the objects of a program's modules that no copy can be made of."""
    for _, module in program.named_sub_modules():
        for name, value in vars(module).items():
            if name not in _RUNTIME:
                yield from _uncopyable_in(value)


def _uncopyable_in(value: object) -> Iterator[Any]:
    if isinstance(value, dspy.Module):  # looked into on its own
        return
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _uncopyable_in(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _uncopyable_in(item)
    else:
        try:
            copy.deepcopy(value)
        except Exception:
            yield value
