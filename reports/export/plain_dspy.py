"""`dspy`: the state of a plain `dspy.Predict` with static demonstrations, for `dspy.Predict(signature).load(path)`."""

from __future__ import annotations

import dspy
import orjson
from dspy.utils.saving import get_dependency_versions

from ...programs.demo_index import clean_demos
from .bundle import Bundle


def plain_dspy(bundle: Bundle) -> str:
    """Return the state as DSPy saves it.

    The demonstrations are those that are shown; the adapter is not in a state, and has to be configured.
    """
    predictor = dspy.Predict(bundle.signature)
    predictor.demos = list(clean_demos(bundle.shown, bundle.signature))
    state = {**predictor.dump_state(), "metadata": {"dependency_versions": get_dependency_versions()}}
    return orjson.dumps(state, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()
