"""The run directory: everything a run leaves behind, written as it goes.

config.json   every setting, the models (without keys), the data by hash, versions, the seed
log.txt       what happened, with times
calls.jsonl   the record of calls, which makes a killed run resumable
bill.json     what each role used, and what failed on the way
trace.json    the tree of the search         trace.md      the same to read
ledger.json   query -> criteria              program.json  the compiled program
result.json   the figures, under fixed keys
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import dspy
import orjson

from ..errors import ConfigError, RunDirectoryError
from .record import CallLog

FORMAT = 2
"""Version of `config.json`; the first one had no such number."""

_MAY_DIFFER = frozenset({"format", "versions", "settings", "caps"})
"""Parts of `config.json` that may differ when a run is resumed: a cap may be raised, more threads used. What its
outcome depends on stands in the other parts."""


_SINCE_FORMAT_2 = frozenset({"definitions", "world", "request"})
"""Keys within those parts that the first version did not write."""
_WORDS = {
    "train": "the prompts of the search",
    "val": "the held-out prompts",
    "definitions": "the criteria's definitions",
    "ledger": "the given ledger",
    "world": "the simulated world",
    "request": "extra_body, structured_output or string_limit",
    "state": "the student's demonstrations or fields",
}
"""What stands there as a digest."""


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
        try:
            self._lock = _own(self.path / ".lock")
        except OSError as error:
            raise RunDirectoryError(
                f"log_dir={str(path)!r}: cannot be written ({error.strerror}); choose another folder"
            ) from error
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
            try:
                with self._writing(self.path / "log.txt"):
                    log = _own(self.path / "log.txt")
            except BaseException:
                self.calls.close()
                raise
        except BaseException:
            self._lock.close()
            raise
        self._handler = logging.StreamHandler(log)
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logging.getLogger("drpo").addHandler(self._handler)

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, *error: object) -> None:
        logging.getLogger("drpo").removeHandler(self._handler)
        self._handler.close()
        self._handler.stream.close()
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
        target = self.path / name
        partial = target.with_name(f".{target.name}.partial")
        with self._writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            partial.unlink(missing_ok=True)
            partial.write_text(text, encoding="utf-8", errors="backslashreplace")
            os.replace(partial, target)

    def replace(self, name: str, write: Any) -> None:
        """Let `write(path)` write a file of the directory aside, then put it in its place."""
        target = self.path / name
        partial = target.with_name(f".partial.{target.name}")
        with self._writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            partial.unlink(missing_ok=True)
            write(partial)
            os.replace(partial, target)

    def record(self, name: str) -> CallLog:
        """Open another record of calls, that of a part of the run; whoever asks for it closes it.

        Args:
            name: The file, relative to the directory.
        """
        target = self.path / name
        with self._writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
        return CallLog(target)

    @contextmanager
    def _writing(self, target: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RunDirectoryError(
                f"{target}: cannot be written ({error.strerror}); free some room or restore access, then go on with "
                "the same run directory"
            ) from error

    def _claim(self, config: dict[str, Any]) -> None:
        file = self.path / "config.json"
        if file.exists():
            try:
                before = json.loads(file.read_text(encoding="utf-8"))
            except ValueError as error:
                raise RunDirectoryError(f"{file}: is damaged ({error}); choose another log_dir") from error
            if not isinstance(before, dict) or before.get("format", 1) not in (1, FORMAT):
                raise RunDirectoryError(
                    f"{file}: is of another version of drpo; use that one or choose another log_dir"
                )
            now = json.loads(json.dumps(config))
            if "format" not in before:
                before, now = _first(before), _first(now)
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


def _own(path: Path) -> TextIO:
    """Open a file of the directory to append to; a link, which may lead elsewhere, is an OSError."""

    def opened(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NOFOLLOW, 0o644)

    return open(path, "a", encoding="utf-8", errors="backslashreplace", opener=opened)


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


def _first(data: Any) -> Any:
    """Return what the first version of `config.json` would have said."""
    if not isinstance(data, dict):
        return data
    return {key: _first(item) for key, item in data.items() if key not in _SINCE_FORMAT_2}


def _short(before: Any, now: Any) -> str:
    """Return where two settings differ, in a few words."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
        return ", ".join(
            f"{_WORDS[key]} changed" if key in _WORDS else f"{key} {_short(before.get(key), now.get(key))}"
            for key in keys[:5]
        )
    return f"was {str(before)[:60]!r}, is {str(now)[:60]!r}"
