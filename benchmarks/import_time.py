"""How long `import drpo` takes beside `import dspy`.

Both are imported in new interpreters, in turn, so that whatever else the machine does falls on both alike. The ratio of
each pair of neighbours is taken, and the median of the ratios is the result: a single slow start does not move it.

    python benchmarks/import_time.py --pairs 15 --limit 1.3
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

STATEMENTS = ("import dspy", "import drpo")


@dataclass(frozen=True)
class Import:
    """What one `python -c` took, its start included."""

    seconds: float
    """Wall-clock time."""
    cpu_seconds: float
    """CPU time of the process in user and system mode: steadier on a busy machine."""


def measure(statement: str) -> Import:
    """Run `statement` in a new interpreter, with bytecode as an installed package has it."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", statement], env=environment, cwd=Path(sys.prefix))
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"`{sys.executable} -c {statement!r}` failed")
    return Import(seconds=seconds, cpu_seconds=usage.ru_utime + usage.ru_stime)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=11, help="how often each is imported (default: %(default)s)")
    parser.add_argument("--limit", type=float, default=1.3, help="exit with 1 above this ratio (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("runs/import_time.json"), help="default: %(default)s")
    arguments = parser.parse_args()

    for statement in STATEMENTS:  # writes bytecode and warms the page cache
        measure(statement)
    samples: dict[str, list[Import]] = {statement: [] for statement in STATEMENTS}
    for _ in range(arguments.pairs):
        for statement in STATEMENTS:
            samples[statement].append(measure(statement))

    ratio = statistics.median(ours.seconds / theirs.seconds for theirs, ours in zip(*samples.values(), strict=True))
    cpu_ratio = statistics.median(
        ours.cpu_seconds / theirs.cpu_seconds for theirs, ours in zip(*samples.values(), strict=True)
    )
    print(f"{'':12}  {'median s':>9}  {'min s':>9}  {'median CPU s':>12}")
    for statement, imports in samples.items():
        seconds = [sample.seconds for sample in imports]
        cpu = statistics.median(sample.cpu_seconds for sample in imports)
        print(f"{statement:12}  {statistics.median(seconds):9.3f}  {min(seconds):9.3f}  {cpu:12.3f}")
    print(f"{'ratio':12}  {ratio:9.3f}  {'':9}  {cpu_ratio:12.3f}   (limit {arguments.limit}, {arguments.pairs} pairs)")

    result = {
        "ratio": ratio,
        "cpu_ratio": cpu_ratio,
        "limit": arguments.limit,
        "samples": {statement: [asdict(sample) for sample in imports] for statement, imports in samples.items()},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"written to {arguments.out}")
    if ratio > arguments.limit:
        sys.exit(f"`import drpo` takes {ratio:.2f} times `import dspy`; the limit is {arguments.limit}")


if __name__ == "__main__":
    main()
