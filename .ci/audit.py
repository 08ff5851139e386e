"""Ask whether a pinned dependency has a known vulnerability; say plainly when that cannot be asked.

    python .ci/audit.py UV [SERVICE]      SERVICE: pypi (the default) or osv

Exit code 1 if one has, or if the audit itself is broken; 0 otherwise, also without a network.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

SECONDS = 50
UNREACHABLE = re.compile(
    r"ConnectionError|ConnectTimeout|ReadTimeout|NameResolution|ProxyError|SSLError|HTTPError|ServiceError"
    r"|error sending request|[Ff]ailed to (?:fetch|download)|network (?:connectivity|was disabled)"
    r"|\b50[234]\b|Connection refused"
)


def main() -> int:
    """Export the pins, have them audited, and return the exit code."""
    uv, service = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "pypi"
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder) / "pins.txt"
        extras = [f"--extra={name}" for name in ("dev", "embeddings", "hf", "plots")]
        # torch would bring the pins of CUDA for every platform; `vllm` has an environment of its own.
        export = [uv, "export", "--quiet", "--frozen", *extras, "--prune=torch", "--no-hashes", "--no-emit-project"]
        subprocess.run([*export, f"--output-file={pins}"], check=True, stdout=subprocess.DEVNULL)
        audit = [
            *(uv, "tool", "run", "--quiet", "pip-audit", f"--requirement={pins}", "--no-deps", "--disable-pip"),
            *("--format=json", "--progress-spinner=off", "--timeout=10", f"--vulnerability-service={service}"),
        ]
        try:
            done = subprocess.run(audit, capture_output=True, text=True, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            return skipped(f"no answer within {SECONDS} s")
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        lines = done.stderr.strip().splitlines() or ["pip-audit said nothing"]
        for line in reversed(lines):
            if UNREACHABLE.search(line):
                return skipped(line.strip()[:200])
        print(f"audit failed: {lines[-1][:500]}")
        return 1
    return report(packages)


def report(packages: list[dict[str, object]]) -> int:
    """Print what was found, and return the exit code."""
    unknown = [str(package["name"]) for package in packages if "skip_reason" in package]
    asked = len(packages) - len(unknown)
    found = [(package, hole) for package in packages for hole in package.get("vulns", [])]  # type: ignore[attr-defined]
    for package, hole in found:
        fixed = ", ".join(hole["fix_versions"]) or "no version yet"
        print(f"{package['name']} {package['version']}: {hole['id']}, fixed in {fixed}")
    if packages and not asked:
        return skipped("the source knows none of the packages")
    print(f"audit: {len(found)} known vulnerabilities in {asked} pinned packages")
    if unknown:
        print(f"not known to the source: {', '.join(sorted(unknown))}")
    return 1 if found else 0


def skipped(why: str) -> int:
    """Say that nothing could be asked."""
    print(f"audit skipped, NOTHING WAS CHECKED: the source of vulnerabilities cannot be reached ({why})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
