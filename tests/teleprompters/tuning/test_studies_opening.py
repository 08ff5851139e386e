"""Opening a study's storage while another worker makes its tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest

from drpo.errors import ConfigError
from drpo.teleprompters.tuning import studies


@pytest.mark.filterwarnings("ignore")  # Optuna calls heartbeats experimental; the study itself silences that
def test_tables_that_another_worker_makes_meanwhile_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant: of workers that begin at once none gives up; one that fails for good says so after a few tries."""
    opened, real, says = [0], optuna.storages.RDBStorage, ["table studies already exists"] * 2

    def storage(*args: Any, **options: Any) -> Any:
        opened[0] += 1
        if says:
            raise RuntimeError(says.pop())
        return real(*args, **options)

    monkeypatch.setattr(optuna.storages, "RDBStorage", storage)
    monkeypatch.setattr(studies.time, "sleep", lambda seconds: None)
    url = f"sqlite:///{tmp_path / 'study.db'}"
    assert isinstance(studies._storage(url), real)
    assert opened == [3]
    says += ["table studies already exists"] * studies.OPENINGS
    with pytest.raises(ConfigError, match="already exists"):
        studies._storage(url)
    assert opened == [3 + studies.OPENINGS]
