"""Local vLLM servers as context managers: started, waited for, read, and gone when we are gone.

A server runs under `supervisor.py`, which ends it when this process ends in whatever way. Everything that can be
known to fail is checked before vLLM is started (`vllm_command.py`); what fails later is explained from its log
(`vllm_failures.py`).
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from ..errors import ConfigError, ServerError
from .settings import ServerSettings
from .vllm_command import check_before_start, server_command, server_environment
from .vllm_endpoint import already_running, answers, offered_models, read_page
from .vllm_failures import clean_text, explain_failure
from .vllm_metrics import parse_metrics, prefix_cache_hit_rate

SUPERVISOR = Path(__file__).with_name("supervisor.py")
STOP_SECONDS = 5.0
"""How long a server may take to end on request before it is killed; vLLM needs 2, and ignores it while starting."""
PROGRESS_SECONDS = 5.0
"""How often a starting server is reported."""
_POLL_SECONDS = 0.2
_LOG_END = 200_000  # bytes of the log that are read to explain a failure

Progress = Callable[[str], None]

__all__ = ["Progress", "VLLMServer", "VLLMServers", "already_running"]


class VLLMServer:
    """One local vLLM process.

    Args:
        settings: What to serve and where.
        entry: Its name under `serve:` in a config, for messages. None: the served name.
        log_dir: Folder of the log file `vllm-<name>-<port>.log`, made if missing. None: a new temporary folder.
        on_progress: Called with one line of text every few seconds while the server starts.
        reuse: Whether a server that already answers at the address with this model is used, and left running.

    Raises:
        ConfigError, MissingDependencyError, ServerError: From `start`, as `check_before_start` says, or because the
            server died or did not answer within `settings.startup_timeout` seconds.

    Example:
        >>> with VLLMServer(ServerSettings(model="org/small")) as server:  # doctest: +SKIP
        ...     dspy.LM(f"hosted_vllm/{server.name}", api_base=server.api_base)
    """

    def __init__(
        self,
        settings: ServerSettings,
        *,
        entry: str | None = None,
        log_dir: Path | None = None,
        on_progress: Progress | None = None,
        reuse: bool = False,
    ) -> None:
        self.settings = settings
        self.entry = entry or settings.name
        self.reuse = reuse
        self.log_path: Path | None = None
        """The log file; None before the start, and for a server that somebody else started."""
        self.pid: int | None = None
        """Process id of the server's first process; None when it does not run or is not ours."""
        self._log_dir = log_dir
        self._say = on_progress or (lambda _: None)
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._log_start = 0
        self._started = 0.0
        self._reported = 0.0

    @property
    def name(self) -> str:
        """The name that clients ask for."""
        return self.settings.name

    @property
    def api_base(self) -> str:
        """The address that clients use."""
        return self.settings.api_base

    def start(self) -> Self:
        """Start the server and wait until it answers; does nothing when it already runs."""
        _start_all([self])
        return self

    def stop(self) -> None:
        """End the server and all its processes; does nothing for a server that is not ours."""
        self._ask_to_stop()
        self._wait_until_stopped()

    def check(self) -> None:
        """Raise `ServerError`, with the reason, if the server has died since `start`."""
        if self._supervisor is not None and self._supervisor.poll() is not None:
            raise ServerError(self._explain("died"))

    def metrics(self) -> dict[str, float]:
        """The server's counters since its start: Prometheus name -> sum over label sets.

        Raises:
            ServerError: The server does not answer.
        """
        page = read_page(self.settings, "/metrics")
        if page is None:
            self.check()
            raise ServerError(f"The server {self.entry!r} does not answer at {self.api_base}: is it still running?")
        return parse_metrics(page)

    def prefix_cache_hit_rate(self, since: Mapping[str, float] | None = None) -> float | None:
        """The share, in [0, 1], of prompt tokens found in the prefix cache; None when none was looked up.

        Args:
            since: An earlier `metrics()`; only what came after it counts. None: since the server's start.
        """
        return prefix_cache_hit_rate(self.metrics(), since)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _launch(self) -> bool:
        """Start the processes, without waiting; False when there is nothing to wait for."""
        if self._supervisor is not None:
            self.check()
            return False
        if self.reuse and already_running(self.settings):
            self._say(f"{self.entry}: uses the server that already runs at {self.api_base}")
            return False
        check_before_start(self.settings, entry=self.entry)
        self.log_path = self._open_log()
        self._log_start = self.log_path.stat().st_size
        self._started = self._reported = time.monotonic()
        grace = [str(os.getpid()), str(STOP_SECONDS), str(self.log_path)]
        # Isolated and without site packages: it needs nothing and starts at once.
        self._supervisor = subprocess.Popen(
            [sys.executable, "-I", "-S", str(SUPERVISOR), *grace, *server_command(self.settings)],
            env=server_environment(self.settings),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in the terminal is ours to handle
        )
        assert self._supervisor.stdout is not None
        with self._supervisor.stdout as first_line:
            self.pid = int(first_line.readline() or 0) or None
        self._say(f"{self.entry}: starting vLLM with {self.settings.model} (log: {self.log_path})")
        return True

    def _open_log(self) -> Path:
        folder = self._log_dir or Path(tempfile.mkdtemp(prefix="drpo-vllm-"))
        path = (folder / f"vllm-{_safe_file_name(self.name)}-{self.settings.port}.log").absolute()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.touch()
        except OSError as error:
            raise ConfigError(f"log_dir={str(folder)!r}: logs cannot be written there ({error.strerror}).") from error
        return path

    def _is_ready(self) -> bool:
        """Whether it answers; raises when it died or took too long, reports now and then."""
        assert self._supervisor is not None
        if self._supervisor.poll() is not None:
            raise ServerError(self._explain("did not start"))
        waited = time.monotonic() - self._started
        # Somebody else may have taken the port meanwhile: then the name is not ours. A refused key tells nothing.
        if answers(self.settings) and self.name in (offered_models(self.settings) or (self.name,)):
            self._say(f"{self.entry}: ready after {waited:.0f} s at {self.api_base} (model name {self.name})")
            return True
        if waited > self.settings.startup_timeout:
            raise ServerError(
                f"The server {self.entry!r} did not answer within {self.settings.startup_timeout:g} s: raise "
                f"serve.{self.entry}.startup_timeout if it is only slow (a first start downloads the model). "
                + self._explain("is not ready")
            )
        if time.monotonic() - self._reported >= PROGRESS_SECONDS:
            self._reported = time.monotonic()
            last = clean_text(self._log_text()).rstrip().rpartition("\n")[2] or "nothing in its log yet"
            self._say(f"{self.entry}: {waited:.0f} s, not ready yet; {last[:120]}")
        return False

    def _explain(self, what: str) -> str:
        code = self._supervisor.poll() if self._supervisor is not None else None
        reason = explain_failure(self._log_text(), entry=self.entry, settings=self.settings, exit_code=code)
        return f"The server {self.entry!r} {what}; {reason}\n  The whole log: {self.log_path}"

    def _log_text(self) -> str:
        """What this start wrote to the log, or the end of it."""
        if self.log_path is None:
            return ""
        with suppress(OSError), self.log_path.open("rb") as log:
            log.seek(max(self._log_start, log.seek(0, os.SEEK_END) - _LOG_END))
            return log.read().decode("utf-8", "replace")
        return ""

    def _ask_to_stop(self) -> None:
        if self._supervisor is not None and self._supervisor.stdin is not None:
            with suppress(OSError):
                self._supervisor.stdin.close()
            self._supervisor.terminate()  # also when a forked child of ours holds the pipe open

    def _wait_until_stopped(self) -> None:
        supervisor, pid = self._supervisor, self.pid
        if supervisor is None:
            return
        try:
            code = supervisor.wait(STOP_SECONDS + 5.0)
        except subprocess.TimeoutExpired:
            supervisor.kill()
            code = supervisor.wait()
        if code < 0 and pid is not None:  # the supervisor was killed, so its work is ours
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
        self._supervisor = self.pid = None


class VLLMServers(Mapping[str, VLLMServer]):
    """Several local vLLM processes, started at once and stopped together; a mapping of name to server.

    Args:
        servers: Name under `serve:` -> settings. Two entries on one port are refused.
        log_dir: Folder of the log files. None: a new temporary folder each.
        on_progress: Called with one line of text every few seconds while servers start.
        reuse: Whether servers that already answer are used, and left running in the end.

    Raises:
        ConfigError: Two entries share a port.

    Example:
        >>> with VLLMServers({"small": ServerSettings(model="org/small")}) as servers:  # doctest: +SKIP
        ...     servers["small"].metrics()
    """

    def __init__(
        self,
        servers: Mapping[str, ServerSettings],
        *,
        log_dir: Path | None = None,
        on_progress: Progress | None = None,
        reuse: bool = True,
    ) -> None:
        by_port: dict[int, str] = {}
        for name, settings in servers.items():
            other = by_port.setdefault(settings.port, name)
            if other != name:
                raise ConfigError(
                    f"serve.{name}.port={settings.port} is also the port of serve.{other}: give each server its own."
                )
        self._servers = {
            name: VLLMServer(settings, entry=name, log_dir=log_dir, on_progress=on_progress, reuse=reuse)
            for name, settings in servers.items()
        }

    def __getitem__(self, name: str) -> VLLMServer:
        return self._servers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._servers)

    def __len__(self) -> int:
        return len(self._servers)

    def start(self) -> Self:
        """Start all servers and wait until each answers; when one fails, stop the others and raise its error."""
        _start_all(list(self.values()))
        return self

    def stop(self) -> None:
        """Stop every server that this object started, all at the same time."""
        _stop_all(list(self.values()))

    def check(self) -> None:
        """Raise `ServerError`, with the reason, if one of the servers has died."""
        for server in self.values():
            server.check()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _start_all(servers: Sequence[VLLMServer]) -> None:
    try:
        waiting = [server for server in servers if server._launch()]
        while waiting := [server for server in waiting if not server._is_ready()]:
            time.sleep(_POLL_SECONDS)
    except BaseException:
        _stop_all(servers)
        raise


def _stop_all(servers: Sequence[VLLMServer]) -> None:
    with ExitStack() as stack:  # each is waited for, whatever happens to the others
        for server in servers:
            server._ask_to_stop()
            stack.callback(server._wait_until_stopped)


def _safe_file_name(name: str) -> str:
    """A file name part made of a model's name, which may hold slashes, dots and anything else."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:80] or "model"
