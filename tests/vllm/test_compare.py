"""A whole comparison on a real vLLM: DRPO, MIPROv2 and COPRO run to their ends, and the server counts what we count."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from drpo.configs.settings import load_settings
from drpo.serving.vllm import VLLMServer

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(2400)]

ROOT = Path(__file__).parents[2]
PYTHON = Path(os.environ.get("DRPO_VLLM_PYTHON", ROOT / ".venv-vllm/bin/python"))
MODEL = Path(os.environ.get("DRPO_VLLM_MODEL", ROOT / ".models/SmolLM2-135M-Instruct"))
OPTIMIZERS = "drpo,miprov2,copro"
BUDGET = 52  # what MIPROv2 needs at least, and a call


def test_a_comparison_runs_to_its_end(tmp_path: Path) -> None:
    """Each optimizer ends with a program or a failure of its own; calls add up to the server's; resuming asks nothing."""
    for path in (PYTHON, MODEL):
        if not path.exists():
            pytest.fail(f"{path} is missing: run `make vllm-env` first (or set DRPO_VLLM_PYTHON and DRPO_VLLM_MODEL)")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    overrides = [
        f"serve.smollm2.{key}={value}" for key, value in (("python", PYTHON), ("model", MODEL), ("port", port))
    ]
    overrides += ["compare.num_test=8", "data.demos=null", "lms.task.max_tokens=48", "k=null"]
    command = [
        sys.executable, "-m", "drpo", "compare", "smollm2", "--optimizers", OPTIMIZERS, "--budget", str(BUDGET), "--seeds", "1",
        "--log-dir", str(tmp_path / "run"), *(word for override in overrides for word in ("--set", override)),
    ]  # fmt: skip

    def run() -> str:
        done = subprocess.run(command, capture_output=True, text=True, timeout=2100, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    with VLLMServer(
        load_settings("smollm2", overrides).serve["smollm2"], log_dir=tmp_path, on_progress=print
    ) as server:
        before = server.metrics().get("vllm:request_success_total", 0.0)
        print(run())
        sent = server.metrics()["vllm:request_success_total"] - before
        result = json.loads((tmp_path / "run/comparison.json").read_text())
        counted = sum(
            sum(part["lm_calls"].values())
            for part in (
                result["criteria"], result["test"],
                *(row for one in result["entrants"].values() for row in one["by_seed"]),
            )
        )  # fmt: skip
        assert counted == sent
        assert set(result["entrants"]) == {"seed", "static", "retrieved", *OPTIMIZERS.split(",")}
        for name, one in result["entrants"].items():
            print(name, one["calls"], [row["failure"] for row in one["by_seed"]])
            assert one["reward"] is not None or one["failures"] == 1
            assert one["calls"] <= BUDGET
        assert not result["simulated"]
        assert (tmp_path / "run/comparison.svg").read_text().startswith("<svg")
        (tmp_path / "run/comparison.json").unlink()
        run()
        assert server.metrics()["vllm:request_success_total"] - before == sent
        assert json.loads((tmp_path / "run/comparison.json").read_text()) == result
