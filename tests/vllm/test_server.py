"""The manager of local servers with a real vLLM and a real model; see `make vllm-env`."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drpo.errors import ServerError
from drpo.serving.settings import ServerSettings
from drpo.serving.vllm import VLLMServer, already_running

pytestmark = pytest.mark.vllm

ROOT = Path(__file__).parents[2]
PYTHON = Path(os.environ.get("DRPO_VLLM_PYTHON", ROOT / ".venv-vllm/bin/python"))
MODEL = Path(os.environ.get("DRPO_VLLM_MODEL", ROOT / ".models/SmolLM2-135M-Instruct"))


def settings(**changes: object) -> ServerSettings:
    for path in (PYTHON, MODEL):
        if not path.exists():
            pytest.fail(f"{path} is missing: run `make vllm-env` first (or set DRPO_VLLM_PYTHON and DRPO_VLLM_MODEL)")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    values = {
        "model": str(MODEL),
        "served_model_name": "smollm2",
        "python": PYTHON,
        "port": port,
        "max_model_len": 4096,
        "enforce_eager": True,
        "startup_timeout": 300.0,
        "environment": {
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_CPU_OMP_THREADS_BIND": f"0-{(os.cpu_count() or 1) - 1}",
            "HF_HUB_OFFLINE": "1",
        },
    }
    return ServerSettings.model_validate(values | changes)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VLLMServer]:
    with VLLMServer(settings(), log_dir=tmp_path_factory.mktemp("logs"), on_progress=print) as running:
        yield running


def complete(server: VLLMServer, text: str) -> dict[str, Any]:
    body = {"model": server.name, "messages": [{"role": "user", "content": text}], "max_tokens": 8}
    request = urllib.request.Request(
        f"{server.api_base}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as reply:
        return json.load(reply)


def group(leader: int) -> set[int]:
    """The running processes of a process group."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, of_group = stat.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(of_group) == leader and state != "Z":
            found.add(int(stat.parent.name))
    return found


def test_answers_and_counts(server: VLLMServer) -> None:
    """A completion is answered; the counters are readable, and a repeated prompt comes out of the prefix cache."""
    assert already_running(server.settings)
    before = server.metrics()
    answers = [complete(server, "Which of these words is a colour? " + "table, blue, seven, " * 60) for _ in range(2)]
    assert all(answer["choices"][0]["message"]["content"] for answer in answers)
    after = server.metrics()
    asked = sum(answer["usage"]["prompt_tokens"] for answer in answers)
    assert after["vllm:prompt_tokens_total"] - before["vllm:prompt_tokens_total"] == asked
    rate = server.prefix_cache_hit_rate(since=before)
    assert rate is not None
    assert 0.3 < rate <= 0.5  # the second of two equal prompts, in whole blocks


def test_running_server_is_not_started_twice(server: VLLMServer) -> None:
    """A second start on the same port says who holds it."""
    with pytest.raises(ServerError, match=f"is taken by process {server.pid} "):
        VLLMServer(server.settings).start()


@pytest.mark.parametrize("moment", ["starting", "ready after"])
def test_kill_9_of_our_process_leaves_no_server(moment: str, tmp_path: Path) -> None:
    """When the process that started the server is killed, all the server's processes end within 20 seconds."""
    (tmp_path / "settings.json").write_text(settings().model_dump_json())
    ours = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from drpo.serving.settings import ServerSettings
        from drpo.serving.vllm import VLLMServer
        settings = ServerSettings.model_validate_json(Path("settings.json").read_text())
        server = VLLMServer(settings, log_dir=Path(), on_progress=lambda line: print(server.pid, line, flush=True))
        server.start()
        time.sleep(600)
    """)
    with subprocess.Popen([sys.executable, "-c", ours], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                leader = int(line.split()[0])
                if moment in line:
                    break
            else:
                pytest.fail("our process ended by itself")
            if moment == "starting":
                time.sleep(12)  # until vLLM's own child processes begin to come up
            else:
                assert len(group(leader)) >= 3  # API server, engine core, worker
        finally:
            process.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        while left := group(leader):
            assert time.monotonic() - killed < 20, f"still running after 20 s: {left}"
            time.sleep(0.1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"environment": {"VLLM_CPU_KVCACHE_SPACE": "100000"}}, "memory is short.*VLLM_CPU_KVCACHE_SPACE"),
        (
            {"model": "no-such-owner/no-such-model", "environment": {"HF_HUB_OFFLINE": "1"}},
            "'no-such-owner/no-such-model' is neither a local folder nor .* Hugging Face",
        ),
        ({"extra_args": ("--no-such-option",)}, r"serve\.judge\.extra_args"),
    ],
    ids=["memory", "model", "argument"],
)
def test_failures_are_explained(changes: dict[str, object], words: str, tmp_path: Path) -> None:
    """What this vLLM really says when it cannot start is recognised."""
    with pytest.raises(ServerError, match=rf"(?s){words}"):
        VLLMServer(settings(**changes), entry="judge", log_dir=tmp_path).start()
