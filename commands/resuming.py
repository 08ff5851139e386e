"""What `drpo resume DIR` does: read the settings that a run directory keeps, and refuse what must not be followed.

A run directory may come from somebody else. It names the endpoints that prompts and keys are sent to and the programs
that are started, so it carries a signature of whoever started the run; one that this user did not sign is not followed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..configs.problems import problems
from ..configs.redaction import HIDDEN
from ..configs.settings import RunSettings
from ..configs.yaml_text import apply_override
from ..errors import ConfigError, RunDirectoryError
from ..serving.caps import CapKind

CAPS = tuple(map(str, CapKind))
"""What a resumed run may be given more of."""
SIGNED = "signed"
"""The key beside the settings that holds their signature."""

_MAY_CHANGE = re.compile(
    rf"(({'|'.join(CAPS)})(\.\w+)?|num_threads|outage_patience|data\.(prompts|demos)"
    r"|lms\.\w+\.(api_base|api_key_env|num_retries|timeout|server)"
    r"|serve\.[^.]+\.(host|port|python|download_dir|cuda_visible_devices|num_gpus|gpu_memory_utilization"
    r"|startup_timeout|environment\..+|extra_args\.\d+))"
)


def signed(settings: RunSettings) -> dict[str, Any]:
    """Return what `config.json` keeps of a config: every setting, no secret, and this user's signature if need be."""
    data = settings.as_dict()
    if not _leads(data):
        return data
    key = _key()
    return data if key is None else {**data, SIGNED: _signature(data, key)}


def resumed_settings(folder: Path, overrides: Sequence[str] = (), *, trust: bool = False) -> RunSettings:
    """Return the settings of the run in a directory.

    Args:
        folder: The run directory.
        overrides: `key=value` texts, for what may differ: caps, threads, endpoints, where servers and prompts are.
        trust: Whether endpoints and servers are followed that this user did not name.

    Raises:
        RunDirectoryError: If there is no run of the command line in it, or it names what is not to be trusted.
        ConfigError: If an override may not be, or a secret has to be given anew.
    """
    data = _saved(folder)["settings"]
    signature = data.pop(SIGNED, "")
    leads = _leads(data)
    key = _key() if leads else None
    if leads and not trust and (key is None or not hmac.compare_digest(str(signature), _signature(data, key))):
        raise RunDirectoryError(
            f"{folder}: you did not start this run on this machine, or its config.json was changed since. It names "
            f"{', '.join(leads)}, which would be used with your prompts and keys: if you trust all of them, add --trust"
        )
    for override in overrides:
        name = override.partition("=")[0].strip()
        if not _MAY_CHANGE.fullmatch(name):
            raise ConfigError(
                f"--set {name!r}: the outcome depends on it, so it stays as it was, or start another run; a resumed "
                f"one can change {', '.join(CAPS)}, num_threads, lms.<role>.api_base, .api_key_env, .num_retries, "
                ".timeout, and where serve: and data: are"
            )
        apply_override(data, override)
    if hidden := list(_hidden(data, "")):
        raise ConfigError(
            "\n".join(f"{name}: config.json hides it as a secret; give it by --set {name}=..." for name in hidden)
        )
    try:
        return RunSettings.model_validate(data)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{folder}: {line}" for line in problems(error, RunSettings, data))) from None


def command_of(folder: Path) -> str:
    """Return the command that a run directory is of; the only one that does not say so is `compile`."""
    return str(_saved(folder).get("command", "compile"))


def finished_run(folder: Path) -> tuple[dict[str, Any], dict[str, str]] | None:
    """Return the figures and the seed's instructions of a run that is finished, None if it is not."""
    file = folder / "result.json"
    if not file.exists():
        return None
    figures = {**_read(file), "bill": _read(folder / "bill.json")}
    return figures, dict(_saved(folder)["student"]["instructions"])


def _saved(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    if not file.exists():
        raise RunDirectoryError(f"{str(folder)!r} is no run directory: there is no config.json in it")
    config = _read(file)
    if (command := config.get("command")) not in (None, "compare"):
        raise RunDirectoryError(
            f"{folder}: holds the work of drpo {command}; go on by the same command with --log-dir {folder}"
        )
    if not isinstance(config.get("settings"), dict) or not isinstance(config.get("student"), dict):
        raise RunDirectoryError(
            f"{folder}: this run was started from Python; go on there, by compile() with the same arguments and log_dir"
        )
    return config


def _read(file: Path) -> dict[str, Any]:
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunDirectoryError(f"{file}: cannot be read ({error}); restore it, or start another run") from None
    if not isinstance(data, dict):
        raise RunDirectoryError(f"{file}: holds no mapping; restore it, or start another run")
    return data


def _leads(data: dict[str, Any]) -> list[str]:
    """Return the addresses and the programs that settings name."""
    lms = data.get("lms")
    bases = [lm.get("api_base") for lm in (lms.values() if isinstance(lms, dict) else ()) if isinstance(lm, dict)]
    addresses = [one for base in bases if base for one in ([base] if isinstance(base, str) else base)]
    serve = data.get("serve")
    servers = [f"serve.{name}" for name in serve] if isinstance(serve, dict) else []
    return list(dict.fromkeys([*map(str, addresses), *servers]))


def _hidden(value: Any, name: str) -> Iterator[str]:
    if isinstance(value, (dict, list)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _hidden(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, str) and HIDDEN in value:
        yield name


def _signature(data: dict[str, Any], key: bytes) -> str:
    return hmac.new(key, json.dumps(data, sort_keys=True).encode(), hashlib.sha256).hexdigest()


def _key() -> bytes | None:
    """Return this user's key, made at the first time; None where there is no place for it."""
    with suppress(OSError, RuntimeError):
        folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "drpo"
        file = folder / "key"
        with suppress(FileExistsError):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            made = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(made, "wb") as target:
                target.write(secrets.token_hex(32).encode())
        key = file.read_bytes()
        return key if len(key) == 64 else None
    return None
