"""The record of calls: every finished LM call of a run, one JSON line each, written before its reply is used.

The search is a function of the replies. So a run that was killed is resumed by running it again over its record:
replies that stand there are taken from it, in whatever order they are asked for, and only the others are paid for.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

from dspy._vendor.lm15.serde import response_from_dict, response_to_dict

from ..errors import RunDirectoryError
from ..serving.roles import RecordedCall, Role

FORMAT = 1
"""Version of the lines."""


class CallLog:
    """An append-only file of calls.

    Args:
        path: The file; it is created, or read if it is there. A torn last line, which a kill leaves, is cut off.

    Raises:
        RunDirectoryError: If another line is damaged; the message names it.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._calls = _read(path)
        self._file = path.open("ab")

    def __len__(self) -> int:
        return len(self._calls)

    def find(self, key: str) -> RecordedCall | None:
        """Return the call of this key, or None."""
        return self._calls.get(key)

    def add(self, key: str, *, role: Role, request: dict[str, Any], call: RecordedCall) -> None:
        """Append a call; it is on the disk when this returns."""
        line = {
            "format": FORMAT,
            "key": key,
            "role": role.value,
            "request": request,
            "response": response_to_dict(call.response),
            "seconds": round(call.seconds, 6),
            "cost": call.cost,
        }
        data = json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass") + b"\n"
        with self._lock:
            self._calls[key] = call
            self._file.write(data)
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _read(path: Path) -> dict[str, RecordedCall]:
    if not path.exists():
        return {}
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        os.truncate(path, len(whole))
    calls: dict[str, RecordedCall] = {}
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            item = json.loads(line)
            if item["format"] != FORMAT:
                raise RunDirectoryError(
                    f"{path}, line {number}: format {item['format']!r}, this version of drpo reads {FORMAT}"
                )
            calls[item["key"]] = RecordedCall(response_from_dict(item["response"]), item["seconds"], item["cost"])
        except RunDirectoryError:
            raise
        except Exception as error:
            raise RunDirectoryError(
                f"{path}, line {number}: is damaged ({error}); restore the file, or delete the line to ask again"
            ) from error
    return calls
