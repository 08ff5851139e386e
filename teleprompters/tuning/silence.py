"""Optuna's warnings of what is done here on purpose."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Optuna from warning of what is done here on purpose: heartbeats beside `ask`, experimental arguments."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
