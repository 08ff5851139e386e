"""A config whose models are played by an endpoint on this machine."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zlib
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from endpoint import Endpoint, Reply, Sent

from drpo.__main__ import main

PROMPTS = [
    "How do I start a compost heap?",
    "Explain tides to a child.",
    "Draft a polite reminder.",
    "What is a prime?",
]


def play(sent: Sent) -> Reply:
    """Answer as the model that is asked for; every reply is a function of the request."""
    model, text = sent.body["model"], json.dumps(sent.body["messages"])
    if model == "task":
        return f"A short answer to {sent.body['messages'][-1]['content']!r}."
    asked = sent.body["response_format"]["json_schema"]["schema"]["properties"]
    if "improved_answer" in asked:
        return json.dumps(
            {"analysis": "too short", "improved_answer": f"A longer answer, {zlib.crc32(text.encode()) % 97}."}
        )
    if model == "prompt":
        return json.dumps(
            {"analysis": "too short", "new_instruction": f"Answer well, take {zlib.crc32(text.encode()) % 97}."}
        )
    if "criteria" in asked:
        return json.dumps({"analysis": "simple", "criteria": [{"name": "Clarity", "reason": "", "definition": ""}]})
    return json.dumps({name: {"rationale": "seen", "score": 2 + zlib.crc32(text.encode()) % 3} for name in asked})


@dataclass
class Desk:
    """Where a command is typed."""

    folder: Path
    models: Endpoint

    def config(self, **changes: Any) -> Path:
        """Write a config of a small search over `prompts.txt`."""
        lm = {"api_base": self.models.api_base, "num_retries": 0}
        settings = {
            "auto": "paper", "beam_size": 2, "n_actions": 2, "depth": 3, "max_depth_increase": 1, "num_threads": 4,
            "lms": {role: {"model": f"hosted_vllm/{role}", **lm} for role in ("task", "judge", "prompt")},
            "data": {"prompts": "prompts.txt"},
        }  # fmt: skip
        path = self.folder / "config.yaml"
        path.write_text(yaml.safe_dump({**settings, **changes}))
        return path

    def drpo(self, *arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run the command line as a person would, in the desk's folder, but in this process: a start costs seconds."""
        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.chdir(self.folder)
            patch.setattr("sys.argv", ["drpo", *map(str, arguments)])
            patch.setattr("sys.stdin", io.StringIO(stdin))
            with pytest.raises(SystemExit) as ended:
                main()
        return subprocess.CompletedProcess(sys.argv, ended.value.code or 0, out.getvalue(), err.getvalue())
