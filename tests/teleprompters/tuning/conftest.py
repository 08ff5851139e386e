"""Tunings whose compiles are arithmetic, and databases that wait for no disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine
from tuning_bench import Bench

from drpo.teleprompters.tuning.studies import Pruner, Study


@pytest.fixture(autouse=True)
def unsynced_databases() -> Iterator[None]:
    """Leave SQLite's files to the system's cache: only a power cut would tell."""

    def connected(connection: Any, record: object) -> None:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = MEMORY")

    event.listen(Engine, "connect", connected)
    yield
    event.remove(Engine, "connect", connected)


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with Optuna's tables, which take longer to make than most studies here."""
    folder = tmp_path_factory.mktemp("empty")
    Study(f"sqlite:///{folder / 'study.db'}", "other", identity={}, directory=folder, given=(), seed=0,
          pruner=Pruner.NONE, folds=1)  # fmt: skip
    return folder / "study.db"


@pytest.fixture
def make_bench(tmp_path: Path, empty_database: Path) -> Callable[[str], Bench]:
    def make(name: str) -> Bench:
        (tmp_path / name).mkdir()
        shutil.copy(empty_database, tmp_path / name / "study.db")
        return Bench(tmp_path / name)

    return make


@pytest.fixture
def bench(make_bench: Callable[[str], Bench]) -> Bench:
    return make_bench("bench")
