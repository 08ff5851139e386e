"""The house itself: what is shipped, what an import costs, and which room may know which."""

from __future__ import annotations

import ast
import importlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Each room and the modules of ours that its files may import.
MAY_IMPORT = {
    "programs": {"errors"},
    "serving": {"errors"},
    "configs": {"errors", "serving"},
    "metrics": {"errors", "serving", "programs"},
    "teleprompters": {"errors", "serving", "programs", "metrics"},
    "reports": {"errors", "serving", "programs", "metrics", "teleprompters"},
    "commands": {"errors", "serving", "configs", "programs", "metrics", "teleprompters", "reports"},
    "cli": {"errors", "serving", "configs", "programs", "metrics", "teleprompters", "reports", "commands"},
}
OUTSIDE = {"tests", "benchmarks", "examples", "docs"}  # not shipped

# Seconds of import, gigabytes of wheel, or both.
HEAVY = {
    "datasets", "faiss", "litellm", "numpy", "openai", "optuna", "pandas", "pyarrow", "scipy", "sentence_transformers",
    "torch", "transformers", "vllm",
}  # fmt: skip


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def lock() -> dict[str, Any]:
    return tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))


def room_files() -> Iterator[Path]:
    for room in MAY_IMPORT:
        yield from sorted((ROOT / room).rglob("*.py"))


def python(code: str, **environment: str) -> str:
    """Run code in a new interpreter, away from the checkout, and return what it prints."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, env=os.environ | environment, cwd=ROOT.anchor, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- what is shipped ---


def test_every_package_is_listed(project: dict[str, Any]) -> None:
    """A folder with an `__init__.py` that setuptools is not told of would be missing from the wheel."""
    found = {"drpo"}
    for path in room_files():
        if path.name == "__init__.py":
            found.add("drpo." + ".".join(path.parent.relative_to(ROOT).parts))
    assert found == set(project["tool"]["setuptools"]["packages"])


def test_every_folder_is_a_room_or_stays_outside() -> None:
    """A new folder of code needs a place in `MAY_IMPORT`, else its imports go unchecked."""
    folders = {path.parent.name for path in ROOT.glob("[a-z]*/__init__.py")}
    assert folders - OUTSIDE == set(MAY_IMPORT)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of what git holds: building in place would leave a `build` folder behind."""
    copy = tmp_path_factory.mktemp("source") / "checkout"
    outputs = (".*", "*.egg-info", "__pycache__", "build", "dist", "runs", *OUTSIDE)
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*outputs))
    code = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    target = tmp_path_factory.mktemp("wheel")
    built = subprocess.run([sys.executable, "-c", code, target], cwd=copy, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (path,) = target.glob("*.whl")
    return path


@pytest.mark.slow
def test_the_wheel_holds_the_house_and_nothing_else(wheel: Path) -> None:
    """Every file of the rooms is shipped, presets and data too; tests and benchmarks are not."""
    expected = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("*.py")} | {"py.typed"}
    for room in MAY_IMPORT:
        for path in (ROOT / room).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                expected.add(path.relative_to(ROOT).as_posix())
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.removeprefix("drpo/") for name in names if ".dist-info/" not in name} == expected
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


@pytest.mark.slow
def test_the_wheel_works_away_from_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """The unpacked wheel imports every module it ships and finds its presets."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = """if True:
        import importlib, importlib.resources, json, pkgutil, drpo
        for module in pkgutil.walk_packages(drpo.__path__, "drpo."):
            if module.name != "drpo.__main__":
                importlib.import_module(module.name)
        configs = importlib.resources.files("drpo.configs")
        print(json.dumps([drpo.__file__, sorted(path.name for path in configs.iterdir())]))
    """
    origin, files = json.loads(python(code, PYTHONPATH=str(tmp_path)))
    assert Path(origin).is_relative_to(tmp_path)
    assert {path.name for path in (ROOT / "configs").glob("*.yaml")} <= set(files)


# --- what an import costs ---


def test_importing_drpo_loads_nothing_heavy() -> None:
    """Heavy packages are imported where they are used: drpo, whole, costs little more to import than dspy."""
    shown = "print(json.dumps(sorted(sys.modules)))"
    printed = python(f"import json, sys, drpo; {shown}; from drpo import *; {shown}")
    bare, whole = (set(json.loads(line)) for line in printed.splitlines())
    assert "drpo" in bare
    assert "drpo.teleprompters.drpo" not in bare
    assert "drpo.teleprompters.drpo" in whole
    assert whole & HEAVY == bare & HEAVY == set()


class Locked(NamedTuple):
    """A package of the lock, with the extras asked of it."""

    name: str
    extras: frozenset[str]


def closure(lock: dict[str, Any], *extras: str) -> set[str]:
    """The names of everything that `drpo-dspy[extras]` installs, on whatever platform."""
    packages: dict[str, list[dict[str, Any]]] = {}
    for package in lock["package"]:
        packages.setdefault(package["name"], []).append(package)
    start = Locked("drpo-dspy", frozenset(extras))
    waiting, seen = [start], {start}
    while waiting:
        wanted = waiting.pop()
        for package in packages[wanted.name]:
            needs = list(package.get("dependencies", []))
            for extra in wanted.extras:
                needs += package.get("optional-dependencies", {}).get(extra, [])
            for need in needs:
                found = Locked(need["name"], frozenset(need.get("extra", [])))
                if found not in seen:
                    seen.add(found)
                    waiting.append(found)
    return {locked.name for locked in seen}


@pytest.mark.parametrize("extras", [(), ("dev",), ("hf",)])
def test_the_core_installs_no_torch(lock: dict[str, Any], extras: tuple[str, ...]) -> None:
    """Without the extras that need it, neither torch nor anything of CUDA is installed."""
    installed = closure(lock, *extras)
    assert {"dspy", "litellm", "faiss-cpu"} <= installed
    assert not {name for name in installed if re.match(r"torch|nvidia|triton|vllm|cuda|transformers", name)}


def test_the_walk_over_the_lock_sees_torch(lock: dict[str, Any]) -> None:
    """The test above could not fail if the walk lost its way."""
    assert "torch" in closure(lock, "embeddings")
    assert {"torch", "vllm"} <= closure(lock, "vllm")
    assert "vllm" not in closure(lock, "all")


# --- the lock ---


def test_the_lock_points_at_the_public_registry_only(lock: dict[str, Any]) -> None:
    """A mirror or a folder of the machine that locked would break every other machine."""
    sources = {json.dumps(package["source"]) for package in lock["package"]}
    assert sources == {'{"registry": "https://pypi.org/simple"}', '{"editable": "."}'}
    text = (ROOT / "uv.lock").read_text(encoding="utf-8")
    assert set(re.findall(r'url = "(\w+://[^/"]+)', text)) == {"https://files.pythonhosted.org"}
    assert "file://" not in text


def test_the_lock_is_of_this_pyproject(project: dict[str, Any], lock: dict[str, Any]) -> None:
    """A dependency that was changed without `uv lock` would be installed as it was."""
    (locked,) = [package for package in lock["package"] if package["name"] == "drpo-dspy"]
    requires = {(need["name"], need.get("specifier", "")) for need in locked["metadata"]["requires-dist"]}
    groups = [project["project"]["dependencies"], *project["project"]["optional-dependencies"].values()]
    stated = set()
    for line in itertools.chain.from_iterable(groups):
        name, specifier = re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*([^;]*?)\s*(?:;.*)?", line).groups()  # type: ignore[union-attr]
        stated.add((name.lower(), ",".join(sorted(specifier.split(",")))))
    assert {(name, ",".join(sorted(specifier.split(",")))) for name, specifier in requires} == stated
    assert lock["requires-python"] == project["project"]["requires-python"]


# --- who may import whom ---

# The import names that differ from the names of their packages.
PACKAGE_OF = {"faiss": "faiss-cpu", "pydantic_core": "pydantic", "yaml": "pyyaml"}
# Scripts that run in the model server's environment, which has its own lock.
RUN_ELSEWHERE = {"serving/gguf_to_hf.py", "serving/vllm_launcher.py"}


@cache
def imports(path: Path) -> tuple[tuple[int, str, int], ...]:
    """Every import of a file, inside functions too: (dots, module, line)."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[tuple[int, str, int]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.level, node.module, node.lineno
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.level, alias.name, node.lineno) for alias in node.names)


def test_rooms_import_each_other_relatively() -> None:
    """An absolute import of ours works in one kind of checkout only, or makes a second copy of a module."""
    ours = {"drpo", *MAY_IMPORT}
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {module}"
        for path in room_files()
        for dots, module, line in imports(path)
        if dots == 0 and module.partition(".")[0] in ours
    ]
    assert wrong == []


def test_nothing_imports_upwards() -> None:
    """A room knows the rooms below it only, for type checkers too."""
    wrong = []
    for path in room_files():
        inside = path.relative_to(ROOT).parts[:-1]  # ("programs",) for programs/judge.py
        for dots, module, line in imports(path):
            if dots == 0:
                continue
            target = [*inside[: len(inside) - dots + 1], *module.split(".")]
            room, other = inside[0], target[0]
            if other != room and other not in MAY_IMPORT[room]:
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {room} imports {other}")
    assert wrong == []


def test_what_is_imported_is_declared(project: dict[str, Any]) -> None:
    """A package that some dependency happens to bring today may be gone tomorrow."""
    groups = [project["project"]["dependencies"], *project["project"]["optional-dependencies"].values()]
    declared = {re.split(r"[^A-Za-z0-9._-]", line)[0].lower() for line in itertools.chain.from_iterable(groups)}
    wrong = []
    for path in [*ROOT.glob("*.py"), *room_files()]:
        for dots, module, line in imports(path):
            top = module.partition(".")[0]
            package = PACKAGE_OF.get(top, top).replace("_", "-")
            known = dots or top == "drpo" or top in sys.stdlib_module_names or package in declared
            if not known and path.relative_to(ROOT).as_posix() not in RUN_ELSEWHERE:
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {top}")
    assert wrong == []


def test_errors_stand_alone() -> None:
    """Every room imports the errors, so they import nothing of ours."""
    ours = {"drpo", *MAY_IMPORT}
    found = list(imports(ROOT / "errors.py"))
    assert [module for dots, module, _ in found if dots or module.partition(".")[0] in ours] == []


def test_the_root_files_import_absolutely() -> None:
    """pytest imports the root under the checkout's own name, where a relative import would find nothing."""
    relative = [(path.name, line) for path in ROOT.glob("*.py") for dots, _, line in imports(path) if dots]
    assert relative == []


# --- public names ---


@pytest.mark.parametrize("module", ["drpo", *(f"drpo.{room}" for room in MAY_IMPORT)])
def test_public_names_exist_once(module: str) -> None:
    """Each name of `__all__` stands there once and can be imported. (Ruff's RUF022 keeps them sorted.)"""
    loaded = importlib.import_module(module)
    names = getattr(loaded, "__all__", [])
    assert [name for name in names if not hasattr(loaded, name)] == []
    assert len(names) == len(set(names))
    if module == "drpo":
        assert names, "drpo has no public names"
