"""The simulated models behind a real HTTP server that speaks OpenAI's protocol: starting, finding and stopping it."""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from types import FrameType, TracebackType
from typing import Self

from aiohttp import web

from ...errors import ConfigError, ServerError
from .application import Application, Counts, Models
from .faults import Faults

_PATIENCE = 5.0  # seconds that a stopping server gives the replies under way

# Whatever a stranger sends that is no HTTP is logged with a traceback: for those only who set up logging to see it.
_http_log = logging.getLogger(f"{__name__}.http")
_http_log.addHandler(logging.NullHandler())


class SimulatedServer:
    """Serve simulated models over HTTP, from a thread of this process.

    Equal requests are numbered: the second one gets the second sample. A request that a fault strikes uses up no
    number, so faults change when replies come and never what they say. The calls of a run bring their names: each gets
    the sample that it would get in the run's own process, however often and in whatever order they are asked.

    Args:
        models: The models.
        host: Address to listen on. Anything but loopback lets other machines use the models.
        port: TCP port to listen on. 0: a free one.
        faults: What goes wrong. None: nothing.

    Raises:
        ConfigError: If `host` or `port` cannot be an address.

    Example:
        >>> with SimulatedServer(models) as server:  # doctest: +SKIP
        ...     lm = dspy.LM("hosted_vllm/sim/base", api_base=server.api_base)
    """

    def __init__(self, models: Models, *, host: str = "127.0.0.1", port: int = 0, faults: Faults | None = None) -> None:
        if not isinstance(host, str) or not host.strip():
            raise ConfigError(f"host={host!r}: give an address of this machine, such as 127.0.0.1")
        if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65535:
            raise ConfigError(f"port={port!r}: give a whole number from 1 to 65535, or 0 for a free port")
        self.host, self.port = host.strip(), port
        self._application = Application(models, faults)
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._address: tuple[str, int] | None = None

    @property
    def api_base(self) -> str:
        """The address that clients use, `http://127.0.0.1:8000/v1` for example.

        Raises:
            ServerError: If the server is not running.
        """
        if self._address is None:
            raise ServerError("The simulated server is not running: use it in a `with` statement, or call start().")
        host, port = self._address
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"

    @property
    def names(self) -> tuple[str, ...]:
        """The names that clients may ask for; the last one is the embedding model's."""
        return self._application.names

    @property
    def counts(self) -> Counts:
        """What was received and answered since the server was made."""
        return self._application.counts

    @property
    def asked(self) -> dict[str, int]:
        """How often each call of a run was asked for, by its name; calls from elsewhere have none."""
        return self._application.asked

    def start(self) -> None:
        """Listen, and answer from a thread; returns when clients can connect.

        Raises:
            ConfigError: If `host` is no address of this machine.
            ServerError: If the port is taken or may not be opened, or if the server runs already.
        """
        if self._thread is not None:
            raise ServerError("The simulated server is running already: stop it first.")
        listener = _listen(self.host, self.port)
        host, port = listener.getsockname()[:2]
        started = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(listener, started)), name="simulated-server", daemon=True
        )
        self._thread.start()
        started.wait()
        self._address = _reachable(host), port

    def stop(self) -> None:
        """Finish the replies under way, then close; does nothing if the server is not running."""
        thread, loop = self._thread, self._loop
        if thread is None:
            return
        if loop is not None:
            with suppress(RuntimeError):  # the loop has ended already
                loop.call_soon_threadsafe(self._application.stopping.set)
        thread.join()
        self._thread = self._loop = self._address = None

    def serve_forever(self) -> None:
        """Serve until Ctrl-C, or until another thread calls `stop`; starts the server if need be."""
        if self._thread is None:
            self.start()
        thread = self._thread
        try:
            while thread is not None and thread.is_alive():
                thread.join(0.2)  # in short turns: a signal is seen between two of them
        except KeyboardInterrupt:
            pass
        finally:
            self.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def _serve(self, listener: socket.socket, started: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._application.stopping = asyncio.Event()
        # A handler ends when its client leaves: nothing is waited for or computed for a client that gave up.
        # Bodies are read as they come: no client of ours compresses them, and small ones could unpack to large ones.
        runner = web.AppRunner(
            self._application.routes(),
            access_log=None,
            logger=_http_log,
            auto_decompress=False,
            handler_cancellation=True,
            shutdown_timeout=_PATIENCE,
        )
        try:
            await runner.setup()
            await web.SockSite(runner, listener).start()
            started.set()
            await self._application.stopping.wait()
        finally:
            started.set()
            await runner.cleanup()
            listener.close()


def run_server(
    models: Models,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    faults: Faults | None = None,
    say: Callable[[str], None] | None = None,
) -> None:
    """Serve simulated models until Ctrl-C or SIGTERM: the working part of `drpo simulate`.

    Args:
        models: The models.
        host: Address to listen on. Anything but loopback lets other machines use the models.
        port: TCP port to listen on. 0: a free one, which is said.
        faults: What goes wrong. None: nothing.
        say: Called with one line of text per event: address, warnings, and at the end what was counted.

    Raises:
        ConfigError: If `host` or `port` cannot be an address of this machine.
        ServerError: If the port is taken or may not be opened.

    Example:
        >>> run_server(models, port=8000, say=print)  # doctest: +SKIP
    """
    say = say or (lambda _: None)
    server = SimulatedServer(models, host=host, port=port, faults=faults)
    with _signals_interrupt():
        try:
            server.start()
            say(f"Simulated models at {server.api_base}: {', '.join(server.names)}")
            if not _is_loopback(host):
                say(f"host={host}: every machine that reaches this one can use them.")
            for kind, share in (faults or Faults()).shares.items():
                if share:
                    say(f"Fault {kind}: {share:.1%} of the requests.")
            say("Ctrl-C stops.")
            server.serve_forever()
        except KeyboardInterrupt:
            pass
        finally:
            server.stop()
    counts = server.counts
    faulty = sum(counts.faults.values())
    say(f"Stopped: {sum(counts.requests.values())} requests, {counts.replies} replies, {faulty} faults.")


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # only there can signals be caught
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, _interrupt) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _listen(host: str, port: int) -> socket.socket:
    try:
        # One address only: with several, a free port would be another one on each.
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=1024)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ServerError(
                f"Port {port} on {host} is taken: stop what listens there, or give another port."
            ) from None
        if error.errno == errno.EACCES:
            raise ServerError(f"Port {port} may not be opened by this user: give a port from 1024 up.") from None
        raise ConfigError(f"host={host!r} is no address of this machine ({error.strerror}): use 127.0.0.1") from None
    except UnicodeError:
        raise ConfigError(f"host={host!r} is no address of this machine: use 127.0.0.1") from None


def _reachable(host: str) -> str:
    """The address by which this machine reaches a server that listens on an address."""
    if not ip_address(host).is_unspecified:
        return host
    return "::1" if ":" in host else "127.0.0.1"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
