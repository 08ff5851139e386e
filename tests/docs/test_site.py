"""The documentation site: it builds without a warning, asks nobody for anything, and shows notebooks as they run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "true"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    said = (built.stdout + built.stderr).splitlines()
    assert [line for line in said if not line.startswith("INFO")] == []
    return folder


@pytest.mark.docs
def test_readers_browsers_fetch_nothing_from_elsewhere(site: Path) -> None:
    """No page, style or script of ours loads a font, a script, a picture or a style from another machine."""
    loads = re.compile(r"""(?:src=|@import |url\()["']?(?:https?:)?//[^"')\s]+|<link[^>]+href="(?:https?:)?//[^"]+""")
    found = {
        f"{path.relative_to(site)}: {load}"
        for path in site.rglob("*")
        if path.suffix in {".html", ".css"}
        for load in loads.findall(path.read_text(encoding="utf-8"))
    }
    assert found == set()


@pytest.mark.docs
def test_pictures_stand_in_the_page_with_their_description(site: Path) -> None:
    """A picture follows the theme's colours, and a reader who cannot see it is told what it shows."""
    shown = 0
    for page in (ROOT / "docs").glob("*.md"):
        for alt in re.findall(r"^!\[([^]]+)\]\(pictures/[\w-]+\.svg\)$", page.read_text(), re.MULTILINE):
            html = (site / f"{page.stem}.html").read_text(encoding="utf-8")
            assert f'aria-label="{alt}"' in html.replace("&#x27;", "'").replace("&quot;", '"')
            shown += 1
    assert shown >= 7


@pytest.mark.docs
def test_each_page_is_listed_for_models_that_read(site: Path) -> None:
    """`llms.txt` names every page of the navigation with a sentence about it."""
    listed = dict(re.findall(r"^- \[[^]]+\]\(([^)]+)\): ?(.*)$", (site / "llms.txt").read_text(), re.MULTILINE))
    pages = {path.relative_to(site).with_suffix(".md").as_posix() for path in site.rglob("*.html")} - {"404.md"}
    assert set(listed) == pages
    assert {page for page, sentence in listed.items() if not sentence} == set()


@pytest.mark.docs
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_give_what_they_show(path: Path) -> None:
    """A notebook runs from top to bottom in an empty folder, and what its cells print is what is committed."""
    import nbformat
    import notebooks

    def printed(notebook: nbformat.NotebookNode) -> list[list[tuple[str, str]]]:
        return [
            [(output.output_type, output.get("text") or str(output.get("data"))) for output in cell.outputs]
            for cell in notebook.cells
            if cell.cell_type == "code"
        ]

    committed = nbformat.read(path, as_version=4)
    assert printed(notebooks.executed(path)) == printed(committed), "`make notebooks` writes them anew"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_committed_as_they_ran(path: Path) -> None:
    """Every code cell has run, in order, without an error; the file is small and names nothing of a machine."""
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert "error" not in {output["output_type"] for cell in cells for output in cell["outputs"]}
    assert path.stat().st_size < 100_000
    assert not re.search(r"/(home|root|tmp|Users)/", path.read_text())


def test_the_reference_has_every_command_with_its_options() -> None:
    """The command line's page is made from the commands themselves: none is missing, and none of their options."""
    import command_line
    import typer

    from drpo.__main__ import app

    page = command_line.page()
    for name, command in typer.main.get_command(app).commands.items():
        section = page.partition(f"## `drpo {name}`")[2].partition("\n## ")[0]
        assert section
        options = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        assert {option for option in options if option not in section} == set()


def test_the_reference_has_every_config_key_with_a_sentence() -> None:
    """Each key of the settings has its row, and no row lacks its meaning."""
    import config_keys

    rows = re.findall(r"^\| `([\w.]+)` \| (.+?) \| (.*?) \| (.*) \|$", config_keys.page(), re.MULTILINE)
    keys = {key for key, *_ in rows}
    assert {"auto", "max_cost", "lms.judge", "lms.task.hourly_price", "data.column", "serve.local.port"} <= keys
    assert {key for key, kind, _, meaning in rows if not kind or not meaning} == set()


def test_the_reference_has_every_public_name() -> None:
    """What `from drpo import ...` gives has an entry, the usual names first."""
    import public_names

    import drpo

    assert sorted(public_names.names()) == sorted(drpo.__all__)
    assert public_names.names()[0] == "DRPOTeleprompter"
    assert all(f".{name}\n" in public_names.page() for name in drpo.__all__)


def test_every_page_has_a_place_in_the_navigation() -> None:
    """A page that nobody can find is no page; the build checks links, this needs no build."""
    nav = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert {page for page in pages if not re.search(rf"(?:: |- ){re.escape(page)}$", nav, re.MULTILINE)} == set()
