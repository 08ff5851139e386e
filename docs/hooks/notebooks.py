"""Notebooks: as a page of the site, and run anew (`make notebooks`).

Notebooks are committed with their outputs. A test runs them and compares, so what a reader sees is what comes out.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "notebooks"


def page(path: Path) -> str:
    """Return a notebook as Markdown, outputs included."""
    from nbconvert import MarkdownExporter

    text, _ = MarkdownExporter().from_filename(str(path))
    return f"{_fenced(text)}\n\n[Download this notebook]({path.name}){{ download }}\n"


def _fenced(text: str) -> str:
    """Mark what cells print as text, which the exporter indents only."""
    return re.sub(
        r"(?:^    .*\n|^[ ]*\n(?=    ))+",
        lambda found: "```text\n" + re.sub(r"^    ", "", found[0], flags=re.MULTILINE).strip("\n") + "\n```\n",
        text,
        flags=re.MULTILINE,
    )


def executed(path: Path) -> object:
    """Return a notebook with what its cells give now; it runs in an empty folder.

    Raises:
        CellExecutionError: If a cell fails.
    """
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        where = {"metadata": {"path": folder}}
        client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources=where, coalesce_streams=True)
        client.execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # the times of day
    notebook.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return notebook


if __name__ == "__main__":
    import nbformat

    for path in sorted(FOLDER.glob("*.ipynb")):
        nbformat.write(executed(path), path)
        print(path.relative_to(FOLDER.parents[1]))
