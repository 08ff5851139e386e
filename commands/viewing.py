"""What `drpo view` does: read a directory, write its page or serve it while the run goes on."""

from __future__ import annotations

import asyncio
import json
import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import RunDirectoryError, ServerError
from ..reports.page import page_from_data
from ..reports.run_view import run_view
from .servers import Say

NAMES = ("config.json", "trace.json", "result.json", "bill.json", "ledger.json", "program.json", "log.txt")
"""The files of a run that its page is made of."""
REPORTS: Mapping[str, str] = {
    "comparison.json": "comparison_view",
    "judge-card.json": "judge_card_view",
    "evaluation.json": "evaluation_view",
}
"""The file that a directory of another kind is known by, and the function in `reports/report_views.py` for it."""


class Watched:
    """A directory, read again as far as it has changed.

    Args:
        folder: The directory of a run, a comparison, a judge card or an evaluation.

    Raises:
        RunDirectoryError: If it is none of these, or a file of it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, tuple[tuple[int, int], Any]] = {}
        self._calls = _Calls(folder / "calls.jsonl")
        self.view()

    @property
    def version(self) -> str:
        """What changes whenever the page would: sizes and times of the files."""
        stamps = []
        for name in (*NAMES, *REPORTS, "calls.jsonl"):
            with suppress(OSError):
                found = (self._folder / name).lstat()
                stamps.append(f"{name} {found.st_mtime_ns} {found.st_size}")
        return "; ".join(stamps)

    def view(self) -> dict[str, Any]:
        """Return what the page shows at the moment.

        Raises:
            RunDirectoryError: If a file is damaged, or of a version that this one does not know.
        """
        try:
            return self._view(self._folder.resolve().name)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise RunDirectoryError(
                f"{self._folder}: a file is not as this version of drpo writes it ({type(error).__name__}: {error}); "
                "use the version that wrote it"
            ) from error

    def _view(self, title: str) -> dict[str, Any]:
        for name, function in REPORTS.items():
            if (data := self._file(name)) is not None:
                from ..reports import report_views

                shown: dict[str, Any] = getattr(report_views, function)(data, title=title)
                return shown
        files = {name: found for name in NAMES if (found := self._file(name)) is not None}
        if "config.json" not in files:
            raise RunDirectoryError(
                f"{str(self._folder)!r} is no run directory: there is no config.json in it, nor "
                f"{', '.join(REPORTS)}; give the --log-dir of a command"
            )
        if "bill.json" not in files:
            files["usage"] = self._calls.usage()
        return run_view(files, title=title)

    def _file(self, name: str) -> Any:
        """Return a file's data, None if there is none; a link is not followed, since it may lead anywhere."""
        path = self._folder / name
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RunDirectoryError(f"{path}: cannot be read ({error.strerror})") from None
        with os.fdopen(handle, "rb") as file:
            state = os.fstat(file.fileno())
            stamp = (state.st_mtime_ns, state.st_size)
            if name not in self._read or self._read[name][0] != stamp:
                self._read[name] = (stamp, _parsed(path, file.read()))
        return self._read[name][1]


def write_page(folder: Path, out: Path | None) -> Path:
    """Write the page of a directory, and return where it lies.

    Args:
        folder: The directory.
        out: The file to write. None: `index.html` in the directory.

    Raises:
        RunDirectoryError: If there is nothing to show, or the page cannot be written.
    """
    target = folder / "index.html" if out is None else out
    page = page_from_data(Watched(folder).view())
    partial = target.with_name(f".{target.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        partial.write_text(page, encoding="utf-8", errors="backslashreplace")
        os.replace(partial, target)
    except OSError as error:
        raise RunDirectoryError(
            f"{target}: cannot be written ({error.strerror}); choose another place by --out"
        ) from None
    return target


def serve_page(folder: Path, *, port: int, say: Say, ready: Callable[[str], object] | None = None) -> None:
    """Serve the page of a directory on this machine, following the run, until Ctrl-C.

    Args:
        folder: The directory.
        port: TCP port. 0: a free one.
        say: Told the address.
        ready: Told it too, a browser's opener for example. None: nobody.

    Raises:
        RunDirectoryError: If there is nothing to show.
        ServerError: If the port is taken.
    """
    watched = Watched(folder)
    with suppress(KeyboardInterrupt):
        asyncio.run(_served(watched, port=port, say=say, ready=ready))


async def _served(watched: Watched, *, port: int, say: Say, ready: Callable[[str], object] | None) -> None:
    from aiohttp import web

    from ..reports.live import HOST, live_application

    runner = web.AppRunner(live_application(watched.view, lambda: watched.version), access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, HOST, port).start()
        except OSError as error:
            raise ServerError(f"--port {port}: {error.strerror or error}; choose another one, or 0 for any") from None
        address = f"http://{HOST}:{runner.addresses[0][1]}/"
        say(f"{address} follows the run; Ctrl-C ends it")
        if ready is not None:
            ready(address)
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def _parsed(path: Path, content: bytes) -> Any:
    if path.suffix != ".json":
        return content.decode("utf-8", "replace")
    try:
        return json.loads(content.decode("utf-8", "surrogatepass"))  # half of a pair, which a model can write
    except (ValueError, RecursionError) as error:
        raise RunDirectoryError(f"{path}: is damaged ({error}); restore it, or run the command again") from None


class _Calls:
    """What the record of an unfinished run has used by role; only what was added is read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = 0
        self._used: dict[str, dict[str, Any]] = defaultdict(
            lambda: {"calls": 0, "errors": 0, "prompt_tokens": 0, "completion_tokens": 0, "seconds": 0.0, "cost": 0.0}
        )

    def usage(self) -> dict[str, dict[str, Any]]:
        """Return it."""
        with suppress(OSError):
            handle = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(handle, "rb") as file:
                file.seek(self._size)
                for line in file:
                    if not line.endswith(b"\n"):  # it is being written
                        break
                    self._size += len(line)
                    with suppress(ValueError, KeyError, TypeError, AttributeError):  # `drpo resume` tells of damage
                        self._take(json.loads(line))
        return {role: dict(used) for role, used in self._used.items()}

    def _take(self, line: Mapping[str, Any]) -> None:
        used = self._used[str(line["role"])]
        if "error" in line:
            used["errors"] += 1
            return
        tokens = line["response"].get("usage") or {}
        used["model"] = line["request"]["model"]
        used["calls"] += 1
        used["prompt_tokens"] += tokens.get("input_tokens") or 0
        used["completion_tokens"] += tokens.get("output_tokens") or 0
        used["seconds"] += line["seconds"]
        cost = line.get("cost")
        used["cost"] = None if cost is None or used["cost"] is None else used["cost"] + cost
