"""Replacing the predictors of a program, wherever they stand."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import dspy


def replace_predictors(program: dspy.Module, replace: Callable[[str, dspy.Predict], dspy.Predict]) -> dspy.Module:
    """Return a copy of a program with each predictor replaced, wherever it stands, in lists and dicts too.

    Args:
        program: The program; a bare `dspy.Predict` is its own only predictor.
        replace: From a predictor's name and the predictor to what takes its place; the same object keeps it.
    """
    copied = program.deepcopy()
    new = {id(predictor): replace(name, predictor) for name, predictor in copied.named_predictors()}
    if isinstance(copied, dspy.Predict):
        return new[id(copied)]
    for _, module in copied.named_sub_modules(skip_compiled=True):
        for attribute, value in list(vars(module).items()):
            swapped = _swapped(value, new)
            if swapped is not value:
                setattr(module, attribute, swapped)
    return copied


def _swapped(value: object, new: Mapping[int, dspy.Predict]) -> object:
    # By identity: one predictor may stand under several names and must stay one.
    if id(value) in new:
        return new[id(value)]
    if isinstance(value, (list, tuple)) and any(id(item) in new for item in value):
        return type(value)(new.get(id(item), item) for item in value)
    if isinstance(value, dict) and any(id(item) in new for item in value.values()):
        return {key: new.get(id(item), item) for key, item in value.items()}
    return value
