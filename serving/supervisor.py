"""Runs one server and ends it when its parent asks, or when the parent dies in whatever way.

    python supervisor.py PARENT_PID GRACE_SECONDS LOG_FILE COMMAND...

vLLM spreads over several processes, and killing its first one leaves the others running with the memory. So this
small process stands between: it holds the read end of a pipe whose write end only the parent holds. When that pipe
closes (`kill -9` included), it asks the server to end, waits, and then kills whatever is left of it. Orphans of the
server become its own children (Linux), so that none escapes by leaving the process group.

It writes the server's process id to stdout, sends the server's output to LOG_FILE, and exits with the server's exit
code (128 + signal number where a signal ended it). It runs as a script with the standard library only, so that it
starts in milliseconds and keeps no large program in memory.
"""

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress

PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>


def main(arguments: list[str]) -> int:
    """Run the command of `arguments` until it ends or has to end."""
    parent, grace, log_path, command = int(arguments[0]), float(arguments[1]), arguments[2], arguments[3:]
    _adopt_orphans()
    asked: list[int] = []
    wake, wake_writer = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(wake_writer, False)
    signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # only to wake `select`
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: asked.append(number))

    with open(log_path, "ab", buffering=0) as log:
        try:
            server = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        except OSError as error:
            log.write(f"{command[0]}: {error}\n".encode())
            return 127
    try:
        os.write(sys.stdout.fileno(), b"%d\n" % server.pid)
        code = None
        # The second sign of a dead parent serves where a forked child of it still holds the pipe open.
        while code is None and not asked and os.getppid() == parent:
            readable, _, _ = select.select([sys.stdin.fileno(), wake], [], [], 0.5)
            _drain(wake)
            code = _exit_code(server.pid)
            if sys.stdin.fileno() in readable:
                break
        if code is None:
            code = _end(server.pid, grace, wake)
    finally:
        _kill_everything(server.pid)
    return code if code >= 0 else 128 - code


def _end(pid: int, grace: float, wake: int) -> int:
    """Ask the server to end; its exit code, or that of SIGKILL when it did not end within `grace` seconds."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while (remaining := deadline - time.monotonic()) > 0:
        select.select([wake], [], [], remaining)
        _drain(wake)
        if (code := _exit_code(pid)) is not None:
            return code
    return -signal.SIGKILL


def _exit_code(pid: int) -> int | None:
    """Take note of all children that ended; the exit code of `pid` if it is one of them."""
    found = None
    with suppress(ChildProcessError):
        while True:
            ended, status = os.waitpid(-1, os.WNOHANG)
            if ended == 0:
                break
            if ended == pid:
                found = os.waitstatus_to_exitcode(status)
    return found


def _kill_everything(group: int) -> None:
    """Kill the server's process group and every descendant, until this process has no child left."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
    with suppress(ChildProcessError):
        while True:
            for child in _children():
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            os.waitpid(-1, 0)  # an ended child hands us its own children: look again


def _children() -> list[int]:
    """The process ids of this process's direct children; empty where the system does not tell."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


def _adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends (Linux only)."""
    if sys.platform == "linux":
        import ctypes

        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _drain(descriptor: int) -> None:
    """Empty the pipe that signals write to."""
    with suppress(BlockingIOError):
        while os.read(descriptor, 4096):
            pass


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
