"""Kill -9 at random moments, over HTTP with faults: a small version of `benchmarks/kills.py`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("search", ["default", "paper", "compare"])
def test_killed_runs_end_as_the_one_that_was_left_alone(search: str, tmp_path: Path) -> None:
    """Program, result and trace are equal byte by byte, and no reply on record is asked for again."""
    script = Path(__file__).parents[1] / "benchmarks" / "kills.py"
    out = tmp_path / "kills.json"
    command = [sys.executable, str(script), "--kills", "3", "--search", search, "--json", str(out)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())["searches"][0]
    assert found["kills"] == 3
    assert found["different"] == []
    assert found["asked_again"] == 0
    assert found["faults"] > 0
