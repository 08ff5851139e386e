"""The record of calls: every LM call of a run, one JSON line each, written before its reply is used.

The search is a function of the replies. So a run that was killed is resumed by running it again over its record:
replies that stand there are taken from it, in whatever order they are asked for, and only the others are paid for.
Tries that failed stand there too, with `error` in place of `response`: the call is asked again, but they still count.
Only a call that was given up, while others were answered, is given up again by a resumed run.

A line is handed to the operating system before its reply is used, so whatever becomes of the process, it is kept. The
disk is told to keep it within `SYNC_EVERY`: if the machine itself fails, the calls since then are asked again.
"""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
from dspy._vendor.lm15.serde import response_from_dict, response_to_dict

from ..errors import RunDirectoryError
from ..serving.meter import FailedCall, RecordedCall
from ..serving.roles import Role

FORMAT, FORMAT_OF_ERRORS = 1, 2
"""Version of the lines with a reply, which every version of drpo reads, and of those with an error."""

SYNC_EVERY = 0.1
"""Seconds after which a line is on the disk. To wait for that at each call would cost what the disk takes, some 0.3 to
4 milliseconds, and many times that while others write to it."""


class CallLog:
    """An append-only file of calls.

    Args:
        path: The file; it is created, or read if it is there. A torn last line, which a kill leaves, is cut off.

    Raises:
        RunDirectoryError: If another line is damaged; the message names it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._written, self._closed = threading.Event(), threading.Event()
        self._syncing = threading.Thread(target=self._sync, name="drpo-record", daemon=True)
        self._lost: OSError | None = None
        self._calls: dict[str, RecordedCall] = {}
        self._failures: dict[str, list[FailedCall]] = {}
        self._tries: Counter[str] = Counter()
        try:  # no link is followed: a run directory from somebody else must not lead elsewhere
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            self._file = os.open(path, flags, 0o644)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            self._size = self._read()
        except BaseException:
            os.close(self._file)
            raise
        self._syncing.start()

    def __len__(self) -> int:
        return len(self._calls)

    def find(self, key: str) -> RecordedCall | None:
        """Return the call of this key, or None."""
        return self._calls.get(key)

    def failures(self, key: str) -> list[FailedCall]:
        """Return the tries of this key that failed before the file was opened; the second time there are none.

        Those of a call that was given up for good come alone, and the others of this key the next time.
        """
        with self._lock:
            found = self._failures.pop(key, [])
            end = next((number for number, failed in enumerate(found, start=1) if failed.given_up), len(found))
            if found[end:]:
                self._failures[key] = found[end:]
        return found[:end]

    def add(self, key: str, *, role: Role, request: dict[str, Any], call: RecordedCall | FailedCall) -> None:
        """Append a call; it outlives this process when this returns, and soon the machine.

        Raises:
            RunDirectoryError: If it, or an earlier one, cannot be written; the file ends with its last whole line then.
        """
        replied = isinstance(call, RecordedCall)
        line: dict[str, Any] = {"format": FORMAT if replied else FORMAT_OF_ERRORS, "key": key, "role": role.value}
        with self._lock:
            self._tries[key] += 1
            line["attempt"] = self._tries[key]
        line["request"] = request
        if isinstance(call, RecordedCall):
            line |= {"response": response_to_dict(call.response), "cost": call.cost}
        else:
            given_up = {"given_up": call.given_up} if call.given_up else {}
            line |= {"error": {"kind": call.kind, "message": call.message, **given_up}}
        line["seconds"] = round(call.seconds, 6)
        data = _encoded(line)
        try:
            with self._lock:
                if self._lost is not None:
                    raise self._lost
                self._append(data)
                if isinstance(call, RecordedCall):
                    self._calls[key] = call
        except OSError as error:
            raise self._unwritable(error) from error
        self._written.set()

    def close(self) -> None:
        """Put what is written on the disk, and close the file.

        Raises:
            RunDirectoryError: If the disk did not keep it.
        """
        self._closed.set()
        self._written.set()
        self._syncing.join()
        os.close(self._file)
        if self._lost is not None:
            raise self._unwritable(self._lost) from self._lost

    def _sync(self) -> None:
        while not self._closed.wait(SYNC_EVERY):
            self._written.wait()
            self._sync_once()
        self._sync_once()

    def _sync_once(self) -> None:
        self._written.clear()
        try:
            os.fsync(self._file)
        except OSError as error:  # whoever writes next is told
            self._lost = error

    def _append(self, data: bytes) -> None:
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError:  # half a line would be damage in the middle once another one follows
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(data)

    def _unwritable(self, error: OSError) -> RunDirectoryError:
        return RunDirectoryError(
            f"{self._path}: cannot be written ({error.strerror}); free some room or restore access, then go on with "
            "the same run directory"
        )

    def _read(self) -> int:
        """Read the file, cut off its torn end, and return its length."""
        size = 0
        try:
            with os.fdopen(os.dup(self._file), "rb") as file:
                for number, line in enumerate(file, start=1):
                    if not line.endswith(b"\n"):
                        os.ftruncate(self._file, size)
                        break
                    self._take(line, number)
                    size += len(line)
        except OSError as error:
            raise RunDirectoryError(f"{self._path}: cannot be read ({error.strerror})") from error
        return size

    def _take(self, line: bytes, number: int) -> None:
        try:
            item = _decoded(line)
            if item["format"] not in (FORMAT, FORMAT_OF_ERRORS):
                raise RunDirectoryError(
                    f"{self._path}, line {number}: format {item['format']!r}, this version of drpo reads "
                    f"{FORMAT} and {FORMAT_OF_ERRORS}; use the version that wrote it"
                )
            key, seconds = str(item["key"]), float(item["seconds"])
            if "error" in item:
                error = item["error"]
                failed = FailedCall(error["kind"], error["message"], seconds, error.get("given_up"))
                self._failures.setdefault(key, []).append(failed)
            else:
                self._calls[key] = RecordedCall(response_from_dict(item["response"]), seconds, item["cost"])
            self._tries[key] += 1
        except RunDirectoryError:
            raise
        except Exception as error:
            raise RunDirectoryError(
                f"{self._path}, line {number}: is damaged ({error}); restore the file, or delete the line to ask again"
            ) from error


def _encoded(line: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(line) + b"\n"
    except TypeError:  # half of a surrogate pair, which a model can write
        text = json.dumps(line, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "surrogatepass") + b"\n"


def _decoded(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except ValueError:
        return json.loads(line.decode("utf-8", "surrogatepass"))
