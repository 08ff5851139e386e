"""What a run directory says of the program in it, as far as its files are there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import RunDirectoryError

PROGRAM = "program.json"
"""The compiled program of a run directory."""


@dataclass(frozen=True)
class RunFiles:
    """The files beside a program; each is empty if it is not there."""

    config: Mapping[str, Any] = field(default_factory=dict)
    """What `config.json` says."""
    result: Mapping[str, Any] = field(default_factory=dict)
    """What `result.json` says."""
    ledger: Mapping[str, Any] = field(default_factory=dict)
    """What `ledger.json` says."""

    @classmethod
    def beside(cls, program: Path) -> RunFiles:
        """Return what stands beside a run's `program.json`; nothing beside a program of another name.

        Raises:
            RunDirectoryError: If a file is damaged.
        """
        folder = program.parent
        if program.name != PROGRAM or not (folder / "config.json").exists():
            return cls()
        return cls(**{name: _read(folder / f"{name}.json") for name in ("config", "result", "ledger")})


def _read(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunDirectoryError(
            f"{file}: cannot be read ({error}); restore it, or copy the program elsewhere"
        ) from None
    if not isinstance(data, dict):
        raise RunDirectoryError(f"{file}: holds no mapping; restore it, or copy the program elsewhere")
    return data
