"""Databases that wait for no disk."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine


@pytest.fixture(autouse=True)
def unsynced_databases() -> Iterator[None]:
    """Leave SQLite's files to the system's cache: only a power cut would tell."""

    def connected(connection: Any, record: object) -> None:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = MEMORY")

    event.listen(Engine, "connect", connected)
    yield
    event.remove(Engine, "connect", connected)
