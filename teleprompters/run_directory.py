"""The run directory: everything a run leaves behind, written as it goes.

config.json   every setting, the models (without keys), the data by hash, versions, the seed
log.txt       what happened, with times
calls.jsonl   the record of calls, which makes a killed run resumable
trace.json    the tree of the search         trace.md      the same to read
ledger.json   query -> criteria              program.json  the compiled program
result.json   the figures, under fixed keys
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from pathlib import Path
from typing import Any

import dspy
import orjson

from ..errors import ConfigError, RunDirectoryError
from .record import CallLog

_MAY_DIFFER = frozenset({"versions", "settings", "caps"})
"""Parts of `config.json` that may differ when a run is resumed: a cap may be raised, more threads used. What its
outcome depends on stands in the other parts."""


class RunDirectory:
    """An open run directory, held by this process alone until it is closed.

    Args:
        path: The folder; made if need be. One that holds a run of the same configuration is resumed.
        config: What `config.json` says.

    Raises:
        RunDirectoryError: If another process uses it, or it holds a run of another configuration.
    """

    def __init__(self, path: Path | str, *, config: dict[str, Any]) -> None:
        self.path = Path(path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunDirectoryError(
                f"log_dir={str(path)!r}: cannot be made ({error.strerror}); choose another folder"
            ) from error
        self._lock = (self.path / ".lock").open("a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise RunDirectoryError(
                f"log_dir={str(path)!r}: another process is using it; wait for it or choose another folder"
            ) from error
        try:
            self._claim(config)
            self.calls = CallLog(self.path / "calls.jsonl")
        except BaseException:
            self._lock.close()
            raise
        self._handler = logging.FileHandler(self.path / "log.txt", encoding="utf-8")
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logging.getLogger("drpo").addHandler(self._handler)

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, *error: object) -> None:
        logging.getLogger("drpo").removeHandler(self._handler)
        self._handler.close()
        self.calls.close()
        self._lock.close()

    def write_json(self, name: str, data: Any) -> None:
        """Write a JSON file of the directory, whole or not at all."""
        try:
            text = orjson.dumps(data, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()
        except TypeError:  # a lone surrogate, which a model can write
            text = json.dumps(data, ensure_ascii=False, indent=2, allow_nan=False) + "\n"
        self.write_text(name, text)

    def write_text(self, name: str, text: str) -> None:
        """Write a text file of the directory, whole or not at all."""
        target, partial = self.path / name, self.path / f".{name}.partial"
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")
        os.replace(partial, target)

    def replace(self, name: str, write: Any) -> None:
        """Let `write(path)` write a file of the directory aside, then put it in its place."""
        partial = self.path / f".partial.{name}"
        write(partial)
        os.replace(partial, self.path / name)

    def _claim(self, config: dict[str, Any]) -> None:
        file = self.path / "config.json"
        if file.exists():
            try:
                before = json.loads(file.read_text(encoding="utf-8"))
            except ValueError as error:
                raise RunDirectoryError(f"{file}: is damaged ({error}); choose another log_dir") from error
            now = json.loads(json.dumps(config))
            different = sorted(
                key for key in before.keys() | now.keys() if key not in _MAY_DIFFER and before.get(key) != now.get(key)
            )
            if different:
                shown = "; ".join(f"{key}: {_short(before.get(key), now.get(key))}" for key in different)
                raise RunDirectoryError(
                    f"log_dir={str(self.path)!r} holds a run of another configuration ({shown}); choose another folder"
                )
        elif (self.path / "calls.jsonl").exists():
            raise RunDirectoryError(f"log_dir={str(self.path)!r} holds calls but no config.json; choose another folder")
        self.write_json("config.json", config)


def saved_state(program: dspy.Module) -> Any:
    """Return what `program.json` will hold of a program.

    Raises:
        ConfigError: If it cannot be saved, which must not show only when everything has been paid for.
    """
    try:
        return orjson.loads(orjson.dumps(program.dump_state()))
    except Exception as error:
        raise ConfigError(
            f"log_dir: the student cannot be saved as JSON ({type(error).__name__}: {error}); change what is named "
            "there, or leave log_dir=None"
        ) from error


def _short(before: Any, now: Any) -> str:
    """Return where two settings differ, in a few words."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
        return ", ".join(f"{key} {_short(before.get(key), now.get(key))}" for key in keys[:5])
    return f"was {str(before)[:60]!r}, is {str(now)[:60]!r}"
