"""Notebooks: as a page of the site, and run anew (`make notebooks`).

Notebooks are committed with their outputs. A test runs them and compares, so what a reader sees is what comes out.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "notebooks"


def page(path: Path) -> str:
    """Return a notebook as Markdown, outputs included."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        parts += [_shown(output) for output in cell.get("outputs", [])]
    parts.append(f"[Download this notebook]({path.name}){{ download }}\n")
    return "\n\n".join(parts)


def _shown(output: dict[str, Any]) -> str:
    """Return an output as a reader sees it in a notebook: HTML where there is some, else the text."""
    data = output.get("data", {"text/plain": output.get("text", [])})
    if "text/html" in data:
        return "".join(data["text/html"])
    return f"```text\n{''.join(data['text/plain']).rstrip()}\n```"


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
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


if __name__ == "__main__":
    import nbformat

    for path in sorted(FOLDER.glob("*.ipynb")):
        nbformat.write(executed(path), path)
        print(path.relative_to(FOLDER.parents[1]))
