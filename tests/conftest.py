"""What every test stands on: no network, no old cache, no settings of the test before, no keys of whoever runs it."""

from __future__ import annotations

import atexit
import copy
import gc
import ipaddress
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# All of this is read while dspy and litellm are imported, so it is set before any test module is.
_CACHE = tempfile.mkdtemp(prefix="drpo-tests-")


def _leave() -> None:
    """Remove the cache; a worker of xdist then ends at once: to tear down all that it imported takes seconds."""
    shutil.rmtree(_CACHE, ignore_errors=True)
    if "PYTEST_XDIST_WORKER" in os.environ:
        os._exit(0)  # its results are sent


atexit.register(_leave)
os.environ.update(
    DSPY_CACHEDIR=_CACHE,
    LITELLM_LOCAL_MODEL_COST_MAP="True",  # else both libraries fetch a price list
    HF_HUB_OFFLINE="1",
    XDG_CONFIG_HOME=_CACHE,  # where the key lies that run directories are signed with
    NO_COLOR="1",
    COLUMNS="200",  # messages of the command line are compared unwrapped
)
for _name in [*os.environ]:
    if _name.endswith(("_API_KEY", "_API_BASE", "_BASE_URL")) or _name in {"FORCE_COLOR", "GITHUB_ACTIONS"}:
        del os.environ[_name]

# What hypothesis tries: a few examples of each property in the default tests, many in `make test-slow`.
for _profile, _examples in (("quick", 15), ("thorough", 100)):
    settings.register_profile(
        _profile,
        max_examples=_examples,
        deadline=None,  # the machine may be busy
        suppress_health_check=[HealthCheck.too_slow],
    )
settings.load_profile("quick")


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over what all tests share, and come less often: a tenth of the time was its own."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


class NetworkGuard:
    """Lets sockets reach this machine only, and remembers every attempt to reach another."""

    def __init__(self) -> None:
        self.is_open = False
        self.attempts: list[str] = []

    def check(self, host: object, port: object) -> None:
        """Fail the test if `host` is another machine."""
        if self.is_open or _is_this_machine(host):
            return
        self.attempts.append(f"{host}:{port}")
        # Not an `Exception`: retry loops would wait, try again and report something else.
        pytest.fail(self.message(), pytrace=True)

    def message(self) -> str:
        """Say which machines were called, and what to do instead."""
        return (
            f"A test tried to reach {', '.join(dict.fromkeys(self.attempts))}. Tests call no real LM and no network: "
            "give the LM an engine that answers by itself, serve it on 127.0.0.1, "
            "or mark the test `vllm` or `embeddings`."
        )


def _is_this_machine(host: object) -> bool:
    if isinstance(host, bytes):
        host = host.decode()
    if host is None or host in {"", "localhost"}:
        return True
    try:
        address = ipaddress.ip_address(str(host))
    except ValueError:  # the name of some machine
        return False
    return address.is_loopback or address.is_unspecified


@pytest.fixture(scope="session", autouse=True)
def network_guard() -> Iterator[NetworkGuard]:
    """Put the guard before every way by which Python code opens a connection."""
    guard = NetworkGuard()

    def guarded_connect(original: Callable[..., Any]) -> Callable[..., Any]:
        def connect(self: socket.socket, address: Any) -> Any:
            if self.family in {socket.AF_INET, socket.AF_INET6}:
                guard.check(address[0], address[1])
            return original(self, address)

        return connect

    real_getaddrinfo = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        guard.check(host, port)
        return real_getaddrinfo(host, port, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect(socket.socket.connect))
        patch.setattr(socket.socket, "connect_ex", guarded_connect(socket.socket.connect_ex))
        patch.setattr(socket, "getaddrinfo", getaddrinfo)
        yield guard


@pytest.fixture(autouse=True)
def no_network(request: pytest.FixtureRequest, network_guard: NetworkGuard) -> Iterator[None]:
    """Fail the test that calls a real LM, even if the code under test swallowed the first failure."""
    network_guard.is_open = any(request.node.get_closest_marker(name) for name in ("vllm", "embeddings"))
    network_guard.attempts.clear()
    yield
    if network_guard.attempts:
        pytest.fail(network_guard.message(), pytrace=False)


@pytest.fixture(autouse=True)
def fresh_dspy() -> None:
    """Start each test from DSPy's default settings and an empty cache in memory; nothing is cached on disk."""
    if "dspy" not in sys.modules:  # importing it here would slow down the tests that do not need it
        return
    import dspy
    from dspy.dsp.utils.settings import DEFAULT_CONFIG

    dspy.configure(**copy.deepcopy(dict(DEFAULT_CONFIG)))
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=True)


@pytest.fixture(scope="session")
def drpo_data() -> Path:
    """The folder of real inputs that `DRPO_DATA` names; without it the test is skipped."""
    folder = os.environ.get("DRPO_DATA")
    if not folder:
        pytest.skip("DRPO_DATA is unset: it names the folder of real inputs")
    if not Path(folder).is_dir():
        pytest.fail(f"DRPO_DATA={folder!r} is not a folder: correct it, or unset it to skip the tests on real inputs")
    return Path(folder)


@pytest.fixture(autouse=True)
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave files to the system's cache: only a power cut would tell, and kills are tested on processes of their own."""
    monkeypatch.setattr(os, "fsync", lambda file: None)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait between two tries of a call for a moment only; how long the waits are is tested on a clock of its own."""
    retrying = sys.modules.get("drpo.serving.retrying")
    if retrying is not None:
        monkeypatch.setattr(retrying, "FIRST_WAIT", 0.001)
        monkeypatch.setattr(retrying, "LONGEST_WAIT", 0.002)
