"""Servers that run until somebody says stop: the working part of `drpo serve`."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from .settings import ServerSettings
from .vllm import VLLMServers

_POLL_SECONDS = 0.2


def serve_forever(
    servers: Mapping[str, ServerSettings],
    *,
    log_dir: Path | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> None:
    """Start the servers and keep them until Ctrl-C or SIGTERM, then stop them.

    Args:
        servers: Name under `serve:` -> settings.
        log_dir: Folder of the log files. None: a new temporary folder each.
        on_progress: Called with one line of text per event: starting, address and log of each server, stopping.

    Raises:
        ConfigError, MissingDependencyError: A setting is wrong, or vLLM is not installed.
        ServerError: A server did not start, or died later; the others are stopped first.

    Example:
        >>> serve_forever({"small": ServerSettings(model="org/small")}, on_progress=print)  # doctest: +SKIP
    """
    say = on_progress or (lambda _: None)
    with ExitStack() as stack:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                stack.callback(signal.signal, number, signal.signal(number, _interrupt))
        try:
            with VLLMServers(servers, log_dir=log_dir, on_progress=on_progress, reuse=False) as running:
                for name, server in running.items():
                    say(f"{name}: serving {server.name} at {server.api_base} (log: {server.log_path})")
                say("Ctrl-C stops.")
                try:
                    while True:
                        running.check()
                        time.sleep(_POLL_SECONDS)
                finally:
                    say("Stopping.")
        except KeyboardInterrupt:
            say("Stopped.")


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
