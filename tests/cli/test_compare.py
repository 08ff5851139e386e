"""`drpo compare` as people type it: what it says before, what it leaves behind, how it goes on."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

SMALL = (
    "--optimizers", "copro,miprov2-0shot", "--budget", "60", "--seeds", "1", "--set", "data.limit=40", "--set",
    "compare.num_test=8",
)  # fmt: skip


def test_a_comparison_and_its_files(desk: Any) -> None:
    """It tells its plan, ends with tables of 80 columns, and leaves figures, a page and a picture; resumed it asks nothing."""
    done = desk.drpo("compare", *SMALL, "--log-dir", "run", "--out", "figures.json")
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("SIMULATED: ")
    assert "2 optimizers x 1 seed, 60 calls each, on 32 prompts" in done.stderr
    assert "at most about" in done.stderr
    for name in ("seed", "static", "retrieved", "copro", "miprov2-0shot"):
        assert f"\n{name}" in done.stdout
    result = json.loads((desk.folder / "run/comparison.json").read_text())
    assert result["budget"] == 60
    assert (desk.folder / "figures.json").read_bytes() == (desk.folder / "run/comparison.json").read_bytes()
    assert (desk.folder / "run/units/copro-0/program.json").exists()
    picture = ElementTree.fromstring((desk.folder / "run/comparison.svg").read_text())
    assert any("copro" in "".join(text.itertext()) for text in picture.iter("{http://www.w3.org/2000/svg}text"))

    page = (Path(__file__).parents[2] / "docs/comparing.md").read_text()
    explained = set(re.findall(r"`(\w+)`", page))
    entrant = result["entrants"]["copro"]
    keys = {*result, *entrant, *entrant["by_seed"][0], *result["pairs"][0], *result["test"]}
    assert keys <= explained, keys - explained

    (desk.folder / "run/comparison.md").unlink()
    again = desk.drpo("resume", "run")
    assert again.returncode == 0, again.stderr
    assert "this comparison is finished, nothing is asked" in again.stderr
    assert again.stdout == done.stdout
    assert (desk.folder / "run/comparison.md").exists()
    figures = json.loads(desk.drpo("resume", "run", "--json", "--quiet").stdout)
    assert figures == result


@pytest.mark.slow
def test_an_outage_is_told_with_how_to_go_on(desk: Any) -> None:
    """A cap ends it with exit code 1 and a line; `drpo resume` goes on with a higher one."""
    stopped = desk.drpo("compare", *SMALL, "--log-dir", "run", "--set", "max_lm_calls=70", "--quiet")
    assert (stopped.returncode, len(stopped.stderr.splitlines())) == (1, 1), stopped.stderr
    assert "max_lm_calls=70 is reached, so the comparison ends; with a higher one it can be resumed" in stopped.stderr
    assert not (desk.folder / "run/comparison.json").exists()
    done = desk.drpo("resume", "run", "--set", "max_lm_calls=5000", "--quiet")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--optimizers", "mipro2"), "'mipro2' is unknown; did you mean 'miprov2'?"),
        (("--budget", "5", "--optimizers", "copro"), "budget=5: copro needs at least"),
        (("--set", "data.limit=12"), "fewer than 8 test nothing"),
        (("--set", "compare.sedes=3"), "compare.sedes: unknown key; did you mean 'seeds'?"),
        (("--set", "compare.budget=0"), "compare.budget"),
        (("--out", "figures.txt"), "--out"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], said: str, desk: Any) -> None:
    """Each is told before any call, with exit code 2 and no run directory."""
    done = desk.drpo("compare", *arguments, "--log-dir", "run", "--quiet")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert said in done.stderr
    assert not (desk.folder / "run").exists()


@pytest.mark.slow
def test_threads_change_nothing_for_any_optimizer(desk: Any) -> None:
    """Cut off by its budget or not, each ends the same with one thread and with eight; SIMBA alone samples side by side."""
    every = "drpo,drpo-paper,miprov2,miprov2-0shot,copro,gepa,bootstrap-rs,infer-rules"
    for threads in (1, 8):
        done = desk.drpo(
            "compare", "--optimizers", every, "--budget", "120", "--seeds", "1", "--set", "data.limit=60",
            "--set", "compare.num_test=10", "--set", f"num_threads={threads}", "--log-dir", f"with-{threads}",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    one, eight = ((desk.folder / f"with-{threads}/comparison.json").read_bytes() for threads in (1, 8))
    assert one == eight
    assert all(figures["failures"] == 0 for figures in json.loads(one)["entrants"].values())
