"""How long `import drpo` takes beside `import dspy`.

`import drpo` loads its parts when they are asked for, so the import of all its public names is measured too. All are
imported in new interpreters, in turn, so that whatever else the machine does falls on all alike. What else it does can
only add to a start, and in bursts that outlast one: so the least of each statement's starts are compared, by CPU time,
which waiting for other processes does not count into.

    python benchmarks/import_time.py --rounds 15
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

REFERENCE = "import dspy"
LIMITS = {"import drpo": 0.5, "from drpo import *": 1.5}
"""What a library in the wrong place would exceed: DSPy itself in the first, LiteLLM in the second."""


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


def summarize(imports: list[Import], reference: list[Import]) -> dict[str, float]:
    """Medians and minima of one statement, and the ratios of its minima to the reference's."""
    least, least_cpu = min(one.seconds for one in imports), min(one.cpu_seconds for one in imports)
    return {
        "median s": statistics.median(one.seconds for one in imports),
        "min s": least,
        "min CPU s": least_cpu,
        "ratio": least / min(one.seconds for one in reference),
        "CPU ratio": least_cpu / min(one.cpu_seconds for one in reference),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11, help="how often each is imported (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("runs/import_time.json"), help="default: %(default)s")
    arguments = parser.parse_args()

    samples: dict[str, list[Import]] = {statement: [] for statement in (REFERENCE, *LIMITS)}
    for statement in samples:  # writes bytecode and warms the page cache
        measure(statement)
    for _ in range(arguments.rounds):
        for statement, imports in samples.items():
            imports.append(measure(statement))

    rows = {statement: summarize(imports, samples[REFERENCE]) for statement, imports in samples.items()}
    print(f"{'':20}" + "".join(f"{name:>16}" for name in rows[REFERENCE]))
    for statement, row in rows.items():
        print(f"{statement:20}" + "".join(f"{value:16.3f}" for value in row.values()))

    result = {
        "summary": rows,
        "limits": LIMITS,
        "samples": {statement: [asdict(sample) for sample in imports] for statement, imports in samples.items()},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"written to {arguments.out}")
    slow = [name for name, limit in LIMITS.items() if rows[name]["CPU ratio"] > limit]
    if slow:
        sys.exit("\n".join(f"{name}: more than {LIMITS[name]} times the CPU time of `{REFERENCE}`" for name in slow))


if __name__ == "__main__":
    main()
